"""Faults of the engine that Docker cannot be made to show: nothing is left, nothing is merged, nothing is believed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from isolation.errors import EngineError, EngineUnreachableError, InterruptedRunError
from isolation.model.outcome import Outcome
from isolation.model.policy import Policy, RetryRule
from isolation.testing import FakeEngine, Inside, answering, idle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from isolation.controller import Controller
    from isolation.model.event import Event
    from isolation.model.run import Result
    from isolation.sandbox.leases import Leases
    from tests.sandbox.conftest import Recipe

POLICY = Policy(name="test")
LOST = Outcome.LOST


@pytest.fixture
def folder(recipe: Recipe) -> Path:
    return recipe("def run(context, params): ...")


def left(fake: FakeEngine, leases: Leases) -> tuple[int, int]:
    """Count containers and uids that are still there."""
    return len(fake.containers), len(leases.held())


def outcome_of(result: Result) -> tuple[Outcome, str]:
    return result.outcome, result.cause


def test_a_runner_that_does_all_right_is_believed(
    fake: FakeEngine, leases: Leases, on_fake: Controller, folder: Path
) -> None:
    """The other tests of this file prove nothing unless this one holds."""
    fake.script = answering({"total": 3})

    result = on_fake.run(folder, policy=POLICY)

    assert outcome_of(result) == (Outcome.SUCCEEDED, "")
    assert [entry.value for entry in on_fake.stores.contexts.history("total")] == [3]
    assert left(fake, leases) == (0, 0)


@pytest.mark.parametrize("method", ["create", "attach", "start"])
@pytest.mark.parametrize("after", [False, True])
def test_a_cell_whose_making_fails_leaves_nothing(
    fake: FakeEngine, leases: Leases, on_fake: Controller, folder: Path, method: str, *, after: bool
) -> None:
    """A lost reply is not a refusal: there may be a container, and its name is enough to remove it."""
    fake.script = answering({"total": 3})
    fake.fail(method, after=after)

    result = on_fake.run(folder, policy=POLICY)

    assert outcome_of(result) == (LOST, "engine")
    assert left(fake, leases) == (0, 0)
    assert on_fake.stores.contexts.history("total") == ()


def test_what_the_engine_refuses_is_our_failure_and_leaves_nothing(
    fake: FakeEngine, leases: Leases, on_fake: Controller, folder: Path
) -> None:
    """An engine that answers and says no is asked again in vain: that is an error, with its own words."""
    fake.fail("start", EngineError("no space left on device"))

    with pytest.raises(EngineError, match="no space left on device"):
        on_fake.run(folder, policy=POLICY)

    assert left(fake, leases) == (0, 0)


def test_the_first_of_two_failures_is_told(fake: FakeEngine, leases: Leases, on_fake: Controller, folder: Path) -> None:
    """That the clean-up failed too must not hide why there was one; the uid stays taken for `clean` to find."""
    fake.fail("start", EngineError("the first"))
    fake.fail("remove", EngineError("the second"))

    with pytest.raises(EngineError, match="the first"):
        on_fake.run(folder, policy=POLICY)

    assert left(fake, leases) == (1, 1)


def test_a_container_that_cannot_be_removed_keeps_its_uid_and_merges_nothing(
    fake: FakeEngine, leases: Leases, on_fake: Controller, folder: Path
) -> None:
    """While it may live, nobody else may have its uid, and what it proved may not be all that it does."""
    fake.script = answering({"total": 3})
    fake.fail("remove", EngineError("device or resource busy"))

    result = on_fake.run(folder, policy=POLICY)

    assert outcome_of(result) == (LOST, "engine")
    assert left(fake, leases) == (1, 1)
    assert on_fake.stores.contexts.history("total") == ()
    assert [error.message for error in result.errors] == ["device or resource busy"]


def test_a_cell_that_could_not_be_taken_back_is_by_the_next_claim(
    fake: FakeEngine, leases: Leases, on_fake: Controller, folder: Path
) -> None:
    """An engine that was restarted may bring the container back, running, and nobody else ends it."""
    fake.script = answering({"total": 3})
    fake.fail("remove", EngineError("device or resource busy"))
    on_fake.run(folder, policy=POLICY)
    assert left(fake, leases) == (1, 1)

    on_fake.run(folder, policy=POLICY)

    assert left(fake, leases) == (0, 0)


def test_a_cell_that_could_not_be_taken_back_is_at_the_controllers_end(
    fake: FakeEngine, leases: Leases, on_fake: Controller, folder: Path
) -> None:
    """Where no claim follows."""
    fake.script = answering({"total": 3})
    fake.fail("remove", EngineError("device or resource busy"))
    on_fake.run(folder, policy=POLICY)

    on_fake.close()

    assert left(fake, leases) == (0, 0)


def test_an_engine_that_vanishes_while_a_step_runs_loses_the_attempt(
    fake: FakeEngine, leases: Leases, on_fake: Controller, folder: Path
) -> None:
    """No end was seen, so none is made up; the uid stays taken, for the container may still run."""

    def script(inside: Inside) -> int:
        inside.hello()
        inside.hear_plan()
        inside.step(0, {"total": 3})
        fake.vanish()
        return 0

    fake.script = script

    result = on_fake.run(folder, policy=POLICY)

    assert outcome_of(result) == (LOST, "engine")
    assert len(leases.held()) == 1
    assert on_fake.stores.contexts.history("total") == ()


def test_a_complete_answer_of_a_lost_container_is_not_believed(
    fake: FakeEngine, on_fake: Controller, folder: Path
) -> None:
    """Without the engine's word on its end, a proof from inside is not enough."""

    def script(inside: Inside) -> int:
        answering({"total": 3})(inside)
        fake.forget()
        return 0

    fake.script = script

    result = on_fake.run(folder, policy=POLICY)

    assert outcome_of(result) == (LOST, "engine")
    assert on_fake.stores.contexts.history("total") == ()


