"""Rows 143 to 160: answers that are none, that come twice, too late or out of turn, and what is recorded of them."""

from __future__ import annotations

import threading
from datetime import timedelta
from itertools import cycle
from typing import TYPE_CHECKING

import pytest

from isolation import wiring
from isolation.clock import SystemClock
from isolation.errors import RunEndedError
from isolation.model.outcome import Outcome
from isolation.settings import Settings
from isolation.wiring import clean_up, open_controller
from tests.hostile.kit import on_runc
from tests.hostile.traces import Witness, check_gone

if TYPE_CHECKING:
    from datetime import datetime

    from isolation.model.event import Event
    from tests.hostile.conftest import Attack
    from tests.hostile.kit import Arena

pytestmark = pytest.mark.engine

WRITES = """
    import os
    def run(context, params):
        print("under way", flush=True)
        context.set(params["key"], os.urandom(8).hex())
    """


def merges(arena: Arena, key: str) -> list[str | None]:
    """Name the runs that wrote a key."""
    return [entry.run_id for entry in arena.controller.stores.contexts.history(key)]


def test_row_143_a_step_that_leaves_without_an_answer_did_not_succeed(attack: Attack) -> None:
    """Exit code 0 proves nothing."""
    result = attack("import os\ndef run(context, params):\n    context.set('left', 1)\n    os._exit(0)")

    assert (result.outcome, result.cause) == (Outcome.NO_ANSWER, "step:s0:no_answer")
    assert result.merge.status == "none"


SAYS = {
    "nothing": "return",
    "that its step succeeded, and leaves": "channel.settle(set={'forged': 1})\nreturn",
    "the end, without the nonce": """
channel.settle(set={'forged': 1})
channel._nonce[:] = bytes(32)
channel.end()
channel.wait_for_bye()""",
    "the end, having said more than it counted": """
channel.settle(set={'forged': 1})
channel._tally = channel.contract.Tally()
channel.end()
channel.wait_for_bye()""",
}


@pytest.mark.parametrize("says", SAYS)
def test_row_143_a_runner_that_proves_nothing_is_not_believed(treason: Attack, arena: Arena, says: str) -> None:
    """Success is an end with the nonce, the length and the hash of all that went before."""
    body = SAYS[says].strip().replace("\n", "\n    ")
    result = treason(f"def run(channel, plan):\n    {body}")

    assert result.outcome in {Outcome.NO_ANSWER, Outcome.BAD_ANSWER}
    assert merges(arena, "forged") == []


