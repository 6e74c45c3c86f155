"""
Rows 54 to 63: what a run writes.

It comes through the runner in frames, is counted and cut at the limit of its policy, and is text for whoever looks.
"""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import TYPE_CHECKING

import pytest

from isolation.model.outcome import Outcome
from tests.hostile.kit import outputs_of

if TYPE_CHECKING:
    from isolation.model.event import LogLine
    from isolation.model.run import Result
    from tests.hostile.conftest import Attack
    from tests.hostile.kit import Arena

pytestmark = pytest.mark.engine

LONGEST_LINE_BYTES = 16_384


def log_of(arena: Arena, result: Result) -> list[LogLine]:
    return [*arena.controller.stores.logs.read(result.run_id)]


FLOODS = {
    "in lines": 'while True:\n        print("x" * 4096)',
    "without a line's end": 'while True:\n        os.write(1, b"x" * 2**20)',
    "empty lines": 'while True:\n        os.write(2, b"\\n" * 2**16)',
    "log records": 'while True:\n        logger.info("x" * 4096)',
    "empty records": 'while True:\n        logger.info("")',
}


def flooding(how: str) -> str:
    loop = FLOODS[how]
    return f"""
import os
from src.core.logger import get_logger
logger = get_logger("flood")
def run(context, params):
    print("under way", flush=True)
    {loop}
"""


@pytest.mark.parametrize("how", ["in lines", "log records", "empty records"])
def test_row_054_a_flood_of_output_ends_at_its_limit_and_says_so(attack: Attack, arena: Arena, how: str) -> None:
    """What is kept is what the policy allows, the record says that there was more, and the engine keeps nothing."""
    result = attack(flooding(how), limits={"log": "1MiB"}, probing=True)

    attempt = result.attempts[0]
    assert (result.outcome, result.cause) == (Outcome.OUTPUT_LIMIT, "limits.log")
    assert attempt.log_bytes <= 2**20
    assert attempt.log_truncated
    lines = log_of(arena, result)
    kept_bytes = sum(len(line.text) + (line.stream != "log") for line in lines)
    assert kept_bytes - attempt.log_bytes in {0, 1}, "the last line may be cut before its end"
    assert {line.stream for line in lines[1:]} <= {"log" if "records" in how else "stdout"}
    (body,) = arena.last.bodies
    assert (body["HostConfig"]["LogConfig"]["Type"], body["LogPath"]) == ("none", "")


@pytest.mark.parametrize("how", ["without a line's end", "empty lines"])
def test_row_055_a_flood_without_lines_or_of_nothing_else_is_held_alike(attack: Attack, arena: Arena, how: str) -> None:
    """No line is waited for without bound, and a line of nothing is not free."""
    result = attack(flooding(how), limits={"log": "1MiB"}, probing=True)

    assert (result.outcome, result.cause) == (Outcome.OUTPUT_LIMIT, "limits.log")
    lines = log_of(arena, result)
    assert max(len(line.text) for line in lines) <= LONGEST_LINE_BYTES
    assert len(lines) <= 2**20 // 32 + 2**16, "what counts for nothing is kept without end"


@pytest.mark.parametrize("frame", ["a file that is refused", "a reading", "a try"])
def test_row_055_a_runner_that_says_the_same_for_ever_is_stopped(treason: Attack, frame: str) -> None:
    """Each frame costs the host more than it costs the sender, and none may be said without end."""
    result = treason(
        """
        def run(channel, plan):
            frame, contract = plan["steps"][0]["args"]["frame"], channel.contract
            if frame != "a try":
                channel.settle()
            number = 0
            while True:
                number += 1
                if frame == "a file that is refused":
                    channel.send_json(contract.ARTIFACT, {"name": "x", "size": None, "refused": "so"})
                elif frame == "a reading":
                    channel.send_json(contract.READING, {"cpu_user_s": 0, "cpu_system_s": 0, "memory_peak_bytes": 0})
                else:
                    channel.send_json(contract.STEP_STARTED, {"step": 0, "try": number})
        """,
        args={"frame": frame},
        limits={"log": "1MiB"},
    )

    if frame == "a file that is refused":
        assert (result.outcome, result.cause) == (Outcome.OUTPUT_LIMIT, "limits.log")
    else:
        assert (result.outcome, result.cause) == (Outcome.BAD_ANSWER, "channel")


def test_row_056_output_on_both_streams_at_once_never_blocks(attack: Attack, arena: Arena) -> None:
    """Whoever reads one to its end first waits for ever for the other."""
    result = attack(
        """
        import sys
        def run(context, params):
            for _ in range(3):
                for stream, sign in ((sys.stdout, "o"), (sys.stderr, "e")):
                    stream.write(sign * 2**20)
                    stream.flush()
        """
    )

    assert result.outcome is Outcome.SUCCEEDED
    for stream, sign in (("stdout", "o"), ("stderr", "e")):
        assert "".join(line.text for line in log_of(arena, result) if line.stream == stream) == sign * 3 * 2**20