def test_a_lost_attempt_is_tried_again_if_the_policy_says_so(
    fake: FakeEngine, leases: Leases, on_fake: Controller, folder: Path
) -> None:
    """Each attempt has a cell of its own, and only the last one's changes are merged."""
    fake.script = answering({"total": 3})
    fake.fail("start")
    policy = Policy(name="test", retry={LOST: RetryRule(attempts=2)})

    result = on_fake.run(folder, policy=policy)

    assert [attempt.outcome for attempt in result.attempts] == [LOST, Outcome.SUCCEEDED]
    assert len(on_fake.stores.contexts.history("total")) == 1
    assert left(fake, leases) == (0, 0)


def end_and_wait(inside: Inside) -> None:
    inside.end()
    inside.hear_bye()


Said = tuple["Callable[[Inside], None]", tuple[Outcome, str]]
SAID: dict[str, Said] = {
    "an end without its steps": (end_and_wait, (Outcome.BAD_ANSWER, "channel")),
    "an unknown frame": (lambda inside: inside.say(99, b""), (Outcome.BAD_ANSWER, "channel")),
    "last words": (lambda inside: inside.write(b"hello", 2), (Outcome.NO_ANSWER, "exit_code:0")),
    "nothing": (lambda _: None, (Outcome.NO_ANSWER, "exit_code:0")),
}


@pytest.mark.parametrize("what", SAID)
def test_exit_0_without_a_proven_answer_is_no_success(
    fake: FakeEngine, on_fake: Controller, folder: Path, what: str
) -> None:
    """The engine answers 0 for containers that it lost sight of, too."""
    say, expected = SAID[what]

    def script(inside: Inside) -> int:
        inside.hello()
        inside.hear_plan()
        say(inside)
        return 0

    fake.script = script

    assert outcome_of(on_fake.run(folder, policy=POLICY)) == expected


def test_an_answer_with_another_nonce_is_refused(fake: FakeEngine, on_fake: Controller, folder: Path) -> None:
    """Whoever does not know the nonce did not hear our plan."""

    def script(inside: Inside) -> int:
        inside.hello()
        inside.hear_plan()
        inside.step(0, {"total": 3})
        inside.nonce = bytes(32)
        inside.end()
        inside.stay()
        return 0

    fake.script = script

    result = on_fake.run(folder, policy=POLICY)

    assert outcome_of(result) == (Outcome.BAD_ANSWER, "channel")
    assert on_fake.stores.contexts.history("total") == ()


def test_results_of_all_steps_together_stay_within_the_limit(
    fake: FakeEngine, on_fake: Controller, recipe: Recipe
) -> None:
    """Each of many steps may fill the limit alone; what the host holds must not be their product."""

    def script(inside: Inside) -> int:
        inside.hello()
        for index, _ in enumerate(inside.hear_plan()["steps"]):
            inside.step(index, {f"key{index}": ["x" * 60_000] * 10})
        inside.stay()
        return 0

    fake.script = script

    result = on_fake.run(recipe("def run(context, params): ...", steps=4), policy=POLICY)

    assert outcome_of(result) == (Outcome.OUTPUT_LIMIT, "limits.result")


class Interrupt:
    """Presses Ctrl-C when the first step starts, as the terminal would: in the middle of our own loop."""

    def __init__(self) -> None:
        self.pressed = False

    def on_event(self, event: Event) -> None:
        """Take one event."""
        if type(event).__name__ == "StepStarted" and not self.pressed:
            self.pressed = True
            raise KeyboardInterrupt


def test_an_interrupted_run_leaves_nothing_and_says_so(
    fake: FakeEngine, leases: Leases, on_fake: Controller, folder: Path
) -> None:
    """A person who pressed Ctrl-C gets their machine back."""

    def script(inside: Inside) -> int:
        inside.hello()
        inside.hear_plan()
        inside.say(2, {"step": 0, "try": 1})
        inside.stay()
        return 0

    fake.script = script

    with pytest.raises(InterruptedRunError):
        on_fake.run(folder, policy=POLICY, watcher=Interrupt())

    assert left(fake, leases) == (0, 0)


def test_an_engine_that_is_not_there_is_told_before_anything_is_made(
    fake: FakeEngine, leases: Leases, on_fake: Controller, folder: Path
) -> None:
    """Nothing ran, so there is no result, but an error that names the engine."""
    fake.script = idle
    fake.vanish()

    with pytest.raises(EngineUnreachableError):
        on_fake.run(folder, policy=POLICY)

    assert left(fake, leases) == (0, 0)