@on_runc
@pytest.mark.slow
def test_row_146_a_runner_that_stays_after_its_end_is_killed(
    treason: Attack, arena: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting for the engine's word on the end has a limit of its own; what did not end properly is not merged."""
    monkeypatch.setattr("isolation.sandbox.listener._END_TIMEOUT_S", 2.0)
    result = treason(
        """
        import time
        def run(channel, plan):
            channel.settle(set={"stayed": 1})
            channel.end()
            time.sleep(600)
        """
    )

    assert result.outcome is Outcome.NO_ANSWER
    assert merges(arena, "stayed") == []


@on_runc
def test_row_155_another_controllers_cleaning_leaves_a_living_run_alone(attack: Attack, arena: Arena) -> None:
    """Two may use one state folder: what belongs to a living process is nobody else's to take away."""
    taken = []
    result = attack(
        WRITES,
        args={"key": f"cleaned.{arena.runtime}"},
        during=lambda: taken.append(clean_up(Settings(state=arena.state), dry_run=False)),
    )

    assert result.outcome is Outcome.SUCCEEDED
    assert result.run_id not in taken[0].runs
    assert merges(arena, f"cleaned.{arena.runtime}") == [result.run_id]


@on_runc
def test_row_155_a_run_that_another_controller_ended_merges_nothing(attack: Attack, arena: Arena) -> None:
    """The record decides, in the transaction of the merge: who comes second has come too late."""

    def end_it() -> None:
        with open_controller(Settings(state=arena.state)) as other:
            other.stores.ledger.abandon(arena.last.run_id, "2025-01-02T03:04:05.678Z", "another")

    with pytest.raises(RunEndedError):
        attack(WRITES, args={"key": "fenced"}, during=end_it)

    assert merges(arena, "fenced") == []
    assert arena.controller.stores.ledger.summary(arena.last.run_id).state == "abandoned"
    check_gone(arena.last, arena.client)


TWICE = {
    "a step's end twice": "channel.settle(set={'twice': 1})\nchannel.settle(set={'twice': 2})",
    "an end before its start": """
ended = {"step": 0, "outcome": "succeeded", "tries": 1, "cause": "", "set": {"twice": 1}}
channel.send_json(contract.STEP_ENDED, ended)""",
    "a second try after the end": """
channel.settle(set={'twice': 1})
channel.send_json(contract.STEP_STARTED, {"step": 0, "try": 2})""",
    "a step that there is not": """
channel.settle(set={'twice': 1})
channel.send_json(contract.STEP_STARTED, {"step": 1, "try": 1})""",
    "the greeting again": "channel.send_json(contract.HELLO, {'contract': contract.CONTRACT_VERSION, 'python': '3'})",
}


@pytest.mark.parametrize("case", TWICE)
def test_row_158_what_comes_twice_or_out_of_turn_is_refused(treason: Attack, arena: Arena, case: str) -> None:
    """Nothing of it is merged, not even what came first."""
    body = TWICE[case].strip().replace("\n", "\n    ")
    end = "channel.end()\n    channel.wait_for_bye()"
    result = treason(f"def run(channel, plan):\n    contract = channel.contract\n    {body}\n    {end}")

    assert (result.outcome, result.cause) == (Outcome.BAD_ANSWER, "channel")
    assert merges(arena, "twice") == []


def test_row_158_what_comes_after_the_end_changes_nothing(treason: Attack, arena: Arena) -> None:
    """Seen in time it spoils the answer, else it is not heard: what was proven is merged, or nothing is."""
    key = f"after.{arena.runtime}"
    result = treason(
        """
        def run(channel, plan):
            key = plan["steps"][0]["args"]["key"]
            channel.settle(set={key: 1})
            channel.end()
            try:
                channel.settle(set={key: 2})
                for _ in range(10):
                    channel.end()
            except OSError:
                pass
            channel.wait_for_bye()
        """,
        args={"key": key},
    )

    expected = {Outcome.SUCCEEDED: [1], Outcome.BAD_ANSWER: []}
    assert [entry.value for entry in arena.controller.stores.contexts.history(key)] == expected[result.outcome]


class CancelsAt(Witness):
    """Cancels a run at one of its events, by number; ``seen`` says how many there were."""

    def __init__(self, arena: Arena, number: int, cancel: threading.Event) -> None:
        super().__init__(arena.client)
        self.seen = 0
        self._number = number
        self._cancel = cancel

    def on_event(self, event: Event) -> None:
        """Take one event."""
        super().on_event(event)
        if self.seen == self._number:
            self._cancel.set()
        self.seen += 1


@on_runc
def test_row_159_a_cancel_at_any_moment_leads_to_one_end(arena: Arena) -> None:
    """At every event that a run tells of: cancelled and nothing merged, or done and merged once."""
    key = f"cancelled.{arena.runtime}"
    folder = arena.recipe(WRITES, args={"key": key})
    ends: list[Outcome] = []
    while True:
        cancel = threading.Event()
        witness = CancelsAt(arena, len(ends), cancel)
        result = arena.controller.run(folder, policy=arena.policy(), watcher=witness, cancel=cancel)
        arena.check(result, witness)
        assert merges(arena, key).count(result.run_id) == (result.outcome is Outcome.SUCCEEDED)
        if not cancel.is_set():  # it had fewer events than that
            break
        ends.append(result.outcome)

    assert {*ends} == {Outcome.CANCELLED, Outcome.SUCCEEDED}
    assert len(ends) > 8


class JumpingClock:
    """The time of day jumps at every look; the monotonic clock is the true one."""

    def __init__(self) -> None:
        self._true = SystemClock()
        self._jumps = cycle(timedelta(hours=hours) for hours in (0, 1, -1, 24, -24, 24 * 365))

    def now(self) -> datetime:
        """Return a time of day."""
        return self._true.now() + next(self._jumps)

    def monotonic_s(self) -> float:
        """Return the time that passes."""
        return self._true.monotonic_s()


SLEEPS = "import time\ndef run(context, params):\n    time.sleep({})"


@on_runc
@pytest.mark.parametrize(("seconds", "outcome"), [(0, Outcome.SUCCEEDED), (600, Outcome.TIMED_OUT)])
def test_row_160_the_time_of_day_decides_nothing(
    arena: Arena, monkeypatch: pytest.MonkeyPatch, seconds: int, outcome: Outcome
) -> None:
    """No run is killed early, and none goes on for ever, when a host's clock is set."""
    monkeypatch.setattr(wiring, "SystemClock", JumpingClock)
    with open_controller(Settings(state=arena.state, image=arena.image)) as jumping:
        result = arena.attack(SLEEPS.format(seconds), limits={"wall": 3}, by=jumping)

    assert result.outcome is outcome
    assert result.usage.wall_s is not None
    assert result.usage.wall_s < 15
