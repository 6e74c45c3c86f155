"""What a step takes instead of running, and what it leaves for others: inside, where the context is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.runner.plans import Ended, Json, step

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.runner.conftest import Load

    PlanOf = Callable[..., Any]

FILES = "files lay in its folders when it ended"
ALL = "it counts as having read all that it may see"


@pytest.fixture
def scratch(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the place of those of the container, in whose kernel nothing lies."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(load("broom"), "_FOLDERS", (str(folder),))
    monkeypatch.setattr(load("broom"), "_SHARED", str(folder))
    monkeypatch.setattr(load("broom"), "_IPC", ())
    return folder


@pytest.fixture
def ran(plan_of: PlanOf, scratch: Path) -> Callable[..., Json]:
    """Let the step ``a`` run and answer; returns its report."""
    assert not [*scratch.iterdir()]

    def run(answer: Json, values: Json | None = None, **more: Any) -> Json:  # noqa: ANN401 - JSON
        return settle(plan_of(step("a", cache=True, **more), values=values), **answer)

    return run


def settle(plan: Any, **answer: Any) -> Json:  # noqa: ANN401 - the class of another world
    taken = plan.take_ready(0)
    assert plan.take_kept(taken) is None
    plan.view_for(taken)
    report: Json = plan.settle(Ended(taken, **answer))[0]
    return report


def kept(report: Json) -> Json:
    """Return what the host keeps of a report, as the next plan has it."""
    return {name: report[name] for name in ("found", "reads", "set", "deleted", "writers", "outputs")}


ANSWER = {"reads": ["n"], "set": {"out": 2}, "deleted": ["old"], "outputs": {"x": 1}, "writers": {"out": "a"}}


def test_a_step_that_would_find_the_same_takes_what_was_made_of_it(ran: Any, plan_of: PlanOf) -> None:  # noqa: ANN401
    """Its changes are there for later steps, and so are its outputs; no process is needed."""
    made = kept(ran(ANSWER, {"n": 1, "old": 0}))
    later = step(
        "b", depends_on=["a"], args={"x": None}, args_from=[{"at": ["x"], "parts": [{"step": "a", "output": ["x"]}]}]
    )
    plan = plan_of(step("a", cache=True), later, values={"n": 1, "old": 5}, kept={"a": [made]})

    assert plan.take_kept(plan.take_ready(0)) == {
        "step": 0,
        "outcome": "succeeded",
        "tries": 0,
        "cause": "",
        "cached": 0,
    }
    following = plan.take_ready(0)
    assert following["taken"] == {"a": {"x": 1}}
    assert dict(plan.view_for(following)) == {"n": 1, "out": 2}


@pytest.mark.parametrize(
    ("values", "takes"),
    [
        ({"n": 1}, True),
        ({"n": 1, "other": 9}, True),
        ({"n": 2}, False),
        ({"n": 1.0}, False),
        ({"n": True}, False),
        ({"n": None}, False),
        ({}, False),
        ({"n": 1, "gone": None}, False),
    ],
)
def test_only_what_it_read_counts_and_that_exactly(ran: Any, plan_of: PlanOf, values: Json, takes: bool) -> None:  # noqa: ANN401, FBT001
    """A key that was not there is something that was found, and null is not the same."""
    made = kept(ran({"reads": ["gone", "n"], "set": {"out": 2}}, {"n": 1}))
    plan = plan_of(step("a", cache=True), values=values, kept={"a": [made]})

    assert (plan.take_kept(plan.take_ready(0)) is not None) == takes


def test_a_mapping_in_another_order_is_something_else(ran: Any, plan_of: PlanOf) -> None:  # noqa: ANN401
    """Who walks through it sees that."""
    made = kept(ran({"reads": ["n"]}, {"n": {"a": 1, "b": 2}}))
    plan = plan_of(step("a", cache=True), values={"n": {"b": 2, "a": 1}}, kept={"a": [made]})

    assert plan.take_kept(plan.take_ready(0)) is None


def test_of_several_the_one_is_taken_that_fits(ran: Any, plan_of: PlanOf) -> None:  # noqa: ANN401
    """What it read may differ, too: it looked elsewhere for it found something else."""
    many = [kept(ran({"reads": reads, "set": {"out": n}}, {"n": n})) for n, reads in ((3, ["m", "n"]), (2, ["n"]))]
    plan = plan_of(step("a", cache=True), values={"n": 2}, kept={"a": many})

    assert plan.take_kept(plan.take_ready(0))["cached"] == 1
    assert plan.succeeded


def test_args_are_compared_as_they_are_filled(plan_of: PlanOf, scratch: Path) -> None:
    """They come from another step of this run."""
    assert scratch.is_dir()
    places = {"args_from": [{"at": ["x"], "parts": [{"step": "a", "output": ["x"]}]}], "args": {"x": None}}
    steps = (step("a"), step("b", cache=True, depends_on=["a"], **places))
    plan = plan_of(*steps)
    settle(plan, outputs={"x": 1, "y": 1})
    made = kept(settle(plan, set={"out": 1}))

    for outputs, takes in (({"x": 1, "y": 2}, True), ({"x": 2}, False), ({}, False)):
        again = plan_of(*steps, kept={"b": [made]})
        settle(again, outputs=outputs)
        assert (again.take_kept(again.take_ready(0)) is not None) == takes


def test_what_earlier_steps_of_the_run_made_is_found_like_all_else(plan_of: PlanOf, scratch: Path) -> None:
    """Be it that the shared context had something else."""
    assert scratch.is_dir()
    steps = (step("a"), step("b", cache=True, depends_on=["a"]))
    plan = plan_of(*steps, values={"n": 0})
    settle(plan, set={"n": 1})
    made = kept(settle(plan, reads=["n"]))

    for written, takes in ((1, True), (2, False)):
        again = plan_of(*steps, values={"n": 1}, kept={"b": [made]})
        settle(again, set={"n": written})
        assert (again.take_kept(again.take_ready(0)) is not None) == takes


@pytest.mark.parametrize("name", ["empty", "folder/file"])
def test_a_step_that_leaves_a_file_leaves_no_result(plan_of: PlanOf, scratch: Path, name: str) -> None:
    """What is taken would not bring it back, be it an artifact or something that a later step looks for."""
    plan = plan_of(step("a", cache=True))
    taken = plan.take_ready(0)
    plan.view_for(taken)
    (scratch / name).parent.mkdir(exist_ok=True)
    (scratch / name).touch()
    report = plan.settle(Ended(taken))[0]

    assert (report["outcome"], report["found"], report["unkept"]) == ("succeeded", "", FILES)


def test_a_step_beside_files_neither_takes_nor_leaves_a_result(ran: Any, plan_of: PlanOf, scratch: Path) -> None:  # noqa: ANN401
    """It may read them, and nobody would know."""
    made = kept(ran({"reads": ["n"]}, {"n": 1}))
    (scratch / "file").touch()
    report = settle(plan_of(step("a", cache=True), values={"n": 1}, kept={"a": [made]}), reads=["n"])

    assert (report["found"], report["unkept"]) == ("", "files of other steps lay in its folders when it began")


def test_a_step_that_saw_everything_leaves_no_result(ran: Any) -> None:  # noqa: ANN401
    """Each run would find something else."""
    assert (ran({"read_all": True})["found"], ran({"read_all": True})["unkept"]) == ("", ALL)


def test_a_step_that_did_not_ask_for_it_leaves_nothing(plan_of: PlanOf, scratch: Path) -> None:
    """And one that failed neither."""
    assert scratch.is_dir()
    plan = plan_of(step("a"), step("b", cache=True))
    said = [settle(plan), settle(plan, problem={"cause": "x", "type": "E", "message": "m", "traceback": ""})]

    assert [(report["found"], report["unkept"]) for report in said] == [("", ""), ("", "")]


def at_once(plan_of: PlanOf, first: Json, second: Json, **merge: object) -> Json:
    """Let two steps see the same and end one after the other; returns the report of the second, which is cached."""
    plan = plan_of(step("a"), step("b", cache=True), values={"n": 1, "k": 1}, workers=2, merge=merge)
    begun = [plan.take_ready(running) for running in (0, 1)]
    for one in begun:
        plan.view_for(one)
    plan.settle(Ended(begun[0], **first))
    report: Json = plan.settle(Ended(begun[1], **second))[0]
    return report


def test_beside_others_a_step_found_what_was_there_when_it_began(plan_of: PlanOf, scratch: Path) -> None:
    """Not what another has made of it by its end."""
    assert scratch.is_dir()
    report = at_once(plan_of, {"set": {"n": 2}}, {"reads": ["n"], "set": {"out": 1}})

    for n, takes in ((1, True), (2, False)):
        plan = plan_of(step("a"), step("b", cache=True), values={"n": n}, kept={"b": [kept(report)]})
        settle(plan)
        assert (plan.take_kept(plan.take_ready(0)) is not None) == takes


@pytest.mark.parametrize("how", ["add", "theirs"])
def test_a_result_that_holds_what_another_made_is_not_left(plan_of: PlanOf, scratch: Path, how: str) -> None:
    """The sum of two is no step's own."""
    assert scratch.is_dir()
    report = at_once(plan_of, {"set": {"k": 2}}, {"set": {"k": 5}}, on_conflict=how)

    assert (report["outcome"], report["found"]) == ("succeeded", "")
    assert report["unkept"] == "a step that ran at once changed the same keys"


