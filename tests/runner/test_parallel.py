"""Steps that ran at once: their changes become one by the policy's rules, or the later one gives way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from tests.runner.plans import Ended, Json, problem, step

ABSENT = object()


class AtOnce(Protocol):
    """What the fixture ``at_once`` gives."""

    def __call__(
        self,
        first: Json,
        second: Json,
        values: Json | None = ...,
        **merge: Any,  # noqa: ANN401 - as above
    ) -> tuple[Json, float | None, Json]:
        """Let two steps see the same, and end one after the other."""


def rules(**by_key: str) -> Json:
    return {"rules": [{"keys": [key], "on_conflict": how} for key, how in by_key.items()]}


def content(value: object) -> Json:
    return {"deleted": ["k"]} if value is ABSENT else {"set": {"k": value}}


def begin(plan: Any, *, running: int) -> Json:  # noqa: ANN401 - the class of another world
    taken: Json = plan.take_ready(running)
    plan.view_for(taken)
    return taken


@pytest.fixture
def at_once(plan_of: Any) -> AtOnce:  # noqa: ANN401 - as above
    """Let two steps see the same, and end one after the other; returns the later one's end, and what is there then."""

    def run(first: Json, second: Json, values: Json | None = None, **merge: Any) -> tuple[Json, float | None, Json]:  # noqa: ANN401
        plan = plan_of(step("a"), step("b"), step("c", depends_on=["b"]), values=values, workers=2, merge=merge)
        one, two = begin(plan, running=0), begin(plan, running=1)
        assert plan.settle(Ended(one, **first))[0]["outcome"] == "succeeded"
        report, again = plan.settle(Ended(two, **second))
        return report, again, dict(plan.view_for(two))

    return run


COMBINED = {
    "add": (5, 7, 6, 8),
    "append": ([1], [1, 2], [1, 3], [1, 2, 3]),
    "union": ([1], [1, 2], [2, 3], [1, 2, 3]),
    "max": (1, 4, 3, 4),
    "min": (1, 4, 3, 3),
    "deep": ({"x": 0}, {"x": 1}, {"x": 0, "y": 2}, {"x": 1, "y": 2}),
}
"""By rule: what both saw, what each made of it, and what comes out."""


@pytest.mark.parametrize("how", COMBINED)
def test_what_a_rule_combines_counts_twice(at_once: AtOnce, how: str) -> None:
    """As two runs that end after each other; no step is told of the other."""
    base, first, second, both = COMBINED[how]
    report, again, values = at_once(content(first), content(second), {"k": base}, **rules(k=how))

    assert (report["outcome"], again, report["set"], report["combined"]) == ("succeeded", None, {"k": both}, ["k"])
    assert values == {"k": both}


def test_two_that_count_to_the_same_are_both_counted(at_once: AtOnce) -> None:
    """Each added one."""
    assert at_once(content(6), content(6), {"k": 5}, **rules(k="add"))[2] == {"k": 7}


@pytest.mark.parametrize(("first", "second"), [(1, 2), (1, ABSENT), (ABSENT, 2)])
def test_ours_is_the_one_that_ends_later(at_once: AtOnce, first: object, second: object) -> None:
    """It merges; what is there already is theirs. What was dropped is told."""
    report, _, values = at_once(content(first), content(second), {"k": 0}, on_conflict="ours")
    assert (report["outcome"], report["dropped"]) == ("succeeded", [])
    assert values == ({} if second is ABSENT else {"k": second})

    report, _, values = at_once(content(first), content(second), {"k": 0}, on_conflict="theirs")
    assert (report["outcome"], report["set"], report["deleted"], report["dropped"]) == ("succeeded", {}, [], ["k"])
    assert values == ({} if first is ABSENT else {"k": first})


def test_a_conflict_names_both_steps_the_key_and_both_values(at_once: AtOnce) -> None:
    """And adopts nothing of the later one."""
    report, again, values = at_once(content(1), {"set": {"k": 2, "other": 3}})

    assert (report["outcome"], report["cause"], report["set"], again) == ("failed", "parallel_conflict", {}, None)
    assert report["error"]["message"] == "steps that ran at once: 'b' made 'k' 2; 'a', at the same time, made it 1"
    assert values == {"k": 1}


def test_a_rule_that_does_not_fit_is_a_conflict_that_says_why(at_once: AtOnce) -> None:
    """As for runs. A text of many signs is not told whole."""
    message = at_once(content("x" * 500), content(6), {"k": 5}, **rules(k="add"))[0]["error"]["message"]

    assert message.endswith("(add: theirs is a text, not a number)")
    assert len(message) < 300


