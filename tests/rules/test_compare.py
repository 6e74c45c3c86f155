"""Two runs compared: what counts as another result, what only explains one, and what is noise."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from isolation.model.changes import Changes
from isolation.model.outcome import Outcome, StepOutcome
from isolation.model.recipe import Leeway
from isolation.model.run import Artifact
from isolation.rules.combine import ABSENT
from isolation.rules.compare import Comparing, differing

if TYPE_CHECKING:
    from collections.abc import Callable

    from isolation.model.run import Result
    from tests.conftest import ResultOf

JSON = some.recursive(
    some.none() | some.booleans() | some.integers(0, 3) | some.text(max_size=1),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.sampled_from("ab"), inner, max_size=2),
    max_leaves=6,
)


def with_outputs(result: Result, outputs: Any) -> Result:  # noqa: ANN401 - JSON
    return with_step(result, outputs=outputs)


def with_step(result: Result, **fields: Any) -> Result:  # noqa: ANN401 - a step's own
    first, last = result.attempts[0].steps
    return replace(result, attempts=(replace(result.attempts[0], steps=(first, replace(last, **fields))),))


def test_a_run_is_identical_to_itself_wherever_it_ran(result_of: ResultOf) -> None:
    """Another image, engine and usage explain a difference, and are none."""
    left = result_of("r1")
    assert left.engine is not None
    right = replace(
        result_of("r2"),
        digests=replace(left.digests, image="sha256:other"),
        engine=replace(left.engine, runtime="runsc"),
        usage=replace(left.usage, cpu_s=9.0),
    )

    found = Comparing().compare(left, right)

    assert (found.left, found.right, found.verdict, found.first_step) == ("r1", "r2", "identical", "")
    assert [(one.area, one.what, one.counts) for one in found.differences] == [
        ("origin", "image", False),
        ("environment", "runtime", False),
        ("usage", "cpu_s", False),
    ]


CHANGED: dict[str, tuple[Callable[[Result], Result], str]] = {
    "outcome": (lambda result: replace(result, outcome=Outcome.FAILED), "outcome"),
    "a step": (lambda result: with_step(result, outcome=StepOutcome.TIMED_OUT), "step sum: outcome"),
    "a cause": (lambda result: with_step(result, cause="timeout"), "step sum: cause"),
    "an output": (lambda result: with_outputs(result, {"n": 2, "x": []}), "step sum: outputs.n"),
    "a change": (lambda result: replace(result, changes=Changes(set={"a": 2})), "a"),
    "null instead of none": (lambda result: replace(result, changes=Changes(set={"b": None})), "b"),
    "a deletion": (lambda result: replace(result, changes=Changes(deleted=("a",))), "a: deleted"),
    "an artifact": (lambda result: replace(result, artifacts=()), "report.txt"),
    "a file's content": (
        lambda result: replace(result, artifacts=(Artifact(name="report.txt", digest="f" * 64, size_bytes=12),)),
        "report.txt",
    ),
}


@pytest.mark.parametrize(("change", "what"), CHANGED.values(), ids=CHANGED)
def test_what_came_out_otherwise_counts(result_of: ResultOf, change: Callable[[Result], Result], what: str) -> None:
    """And it is named."""
    left = result_of("r1")

    found = Comparing().compare(left, change(left))

    assert found.verdict == "diverged"
    assert what in {one.what for one in found.differences if one.counts}
    assert Comparing().compare(change(left), left).verdict == "diverged"


def test_the_first_step_that_differs_is_the_first_in_their_order(result_of: ResultOf) -> None:
    """Whatever came after it may only be its consequence."""
    left = result_of("r1")
    first, last = left.attempts[0].steps
    steps = (replace(first, cause="timeout"), replace(last, outputs=None))
    right = replace(left, attempts=(replace(left.attempts[0], steps=steps),))

    assert Comparing().compare(left, right).first_step == "load"


def test_what_is_volatile_or_near_does_not_count(result_of: ResultOf) -> None:
    """A time in the outputs, a key that is always new, a sum of fractions."""
    left = replace(with_outputs(result_of("r1"), {"at": 1, "sum": 1.0}), changes=Changes(set={"run.at": 1, "x": 3}))
    right = replace(with_outputs(left, {"at": 2, "sum": 1.001}), changes=Changes(set={"run.at": 2, "x": 3}))

    volatile = ("sum.at", "run.*")

    assert Comparing().compare(left, right).verdict == "diverged"
    assert Comparing(Leeway(volatile=volatile)).compare(left, right).verdict == "diverged"
    assert Comparing(Leeway(volatile=volatile, tolerance=0.01)).compare(left, right).verdict == "equivalent"
    assert Comparing(Leeway(volatile=volatile, tolerance=0.0001)).compare(left, right).verdict == "diverged"


def test_a_figure_within_its_noise_is_no_difference(result_of: ResultOf) -> None:
    """A tenth of a second on a busy host tells nothing."""
    left = result_of("r1")
    right = replace(left, usage=replace(left.usage, wall_s=1.7, cpu_s=0.3, memory_peak_bytes=2 * 2**20))

    assert Comparing().compare(left, right).differences == ()


@given(JSON, JSON)
def test_every_difference_within_a_value_is_found_at_its_place(left: Any, right: Any) -> None:  # noqa: ANN401 - JSON
    """Nothing for equal values, something for others, and each place really holds what is said of it."""
    found = list(differing(left, right))

    assert (found == []) == (json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True))
    for path, was, now in found:
        assert at(left, path) == was
        assert at(right, path) == now


def at(value: Any, path: str) -> Any:  # noqa: ANN401 - JSON
    for part in path.split(".") if path else ():
        if value is ABSENT:
            return ABSENT
        value = value.get(part, ABSENT) if isinstance(value, dict) else value[int(part)]
    return value
