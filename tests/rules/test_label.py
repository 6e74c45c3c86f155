"""What came out of several runs, labelled: what moved, by what, and in which step that began."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from isolation.model.changes import Changes
from isolation.model.outcome import Outcome, StepOutcome
from isolation.model.recipe import Leeway
from isolation.model.run import Artifact, StepReport
from isolation.rules.compare import Comparing
from isolation.rules.label import label

if TYPE_CHECKING:
    from isolation.model.run import Result
    from isolation.model.verification import Label, Varied
    from tests.conftest import ResultOf

NAMES = ["read", "sum", "say"]


def made(
    result: Result,
    outputs: dict[str, Any] | None = None,
    changes: dict[str, Any] | None = None,
    artifacts: tuple[str, ...] = (),
    **fields: object,
) -> Result:
    """Make a run of three steps: one writes ``a``, the next makes ``b`` of it, and the last writes ``c`` by itself."""
    steps = (
        StepReport(name="read", outcome=StepOutcome.SUCCEEDED, keys_written=("a",)),
        StepReport(
            name="sum", outcome=StepOutcome.SUCCEEDED, keys_read=("a",), keys_written=("b",), outputs=outputs or {}
        ),
        StepReport(name="say", outcome=StepOutcome.SUCCEEDED, keys_written=("c",)),
    )
    return replace(
        result,
        outcome=Outcome.SUCCEEDED,
        attempts=(replace(result.attempts[0], steps=steps),),
        changes=Changes(set=changes or {}),
        artifacts=tuple(Artifact(name="file", digest=digest, size_bytes=1) for digest in artifacts),
        **fields,  # type: ignore[arg-type]
    )


def labels(first: Result, *others: tuple[Result, Varied], leeway: Leeway | None = None) -> dict[str, Label]:
    return {one.name: one for one in label(first, others, Comparing(leeway), NAMES)}


def test_what_never_moves_is_stable_and_all_is_named(result_of: ResultOf) -> None:
    """Also what did not move: a list of faults alone does not say what was looked at."""
    run = made(result_of("r"), {"n": 1}, {"a": 1}, ("x",))
    found = label(run, [(run, ()), (run, ("seed",))], Comparing(), NAMES)

    assert {one.stability for one in found} == {"stable"}
    assert [(one.area, one.name) for one in found] == [
        ("outcome", "outcome"),
        ("step", "read"),
        ("step", "sum"),
        ("output", "sum.n"),
        ("step", "say"),
        ("change", "a"),
        ("artifact", "file"),
    ]


def test_what_moves_is_told_with_all_that_moved_it(result_of: ResultOf) -> None:
    """Two causes are two; a run that did not move it tells of none."""
    first, other = made(result_of("r"), changes={"c": [1, 2]}), made(result_of("r"), changes={"c": [2, 2]})
    found = labels(first, (first, ()), (other, ("seed",)), (first, ("clock",)), (other, ("hash_seed", "time_zone")))

    assert found["c"].stability == "unstable"
    assert found["c"].moved_by == (("seed",), ("hash_seed", "time_zone"))
    assert (found["c"].step, found["c"].place, found["c"].first, found["c"].other) == ("say", "c: 0", 1, 2)
    assert not found["c"].moved_still


def test_what_moves_by_itself_is_blamed_on_nothing(result_of: ResultOf) -> None:
    """It would have moved in the other runs anyway."""
    first, second, third = (made(result_of("r"), changes={"c": number}) for number in range(3))
    found = labels(first, (second, ()), (third, ("seed",)))

    assert (found["c"].moved_still, found["c"].moved_by) == (True, ())


def test_a_step_that_reads_what_moved_is_not_the_one_that_began(result_of: ResultOf) -> None:
    """Whoever looks for the mistake looks there."""
    first = made(result_of("r"), {"n": 1}, {"a": 1, "b": 10})
    found = labels(first, (made(result_of("r"), {"n": 2}, {"a": 2, "b": 20}), ("seed",)))

    assert {name: found[name].step for name in ("a", "b", "sum.n")} == {"a": "read", "b": "read", "sum.n": "read"}

    found = labels(first, (made(result_of("r"), {"n": 2}, {"a": 1, "b": 20}), ("seed",)))
    assert {name: found[name].step for name in ("a", "b", "sum.n")} == {"a": "", "b": "sum", "sum.n": "sum"}


def test_what_does_not_count_is_volatile(result_of: ResultOf) -> None:
    """It moved, and that was declared."""
    first, other = made(result_of("r"), {"at": 1, "n": 1.0}), made(result_of("r"), {"at": 2, "n": 1.0001})
    found = labels(first, (other, ("clock",)), leeway=Leeway(volatile=("sum.at",), tolerance=0.01))

    assert (found["sum.at"].stability, found["sum.n"].stability) == ("volatile", "volatile")
    assert found["sum.at"].moved_by == (("clock",),)


def test_a_key_that_only_some_runs_write_and_a_file_and_an_end_that_change_are_unstable(result_of: ResultOf) -> None:
    """Everything that can come out can come out otherwise."""
    first = made(result_of("r"), {"n": 1}, {}, ("x",))
    other = replace(made(result_of("r"), {}, {"c": None}, ("y",)), outcome=Outcome.FAILED)
    found = labels(first, (other, ("seed",)))

    assert {name for name, one in found.items() if one.stability == "unstable"} == {"outcome", "sum.n", "c", "file"}


def test_one_output_of_a_step_moves_and_its_neighbour_does_not(result_of: ResultOf) -> None:
    """A name that begins like another's is another name."""
    first = made(result_of("r"), {"n": {"x": 1}, "nn": 1})
    found = labels(first, (made(result_of("r"), {"n": {"x": 2}, "nn": 1}), ("seed",)))

    assert (found["sum.n"].stability, found["sum.nn"].stability) == ("unstable", "stable")
    assert found["sum.n"].place == "step sum: outputs.n.x"