def test_what_becomes_too_large_together_is_not_kept(at_once: AtOnce) -> None:
    """Each of both could be; a number that JSON cannot carry would end the runner, and the run with it."""
    report, _, values = at_once(content(2**53), content(2**53), {"k": 0}, **rules(k="add"))
    assert (report["cause"], values) == ("parallel_conflict", {"k": 2**53})
    assert "what both make together is not JSON" in report["error"]["message"]

    half = ["x" * 50] * 50
    report, _, values = at_once(content(half), content(half), {"k": []}, **rules(k="append"))
    assert (report["outcome"], report["cause"], values) == ("failed", "answer_too_large", {"k": half})


def test_a_step_that_is_to_be_run_again_sees_what_the_other_made(plan_of: Any) -> None:  # noqa: ANN401
    """That try is not one of those that it asked for, and its own second view is as new as any."""
    plan = plan_of(step("a"), step("b"), workers=2, merge={"on_conflict": "rerun"})
    one, two = begin(plan, running=0), begin(plan, running=1)
    plan.settle(Ended(one, set={"k": 1}))

    assert plan.settle(Ended(two, set={"k": 2}))[1] == 0
    assert plan.view_for(two) == {"k": 1}
    report, again = plan.settle(Ended(two, number=2, set={"k": 2}))
    assert (report["outcome"], report["tries"], again) == ("succeeded", 2, None)


def test_a_try_that_a_conflict_cost_is_none_of_those_that_the_step_asked_for(plan_of: Any) -> None:  # noqa: ANN401
    """It has failed once, and may once more."""
    plan = plan_of(step("a"), step("b", retry_count=1), workers=2, merge={"on_conflict": "rerun"})
    one, two = begin(plan, running=0), begin(plan, running=1)
    plan.settle(Ended(one, set={"k": 1}))
    assert plan.settle(Ended(two, set={"k": 2}))[1] == 0

    assert [plan.settle(Ended(two, number=number, problem=problem()))[1] for number in (2, 3)] == [0, None]


def test_a_conflict_is_a_failure_like_any_other_for_a_step_that_asks_for_more_tries(plan_of: Any) -> None:  # noqa: ANN401
    """Where the policy says `fail`; the next try sees what is there."""
    plan = plan_of(step("a"), step("b", retry_count=1), workers=2)
    one, two = begin(plan, running=0), begin(plan, running=1)
    plan.settle(Ended(one, set={"k": 1}))

    assert plan.settle(Ended(two, set={"k": 2}))[1] == 0
    assert plan.view_for(two) == {"k": 1}


def test_what_a_step_saw_is_what_was_there_when_it_began(plan_of: Any) -> None:  # noqa: ANN401
    """Not what was there before the last of several changes."""
    rule = rules(k="add")
    plan = plan_of(step("a"), step("b"), step("c", depends_on=["a"]), workers=2, values={"k": 5}, merge=rule)
    one, two = begin(plan, running=0), begin(plan, running=1)
    plan.settle(Ended(one, set={"k": 6}))
    plan.settle(Ended(begin(plan, running=1), set={"k": 8}))

    assert plan.settle(Ended(two, set={"k": 9}))[0]["set"] == {"k": 12}


def test_running_again_has_an_end(plan_of: Any) -> None:  # noqa: ANN401
    """As many tries as the policy gives to conflicts; then it is one."""
    rule = {"on_conflict": "rerun", "attempts": 2}
    plan = plan_of(step("a"), step("b"), step("c", depends_on=["a"]), workers=2, merge=rule)
    one, two = begin(plan, running=0), begin(plan, running=1)
    plan.settle(Ended(one, set={"k": 1}))
    assert plan.settle(Ended(two, set={"k": 2}))[1] == 0
    plan.view_for(two)
    assert plan.settle(Ended(begin(plan, running=1), set={"k": 3}))[0]["outcome"] == "succeeded"

    report, again = plan.settle(Ended(two, number=2, set={"k": 2}))

    assert (report["cause"], again) == ("parallel_conflict", None)


def test_one_conflict_that_is_not_for_it_forbids_another_try(at_once: AtOnce) -> None:
    """It would only fail again."""
    two = {"set": {"j": 2, "k": 2}}
    report, again, _ = at_once({"set": {"j": 1, "k": 1}}, two, **rules(k="rerun", j="fail"))

    assert (report["cause"], again) == ("parallel_conflict", None)
    assert report["error"]["message"].endswith("; and 1 keys more")


SAW = {"set": {"mine": 1}, "reads": ["k"]}
LISTED = {"set": {"mine": 1}, "read_all": True}


