"""The plan inside the container: what may start, and what an end means for the others."""

from __future__ import annotations

from typing import Any

import pytest

from tests.runner.plans import Ended, Json, problem, step


def settle(plan: Any, **answer: Any) -> Json:  # noqa: ANN401
    """Start the next step and let it end; returns its report."""
    taken = plan.take_ready(0)
    plan.view_for(taken)
    report: Json = plan.settle(Ended(taken, **answer))[0]
    return report


def test_steps_start_in_order_and_after_what_they_depend_on(plan_of: Any) -> None:  # noqa: ANN401
    """One at a time unless the recipe says otherwise."""
    plan = plan_of(step("b", depends_on=["a"]), step("a"))
    first = plan.take_ready(0)

    assert first["name"] == "a"
    assert plan.take_ready(1) is None
    plan.view_for(first)
    plan.settle(Ended(first))
    assert plan.take_ready(0)["name"] == "b"


def test_what_depends_on_a_failure_is_skipped_with_the_reason(plan_of: Any) -> None:  # noqa: ANN401
    """Through the whole chain, each naming its own dependency."""
    plan = plan_of(step("a"), step("b", depends_on=["a"]), step("c", depends_on=["b"]), step("d"))
    settle(plan, problem=problem())

    assert [(one["step"], one["outcome"], one["cause"]) for one in plan.take_unrunnable()] == [
        (1, "skipped", "its dependency 'a' was failed"),
        (2, "skipped", "its dependency 'b' was skipped"),
    ]
    assert plan.take_ready(0)["name"] == "d"
    assert not plan.succeeded


def test_a_disabled_step_is_settled_without_running(plan_of: Any) -> None:  # noqa: ANN401
    """It is no failure itself; what needs it cannot run."""
    plan = plan_of(step("a", disabled="enabled: false"), step("b", depends_on=["a"]))

    assert [(one["outcome"], one["cause"]) for one in plan.take_unrunnable()] == [
        ("disabled", "enabled: false"),
        ("skipped", "its dependency 'a' was disabled"),
    ]
    assert plan_of(step("a", disabled="enabled: false")).succeeded is False
    alone = plan_of(step("a", disabled="enabled: false"))
    assert len([*alone.take_unrunnable()]) == 1
    assert alone.succeeded


def test_a_step_is_tried_again_as_often_as_it_asks(plan_of: Any) -> None:  # noqa: ANN401
    """Its last try counts, and what a failed try set is forgotten."""
    plan = plan_of(step("a", retry_count=1))
    taken = plan.take_ready(0)
    plan.view_for(taken)
    failed: Json = {"problem": problem(), "set": {"k": 1}}

    assert plan.settle(Ended(taken, **failed))[1] == 0
    report, again_in_s = plan.settle(Ended(taken, number=2, **failed))

    assert (again_in_s, report["tries"], report["outcome"], report["set"]) == (None, 2, "failed", {})
    assert plan.view_for(taken) == {}


def test_a_step_waits_before_it_is_tried_again_as_it_asks(plan_of: Any) -> None:  # noqa: ANN401
    """Once its tries are used up there is nothing to wait for."""
    plan = plan_of(step("a", retry_count=1, retry_delay_s=2.5))
    taken = plan.take_ready(0)
    plan.view_for(taken)

    assert plan.settle(Ended(taken, problem=problem()))[1] == 2.5
    assert plan.settle(Ended(taken, number=2, problem=problem()))[1] is None


def test_a_recipe_that_does_not_continue_stops_at_the_first_failure(plan_of: Any) -> None:  # noqa: ANN401
    """What has nothing to do with the failed step is skipped as well, and told which step it was."""
    plan = plan_of(
        step("a", disabled="enabled: false"), step("b"), step("c"), step("d", depends_on=["b"]), continues=False
    )
    assert len([*plan.take_unrunnable()]) == 1
    settle(plan, problem=problem())

    assert plan.take_ready(0) is None
    assert [(one["step"], one["outcome"], one["cause"]) for one in plan.take_unrunnable()] == [
        (2, "skipped", "step 'b' failed before, and the recipe stops then"),
        (3, "skipped", "its dependency 'b' was failed"),
    ]
    assert not plan.succeeded


@pytest.mark.parametrize("change", [{"set": {"other": 1}}, {"deleted": ["other"]}])
def test_a_write_that_was_not_declared_fails_the_step(plan_of: Any, change: Json) -> None:  # noqa: ANN401
    """One glob of each list must match: the policy's and the recipe's."""
    plan = plan_of(step("a"), writes=[["*"], ["sales.*"]])
    report = settle(plan, **change)

    assert (report["outcome"], report["cause"]) == ("failed", "undeclared_write")
    assert "'other', which is not declared under context.writes" in report["error"]["message"]
    assert report["set"] == {}