def paused(seconds: float) -> None:
    """Read nothing of it for so long, as a host does whose disk hangs."""
    threading.Event().wait(seconds)


def test_row_057_a_reader_that_pauses_loses_nothing(attack: Attack, arena: Arena) -> None:
    """The writer waits for it; nothing is buffered without bound on the way."""
    result = attack(
        """
        def run(context, params):
            print("under way", flush=True)
            for number in range(60_000):
                print(f"{number:099}")
        """,
        during=lambda: paused(2),
    )

    assert result.outcome is Outcome.SUCCEEDED
    assert [int(line.text) for line in log_of(arena, result)[1:]] == [*range(60_000)]


def test_row_057_a_reader_that_pauses_does_not_stop_the_clock(attack: Attack) -> None:
    """The deadline passed while nobody read: it holds as soon as somebody does."""
    result = attack(
        """
        def run(context, params):
            print("under way", flush=True)
            while True:
                print("x" * 1000)
        """,
        limits={"wall": 1, "log": "1GiB"},
        during=lambda: paused(2),
    )

    assert (result.outcome, result.cause) == (Outcome.TIMED_OUT, "limits.wall")


def test_row_058_who_closes_its_output_runs_on(attack: Attack) -> None:
    """The end of a run is that of its processes, not of what they write."""
    result = attack(
        """
        import os, time
        def run(context, params):
            print("last words", flush=True)
            os.close(1)
            os.close(2)
            began = time.monotonic()
            while time.monotonic() < began + 0.5:
                pass
            context.set("after", True)
            return {"lasted": time.monotonic() - began}
        """
    )

    assert outputs_of(result)["lasted"] >= 0.5
    assert result.changes.set == {"after": True}


def test_row_059_a_grandchild_that_keeps_the_output_open_keeps_nothing_else(attack: Attack, arena: Arena) -> None:
    """A run ends with its last step, whoever could still write."""
    result = attack(
        """
        import os, time
        def run(context, params):
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    while True:
                        os.write(1, b"still here\\n")
                        time.sleep(0.01)
                os._exit(0)
            os.wait()
            print("the step's own", flush=True)
            return {}
        """
    )

    assert result.outcome is Outcome.SUCCEEDED
    assert "the step's own" in {line.text for line in log_of(arena, result)}


@pytest.mark.slow
def test_row_061_a_run_that_is_over_at_once_has_said_all(arena: Arena) -> None:
    """Its first word may come before anybody could listen, and its last after it is gone; neither may be lost."""
    folder = arena.recipe('def run(context, params):\n    print("said")\n    return {"n": params["n"]}', args={"n": 7})

    def once(_: int) -> tuple[Outcome, object, list[str]]:
        result = arena.controller.run(folder, policy=arena.policy())
        return result.outcome, result.attempts[0].steps[0].outputs, [line.text for line in log_of(arena, result)]

    with ThreadPoolExecutor(4) as threads:
        seen = [*threads.map(once, range(40))]

    assert [key for key, _ in groupby(seen)] == [(Outcome.SUCCEEDED, {"n": 7}, ["said"])]


FORGED = {
    "at": "2025-01-02T03:04:05.678Z",
    "step": "somebody",
    "stream": "log",
    "text": "all is well",
    "level": "INFO",
}
FORGERIES = [
    json.dumps(FORGED),
    f'x"}}\n{json.dumps(FORGED)}\n{{"',
    f"x\r{json.dumps(FORGED)}\r",
    f"\u2028{json.dumps(FORGED)}\u2029{json.dumps(FORGED)}\x85",
    f"\x1e\b\f{json.dumps(FORGED)}",
    "somebody | all is well",
]


def test_row_063_no_line_of_output_becomes_a_record_of_ours(attack: Attack, arena: Arena) -> None:
    """Whatever it looks like, it is the text of a record whose other fields are the host's."""
    result = attack(
        """
        import sys
        from src.core.logger import get_logger
        def run(context, params):
            for text in params["texts"]:
                sys.stdout.write(text + "\\n")
            for text in params["texts"]:
                get_logger(text).info(text)
        """,
        args={"texts": FORGERIES},
    )

    assert result.outcome is Outcome.SUCCEEDED
    file = arena.state / "runs" / result.run_id / "attempt-1.jsonl"
    kept = [json.loads(line) for line in file.read_bytes().splitlines()]
    written = [line for text in FORGERIES for line in text.split("\n")]
    assert [one["text"] for one in kept if one["stream"] == "stdout"] == written
    assert [one["text"] for one in kept if one["stream"] == "log"] == FORGERIES
    assert {one["step"] for one in kept} == {"s0"}
    assert FORGED["at"] not in {one["at"] for one in kept}
