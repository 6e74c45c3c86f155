"""Rows 112 to 115: what a run says of itself, and when it says it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from isolation.model.outcome import Outcome
from tests.hostile.answers import ANSWER, SAY, answer, nothing_merged, saying
from tests.hostile.kit import outputs_of

if TYPE_CHECKING:
    from tests.hostile.conftest import Attack
    from tests.hostile.kit import Arena

pytestmark = pytest.mark.engine

CLAIMS = [{"run_id": "20250102-030405-0a1b2c3d"}, {"exit_code": 0}, {"status": "success"}, {"outcome": "succeeded"}]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: next(iter(claim)))
def test_row_112_a_step_that_speaks_of_itself_gives_a_bad_answer(
    attack: Attack, arena: Arena, claim: dict[str, object]
) -> None:
    """Who it is, how it ended and what it used is seen from outside: an answer has no place for that."""
    result = attack(SAY, args=saying(answer(**claim)))

    assert (result.outcome, result.cause) == (Outcome.BAD_ANSWER, "step:s0:bad_answer")
    assert nothing_merged(result, arena)


@pytest.mark.parametrize("claim", [*CLAIMS, {"step": 1}, {"outcome": "cancelled"}, {"merge": "merged"}, {"usage": {}}])
def test_row_112_a_runner_that_speaks_of_the_run_is_not_believed(
    treason: Attack, arena: Arena, claim: dict[str, object]
) -> None:
    """Fields that it may not say, a step that is not there, an outcome that only the host can know."""
    result = treason(
        """
        import json
        def run(channel, plan):
            claim = plan["steps"][0]["args"]
            channel.send_json(channel.contract.STEP_STARTED, {"step": 0, "try": 1})
            ended = {"step": 0, "outcome": "succeeded", "tries": 1, "cause": "", "set": {"said": 1}} | claim
            channel.send(channel.contract.STEP_ENDED, json.dumps(ended).encode())
            channel.end()
            channel.wait_for_bye()
        """,
        args=claim,
    )

    if claim == {"outcome": "succeeded"}:  # what it may say: the step's, not the run's
        assert result.outcome is Outcome.SUCCEEDED
        return
    assert (result.outcome, result.cause) == (Outcome.BAD_ANSWER, "channel")
    assert nothing_merged(result, arena)


def test_row_112_what_a_recipe_says_under_our_names_is_its_data(attack: Attack) -> None:
    """It may call its outputs what it likes; ours stand beside them."""
    claimed = {"run_id": "other", "outcome": "failed", "exit_code": 99, "attempts": [], "usage": None}
    result = attack(
        """
        def run(context, params):
            context.set("outcome", "failed")
            print('{"run_id": "other", "outcome": "failed"}')
            return params
        """,
        args=claimed,
    )

    assert outputs_of(result) == claimed
    assert result.run_id != "other"
    assert result.attempts[0].exit_code == 0
    assert result.usage.wall_s is not None


def test_row_112_usage_is_the_hosts_word_against_the_runners(treason: Attack, arena: Arena) -> None:
    """Who pays by what was used does not ask the debtor. gVisor's counters are the host's as well."""
    result = treason(
        """
        def run(channel, plan):
            sum(range(3_000_000))
            channel.settle()
            reading = {"cpu_user_s": 0.0, "cpu_system_s": 0.0, "memory_peak_bytes": 1, "oom_kills": 0}
            channel.send_json(channel.contract.READING, reading)
            channel.end()
            channel.wait_for_bye()
        """
    )

    assert result.outcome is Outcome.SUCCEEDED
    assert result.usage.cpu_s is not None
    assert result.usage.cpu_s > 0.01
    assert result.usage.memory_peak_bytes is not None
    assert result.usage.memory_peak_bytes > 2**20
    assert result.engine is not None
    assert result.engine.runtime == arena.runtime


def test_row_112_a_success_of_words_with_an_exit_code_of_1_is_none(treason: Attack, arena: Arena) -> None:
    """Both must say the same, and the engine's is the one that cannot be forged."""
    result = treason(
        """
        def run(channel, plan):
            channel.settle(set={"said": 1})
            channel.end()
            channel.wait_for_bye()
            return 1
        """
    )

    assert (result.outcome, result.cause) == (Outcome.NO_ANSWER, "exit_code:1")
    assert nothing_merged(result, arena)