def test_what_one_step_set_the_next_one_sees(plan_of: Any) -> None:  # noqa: ANN401
    """And what it deleted is gone."""
    plan = plan_of(step("a"), step("b"), values={"old": 1})
    settle(plan, set={"new": 2}, deleted=["old"])

    assert plan.view_for(plan.take_ready(0)) == {"new": 2}


@pytest.mark.parametrize(("second", "cause"), [({"k": 2}, "parallel_conflict"), ({"k": 1}, "")])
def test_two_steps_at_once_may_not_write_differently(plan_of: Any, second: Json, cause: str) -> None:  # noqa: ANN401
    """The order of their ends would decide; the same value twice is no conflict."""
    plan = plan_of(step("a"), step("b"), workers=2)
    one, two = plan.take_ready(0), plan.take_ready(1)
    plan.view_for(one)
    plan.view_for(two)
    plan.settle(Ended(one, set={"k": 1}))

    assert plan.settle(Ended(two, set=second))[0]["cause"] == cause


def test_a_key_that_must_be_there_may_have_been_there_before(plan_of: Any) -> None:  # noqa: ANN401
    """success.ctx_has_keys looks at the context after the step."""
    plan = plan_of(step("a", ctx_has_keys=["old", "new"]), values={"old": 1})
    assert settle(plan, set={"new": 1})["outcome"] == "succeeded"

    plan = plan_of(step("a", ctx_has_keys=["old", "new"]), values={"old": 1})
    report = settle(plan, deleted=["old"])
    assert (report["cause"], report["error"]["message"]) == (
        "missing_keys",
        "success.ctx_has_keys: the context has no old, new",
    )


@pytest.mark.parametrize(
    ("status", "outcome", "cause"),
    [
        (0, "no_answer", "no_answer"),
        (3, "no_answer", "no_answer"),
        (-9, "failed", "signal:9"),
        (-25, "failed", "disk_full"),
    ],
)
def test_a_silent_end_is_told_by_its_status(plan_of: Any, status: int, outcome: str, cause: str) -> None:  # noqa: ANN401
    """Exit 0 without an answer is none; a signal names itself; SIGXFSZ is a file that grew too large."""
    plan = plan_of(step("a"))
    taken = plan.take_ready(0)
    plan.view_for(taken)
    process = Ended(taken, status=status)
    process.answer = None

    report = plan.settle(process)[0]

    assert (report["outcome"], report["cause"]) == (outcome, cause)


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"{}", b"[]", b"\xff", b"[" * 200, b'{"a":1,"a":1}', {"set": []}, {"deleted": [1]}, {"writers": {"k": 1}},
        {"reads": "k"}, {"reads": [" k"]}, {"reads": ["k"] * 1001}, {"read_all": 1},
        {"import_s": "1"}, {"import_s": -1}, {"import_s": True},
        {"outputs": 3}, {"problem": {"cause": "x"}}, {"problem": {**problem(), "cause": "x" * 101}},
        {"problem": {**problem(), "more": ""}}, {"set": {"k": [0] * 99_990}},
    ],
    ids=range(21),
)  # fmt: skip
def test_an_answer_that_is_none_fails_its_step_and_nothing_else(plan_of: Any, answer: bytes | Json) -> None:  # noqa: ANN401
    """A step writes what it likes on its pipe: what the host would choke on must stop here."""
    plan = plan_of(step("a"))
    taken = plan.take_ready(0)
    plan.view_for(taken)
    process = Ended(taken, **(answer if isinstance(answer, dict) else {}))
    process.answer = answer if isinstance(answer, bytes) else process.answer

    assert plan.settle(process)[0]["outcome"] == "bad_answer"


def test_time_comes_before_everything_that_a_step_said(plan_of: Any) -> None:  # noqa: ANN401
    """It was stopped: what it answered in the last instant may be half of it."""
    plan = plan_of(step("a"))
    taken = plan.take_ready(0)
    plan.view_for(taken)
    process = Ended(taken)
    process.timed_out = True

    assert plan.settle(process)[0]["cause"] == "timeout"


def test_a_large_plan_starts_in_its_order_and_skips_in_it(plan_of: Any) -> None:  # noqa: ANN401
    """A step with several dependencies starts once, and one with several that did not succeed is skipped once."""
    names = [f"s{number}" for number in range(200)]
    plan = plan_of(*(step(name, depends_on=names[max(0, at - 2) : at]) for at, name in enumerate(names)))
    started = []
    while (taken := plan.take_ready(0)) is not None:
        plan.view_for(taken)
        started.append(taken["index"])
        plan.settle(Ended(taken, problem=problem() if taken["name"] == "s150" else None))

    assert started == [*range(151)]
    assert [report["step"] for report in plan.take_unrunnable()] == [*range(151, 200)]
