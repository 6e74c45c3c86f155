"""In which order steps run, and which of them."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from isolation.errors import InputError, RecipeError, did_you_mean
from isolation.rules.outputs import misplaced

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from isolation.model.recipe import Recipe, Step


def order(steps: Sequence[Step]) -> tuple[Step, ...]:
    """
    Sort steps so that each follows what it depends on; of those that could come next, the lowest ``idx`` does.

    Equal ``idx`` fall back to the order of the file, and a step without one has its place in the file, from 1.
    Raises RecipeError if there is no such order.
    """
    rank = {step.name: (index if step.idx is None else step.idx, index) for index, step in enumerate(steps, 1)}
    waits = {step.name: len(set(step.depends_on)) for step in steps}
    followers: dict[str, list[str]] = {step.name: [] for step in steps}
    for step in steps:
        for name in set(step.depends_on):
            followers[name].append(step.name)
    ready = [rank[name] for name, count in waits.items() if count == 0]
    heapify(ready)
    ordered: list[Step] = []
    while ready:
        step = steps[heappop(ready)[1] - 1]
        ordered.append(step)
        for name in followers[step.name]:
            waits[name] -= 1
            if waits[name] == 0:
                heappush(ready, rank[name])
    if len(ordered) < len(steps):
        raise RecipeError(
            f"the steps depend on each other in a circle: {' -> '.join(find_cycle(steps))}",
            hint="Take one of them out of a 'depends_on'.",
        )
    return tuple(ordered)


def find_cycle(steps: Iterable[Step]) -> tuple[str, ...]:
    """Find a circle of dependencies, as names from a step back to itself; empty if there is none."""
    open_steps = {step.name: set(step.depends_on) for step in steps}
    while free := [name for name, needs in open_steps.items() if not needs & open_steps.keys()]:
        for name in free:
            del open_steps[name]
    if not open_steps:
        return ()
    # What is left waits for something that is left: whoever follows it must come round.
    path: list[str] = []
    name = next(iter(open_steps))
    while name not in path:
        path.append(name)
        name = min(open_steps[name] & open_steps.keys())
    return (*path[path.index(name) :], name)


def select(recipe: Recipe, only: Sequence[str] = (), skip: Sequence[str] = ()) -> Recipe:
    """
    Choose steps by name, and return the recipe that is left.

    ``only`` keeps just these: what they depend on outside the choice counts as done, and its results are expected
    in the context. ``skip`` disables steps; whatever depends on a disabled step will be skipped. Raises InputError
    for a text in the place of a list, for a name that no step has, for a step that takes outputs of one that is not
    kept, and if nothing is left to run.
    """
    _check_names(recipe, "--only", only)
    _check_names(recipe, "--skip", skip)
    kept = set(only or (step.name for step in recipe.steps))
    steps = tuple(
        step.model_copy(
            update={
                "depends_on": tuple(name for name in step.depends_on if name in kept),
                "enabled": step.enabled and step.name not in skip,
            }
        )
        for step in recipe.steps
        if step.name in kept
    )
    ordered = order(steps)
    for found in misplaced(ordered):
        raise InputError(found.why, hint="Choose both, with the steps that lead from one to the other.")
    runs: set[str] = set()
    for step in ordered:
        if step.enabled and runs.issuperset(step.depends_on):
            runs.add(step.name)
    if not runs:
        raise InputError(
            f"no step of {recipe.name!r} is left to run",
            hint="Choose others: each one is disabled, skipped, or depends on one that is.",
        )
    return recipe.model_copy(update={"steps": steps})


def _check_names(recipe: Recipe, option: str, names: Sequence[str]) -> None:
    if isinstance(names, str):
        raise InputError(f"{option} is a list of steps, not a text", hint=f"Write [{names!r}].")
    known = [step.name for step in recipe.steps]
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known) or f"The steps are: {', '.join(known[:20])}."
            raise InputError(f"{option} names {name!r}, which is no step of {recipe.name!r}", hint=hint)
