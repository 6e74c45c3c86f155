"""Label what came out of several runs of one recipe: what was the same in all of them, and what moved the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from isolation.model.verification import Label

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from isolation.model.difference import Comparison, Difference
    from isolation.model.run import Result, StepReport
    from isolation.model.verification import ItemArea, Varied
    from isolation.rules.compare import Comparing

    _Item = tuple[ItemArea, str, str]
    """Area, step (of steps and outputs), name."""


def label(
    first: Result, others: Sequence[tuple[Result, Varied]], rule: Comparing, names: Sequence[str]
) -> tuple[Label, ...]:
    """
    Label everything that came out of the first run or another, in the order of the run.

    ``names`` are those of the steps, in that order; beside each of the other runs stands what was varied in it.
    """
    results = [first, *(result for result, _ in others)]
    moves: dict[_Item, list[_Move]] = {item: [] for result in results for item in _items(result)}
    for result, varied in others:
        for move in _moves(first, result, varied, rule, {*moves}):
            moves[move.item].append(move)
    steps = _Steps(names, [move for several in moves.values() for move in several])
    return tuple(_label(item, several, steps) for item, several in moves.items())


@dataclass(frozen=True, kw_only=True)
class _Move:
    """One thing that one run has otherwise than the first. ``steps`` are both runs' reports."""

    item: _Item
    difference: Difference
    comparison: Comparison
    varied: Varied
    steps: tuple[StepReport, ...]


def _label(item: _Item, moves: list[_Move], steps: _Steps) -> Label:
    area, _, name = item
    if not moves:
        return Label(area=area, name=name, stability="stable")
    counting = [move for move in moves if move.difference.counts]
    told = (counting or moves)[0]
    still = any(not move.varied for move in counting or moves)
    return Label(
        area=area,
        name=name,
        stability="unstable" if counting else "volatile",
        step=steps.origin(told),
        moved_still=still,
        moved_by=() if still else tuple(dict.fromkeys(move.varied for move in counting or moves)),
        place=told.difference.what,
        first=told.difference.left,
        other=told.difference.right,
    )


class _Steps:
    """Finds the step that something came from."""

    def __init__(self, names: Sequence[str], moves: Sequence[_Move]) -> None:
        self._names = names
        self._moved = {(id(move.comparison), move.item[2]) for move in moves if move.item[0] == "change"}

    def origin(self, move: _Move) -> str:
        """Go from the step that has it to the one whose key it read, as long as that key moved in the same run."""
        area, step, name = move.item
        if area == "change":
            step = self._writer(move, name, len(self._names))
        if not step:
            return move.comparison.first_step
        before = step
        while before:
            step, before = before, self._cause(move, before)
        return step

    def _cause(self, move: _Move, step: str) -> str:
        place = self._place(step)
        reads = dict.fromkeys(key for report in move.steps if report.name == step for key in report.keys_read)
        for key in reads:
            if (id(move.comparison), key) in self._moved:
                writer = self._writer(move, key, place)
                if writer:
                    return writer
        return ""

    def _writer(self, move: _Move, key: str, before: int) -> str:
        """Name the last step, before that place, that wrote a key; empty for none."""
        wrote = {report.name for report in move.steps if key in report.keys_written}
        return next((name for name in reversed(self._names[:before]) if name in wrote), "")

    def _place(self, step: str) -> int:
        return self._names.index(step) if step in self._names else len(self._names)


def _items(result: Result) -> Iterator[_Item]:
    yield "outcome", "", "outcome"
    for step in _reports(result):
        yield "step", step.name, step.name
        if isinstance(step.outputs, dict):
            for key in step.outputs:
                yield "output", step.name, f"{step.name}.{key}"
    for key in sorted({*result.changes.set, *result.changes.deleted}):
        yield "change", "", key
    for artifact in sorted(result.artifacts, key=lambda one: one.name):
        yield "artifact", "", artifact.name


def _moves(first: Result, result: Result, varied: Varied, rule: Comparing, items: Collection[_Item]) -> Iterator[_Move]:
    comparison = rule.compare(first, result)
    steps = (*_reports(first), *_reports(result))
    for difference in comparison.differences:
        for item in _touched(difference, items):
            yield _Move(item=item, difference=difference, comparison=comparison, varied=varied, steps=steps)


def _touched(difference: Difference, items: Collection[_Item]) -> list[_Item]:
    """Return the items that a difference is about; one of usage, origin or a step's tries is about none."""
    area, step, name = difference.area, difference.step, difference.name
    if area == "outcome":
        return [("outcome", "", "outcome")]
    if area == "output":
        whole = name == step  # one of both runs has no outputs at all
        return [item for item in items if item[:2] == (area, step) and (whole or f"{name}.".startswith(f"{item[2]}."))]
    if area == "step":
        return [("step", step, step)] if difference.counts else []
    return [(area, "", name)] if area in {"change", "artifact"} else []


def _reports(result: Result) -> tuple[StepReport, ...]:
    return result.attempts[-1].steps if result.attempts else ()
