"""
Verifies a recipe: runs it several times from one snapshot, each with something else varied, and merges nothing.

    first, held still ─record─▶ replays, each under a varied policy ─compare─▶ labels
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from isolation.comparison import declared, leeway_of
from isolation.errors import EngineError
from isolation.model.outcome import Outcome
from isolation.model.verification import Trial, Verification
from isolation.rules.compare import Comparing
from isolation.rules.label import label
from isolation.rules.variations import cannot_be_varied, held_still, schedule, vary

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pydantic import JsonValue

    from isolation.controller import Controller
    from isolation.model.policy import Policy
    from isolation.model.recipe import Leeway
    from isolation.model.run import Result
    from isolation.model.verification import Varied

_NOTHING_SAID = (Outcome.LOST, Outcome.REFUSED, Outcome.CANCELLED)


def verify(
    controller: Controller,
    recipe: Path | str,
    *,
    policy: Policy,
    times: int,
    variations: Sequence[str],
    asked: Leeway,
    context: Mapping[str, JsonValue] | None = None,
    paths: Sequence[Path] = (),
    tell: Callable[[int, Varied, Result | None], None] = lambda *_: None,
    cancel: threading.Event | None = None,
) -> Verification:
    """
    Run a recipe ``times`` times, at least twice, and label what came out.

    ``tell`` is called before each run, with its number from 1 and what is varied in it, and once more with its result.
    Raises EngineError where a run says nothing of the recipe: it was lost, refused or cancelled.
    """
    not_varied = {name: why for name, why in cannot_be_varied(policy).items() if name in variations}
    still = held_still(policy)
    results: list[tuple[Result, Varied]] = []
    for varied, value in schedule(times, [name for name in variations if name not in not_varied]):
        tell(len(results) + 1, varied, None)
        if results:
            first = results[0][0]
            result = controller.replay(first.run_id, policy=vary(still, varied, value), cancel=cancel)
        else:
            result = controller.run(recipe, policy=still, context=context, paths=paths, cancel=cancel, merges=False)
        _check(result)
        results.append((result, varied))
        tell(len(results), varied, result)
    return _labelled(controller, results, asked, not_varied)


def _labelled(
    controller: Controller, results: list[tuple[Result, Varied]], asked: Leeway, not_varied: dict[str, str]
) -> Verification:
    (first, _), *others = results
    rule = Comparing(leeway_of(asked, *declared(controller.stores, first)))
    return Verification(
        recipe=first.recipe,
        trials=tuple(Trial(run_id=run.run_id, outcome=run.outcome.value, varied=varied) for run, varied in results),
        labels=label(first, others, rule, _names(first)),
        not_varied=not_varied,
    )


def _names(first: Result) -> list[str]:
    return [step.name for step in first.attempts[-1].steps]


def _check(result: Result) -> None:
    if result.outcome in _NOTHING_SAID:
        raise EngineError(
            f"the run {result.run_id} was {result.outcome.value}, so nothing can be said of the recipe",
            hint=f"`isolation show {result.run_id}` tells why; then verify it again.",
        )