@pytest.mark.parametrize(
    ("base", "first", "second", "said"),
    [
        ({"k": 0}, content(1), SAW, "'b' read 'k' as 0; 'a', at the same time, made it 1"),
        ({}, content(1), SAW, "'b' read 'k' as nothing; 'a', at the same time, made it 1"),
        ({"k": 0}, content(ABSENT), SAW, "'b' read 'k' as 0; 'a', at the same time, made it nothing"),
        ({}, content(1), LISTED, "'b' read 'k' as nothing; 'a', at the same time, made it 1"),
        ({"k": 0}, content(1), {**content(1), "reads": ["k"]}, "'b' read 'k' as 0; 'a', at the same time, made it 1"),
        ({"k": 0}, content(0), SAW, ""),
        ({"k": 0}, {"set": {"else": 1}}, SAW, ""),
        ({"k": 0}, content(1), content(1), ""),
    ],
)
def test_in_strict_mode_what_was_read_must_still_be_so(
    at_once: AtOnce, base: Json, first: Json, second: Json, said: str
) -> None:
    """Also that nothing was there; who did not look does not mind. Without strict mode, nobody does."""
    report, _, _ = at_once(first, second, base, strict=True)
    assert report["cause"] == ("parallel_conflict" if said else "")
    assert not said or report["error"]["message"] == f"steps that ran at once: {said}"

    assert at_once(first, second, base, strict=False)[0]["outcome"] == "succeeded"
    assert at_once(first, second, base, strict=True, **rules(k="ours"))[0]["outcome"] == "succeeded"


@pytest.mark.parametrize("strict", [True, False])
def test_a_step_that_began_after_the_others_end_saw_it(plan_of: Any, *, strict: bool) -> None:  # noqa: ANN401
    """Whether it depends on it or not: these two never meet, and neither do steps one by one."""
    plan = plan_of(step("a"), step("b"), workers=2, values={"k": 0}, merge={"strict": strict})
    plan.settle(Ended(begin(plan, running=0), set={"k": 1}, reads=["k"]))

    assert plan.settle(Ended(begin(plan, running=0), set={"k": 2}, read_all=True))[0]["outcome"] == "succeeded"


def test_what_changed_before_a_failed_try_is_no_news_to_the_next(plan_of: Any) -> None:  # noqa: ANN401
    """Each try has a view of its own."""
    plan = plan_of(step("a"), step("b", retry_count=1), workers=2)
    one, two = begin(plan, running=0), begin(plan, running=1)
    plan.settle(Ended(one, set={"k": 1}))
    assert plan.settle(Ended(two, problem=problem()))[1] == 0
    plan.view_for(two)

    report, _ = plan.settle(Ended(two, number=2, set={"k": 2}))

    assert (report["outcome"], report["set"]) == ("succeeded", {"k": 2})


def test_a_key_that_must_be_there_counts_as_read_unless_the_run_made_it(plan_of: Any) -> None:  # noqa: ANN401
    """Whether the step succeeded hung on it."""
    plan = plan_of(
        step("a"), step("b", ctx_has_keys=["old", "made", "mine", " no key"]), values={"old": 1, " no key": 1}
    )
    plan.settle(Ended(begin(plan, running=0), set={"made": 1}))

    assert plan.settle(Ended(begin(plan, running=0), set={"mine": 1}))[0]["reads"] == ["old"]


@dataclass(frozen=True)
class Program:
    """A step whose writes come from what it reads, and from nothing else; it ``lists`` all, or reads some keys."""

    reads: frozenset[str]
    lists: bool
    writes: frozenset[str]

    def act(self, values: dict[str, int]) -> Json:
        """Answer, when the context is this."""
        seen = [value for key, value in values.items() if self.lists or key in self.reads]
        count = sum(seen) + 10 * len(seen)
        changes: Json = (
            {"deleted": sorted(self.writes)} if count % 3 == 0 else {"set": dict.fromkeys(self.writes, count)}
        )
        return {**changes, "reads": sorted(self.reads), "read_all": self.lists}


SOME = some.frozensets(some.sampled_from("abc"), min_size=1, max_size=2)
PROGRAMS = some.lists(some.builds(Program, reads=SOME, lists=some.booleans(), writes=SOME), min_size=4, max_size=4)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(programs=PROGRAMS, order=some.permutations([*range(4), *range(4)]))
def test_in_strict_mode_steps_at_once_do_what_one_after_the_other_would(
    plan_of: Any,  # noqa: ANN401 - the class of another world
    programs: list[Program],
    order: list[int],
) -> None:
    """In the order of their ends; one that met a conflict has done it again on what was there."""
    steps = [step(str(number)) for number in range(4)]
    plan = plan_of(*steps, workers=4, values={"a": 1, "b": 2}, merge={"strict": True, "on_conflict": "rerun"})
    taken = {number: plan.take_ready(number) for number in range(4)}
    serial, under_way = {"a": 1, "b": 2}, dict[int, Ended]()
    for number in order:
        process = under_way.pop(number, None)
        if process is None:
            under_way[number] = Ended(taken[number], **programs[number].act(plan.view_for(taken[number])))
            continue
        if plan.settle(process)[1] is not None:
            seen = programs[number].act(plan.view_for(taken[number]))
            assert plan.settle(Ended(taken[number], number=2, **seen))[0]["outcome"] == "succeeded"
        changes = programs[number].act(serial)
        serial = {key: value for key, value in serial.items() if key not in changes.get("deleted", ())}
        serial |= changes.get("set", {})

    assert plan.succeeded
    assert plan.view_for(taken[0]) == serial