@pytest.mark.parametrize("ending", [{"signal": 9}, {"signal": 11}, {"code": 0}, {"code": 3}], ids=str)
def test_row_114_half_an_answer_is_never_merged(attack: Attack, arena: Arena, ending: dict[str, int]) -> None:
    """However its step ends after the half: by a signal, with a code, or as if all were well."""
    content = answer()
    whole = b"\x20" + len(content).to_bytes(4, "big") + content

    result = attack(SAY, args=saying(whole[: len(whole) // 2], raw=True, **ending))

    assert (result.outcome, result.cause) == (Outcome.BAD_ANSWER, "step:s0:bad_answer")
    assert nothing_merged(result, arena)


@pytest.mark.parametrize("part", ["half a frame", "no end", "half an end"])
def test_row_114_a_runner_that_dies_in_the_middle_has_said_nothing(treason: Attack, arena: Arena, part: str) -> None:
    """What it had said before stands in the record, and nowhere else."""
    result = treason(
        """
        import os, struct
        def run(channel, plan):
            part = plan["steps"][0]["args"]["part"]
            if part != "half a frame":
                channel.settle(set={"said": 1})
            if part == "half a frame":
                channel.send_json(channel.contract.STEP_STARTED, {"step": 0, "try": 1})
                channel._write(struct.pack(">BI", channel.contract.STEP_ENDED, 1000) + b'{"step":0,')
            if part == "half an end":
                body = channel._tally.end(channel._nonce)
                channel._write(struct.pack(">BI", channel.contract.END, len(body)) + body[:-1])
            os._exit(0)
        """,
        args={"part": part},
    )

    assert (result.outcome, result.cause) == (Outcome.NO_ANSWER, "exit_code:0")
    assert nothing_merged(result, arena)


def test_row_115_a_second_answer_makes_both_bad(attack: Attack, arena: Arena) -> None:
    """One that was written when the first was done is not ours to choose from."""
    result = attack(SAY, args=saying(answer(), answer(set={"said": 2})))

    assert (result.outcome, result.cause) == (Outcome.BAD_ANSWER, "step:s0:bad_answer")
    assert nothing_merged(result, arena)


def test_row_115_what_a_child_says_after_its_step_is_not_heard_as_the_steps(attack: Attack, arena: Arena) -> None:
    """It kept the pipe, and waits until its parent is gone: then nobody listens any more, and it is killed."""
    result = attack(
        """
        import json, os, struct, time
        def run(context, params):
            context.set("said", 1)
            if os.fork() == 0:
                os.setsid()
                kept = os.dup(3)
                while os.getppid() != 1:
                    time.sleep(0.001)
                content = json.dumps(params).encode()
                while True:
                    os.write(kept, struct.pack(">BI", 32, len(content)) + content)
        """,
        args=ANSWER | {"set": {"said": 2}},
    )

    assert result.outcome in {Outcome.SUCCEEDED, Outcome.BAD_ANSWER}
    if result.outcome is Outcome.SUCCEEDED:
        assert result.changes.set == {"said": 1}
    else:
        assert nothing_merged(result, arena)


def test_row_115_what_is_said_after_the_end_is_not_merged(treason: Attack) -> None:
    """The end proves what came before it, and its hash is of the bytes that were merged."""
    result = treason(
        """
        def run(channel, plan):
            channel.settle(set={"said": 1})
            channel.end()
            ended = {"step": 0, "outcome": "succeeded", "tries": 1, "cause": "", "set": {"said": 2}}
            channel.send_json(channel.contract.STEP_ENDED, ended)
            channel.end()
            channel.wait_for_bye()
        """
    )

    assert result.changes.set == {"said": 1}
    assert result.outcome in {Outcome.SUCCEEDED, Outcome.BAD_ANSWER}, "as the end came alone, or with what follows it"