def test_what_a_step_must_leave_is_asked_of_what_it_takes(ran: Any, plan_of: PlanOf) -> None:  # noqa: ANN401
    """One that would have failed now does not succeed for having been lucky once."""
    made = kept(ran({"set": {"out": 1}}))
    plan = plan_of(step("a", cache=True, ctx_has_keys=["more"]), kept={"a": [made]})
    assert plan.take_kept(plan.take_ready(0)) is None

    narrow = plan_of(step("a", cache=True), kept={"a": [made]}, writes=(("in.*",),))
    assert narrow.take_kept(narrow.take_ready(0)) is None


def test_a_key_that_must_be_there_and_nobody_made_is_found_too(ran: Any, plan_of: PlanOf) -> None:  # noqa: ANN401
    """It was looked at in the shared context, by the runner."""
    made = kept(ran({"set": {"out": 1}}, {"there": 1}, ctx_has_keys=["there"]))
    assert made["reads"] == ["there"]

    for values, takes in (({"there": 1}, True), ({"there": 2}, False)):
        plan = plan_of(step("a", cache=True, ctx_has_keys=["there"]), values=values, kept={"a": [made]})
        assert (plan.take_kept(plan.take_ready(0)) is not None) == takes


def test_a_key_that_an_earlier_step_made_once_and_now_is_the_contexts_is_another_thing(
    plan_of: PlanOf, scratch: Path
) -> None:
    """Nothing on record says that the shared context was looked at there."""
    assert scratch.is_dir()
    steps = (step("a"), step("b", cache=True, depends_on=["a"], ctx_has_keys=["k"]))
    plan = plan_of(*steps)
    settle(plan, set={"k": 1})
    made = kept(settle(plan))

    for written, takes in (({"k": 2}, True), ({}, False)):
        again = plan_of(*steps, values={"k": 1}, kept={"b": [made]})
        settle(again, set=written)
        assert (again.take_kept(again.take_ready(0)) is not None) == takes
