"""What steps start, stop and leave behind in a cell on the real engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from isolation.model.outcome import Outcome

if TYPE_CHECKING:
    from isolation.controller import Controller
    from tests.sandbox.conftest import Recipe, Run

pytestmark = pytest.mark.engine


def test_the_deadline_holds_when_a_step_stops_its_runner(run: Run) -> None:
    """It is the host's, on the monotonic clock: nothing inside is needed for it."""
    result = run(
        """
        import os, signal, time
        def run(context, params):
            os.kill(os.getppid(), signal.SIGSTOP)
            time.sleep(600)
        """,
        wall=2,
    )

    assert (result.outcome, result.cause) == (Outcome.TIMED_OUT, "limits.wall")
    assert result.usage.wall_s is not None
    assert result.usage.wall_s < 10


def test_a_daemon_does_not_outlive_its_run(run: Run) -> None:
    """B 35: new session, two forks, all signals ignored; no process of its uid is left on the host."""
    result = run(
        """
        import os, signal, time
        def run(context, params):
            read, write = os.pipe()
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    for number in (1, 2, 15):
                        signal.signal(number, signal.SIG_IGN)
                    os.write(write, b"x")
                    time.sleep(600)
                os._exit(0)
            os.read(read, 1)
            return {"uid": os.getuid()}
        """
    )

    assert result.outcome is Outcome.SUCCEEDED, result.errors
    outputs = result.attempts[0].steps[0].outputs
    assert isinstance(outputs, dict)
    found = [pid for pid in Path("/proc").iterdir() if pid.name.isdecimal() and owner(pid) == outputs["uid"]]
    assert found == []


def owner(process: Path) -> int | None:
    try:
        return process.stat().st_uid
    except FileNotFoundError:  # it ended while we looked
        return None


def test_a_forked_child_that_comes_back_has_no_answer_to_give(run: Run) -> None:
    """The classical fork, with an exit that unwinds through our own code: one step, one answer."""
    result = run(
        """
        import os, sys
        def run(context, params):
            pid = os.fork()
            if pid == 0:
                sys.exit(3)
            return {"child": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}
        """
    )

    assert result.outcome is Outcome.SUCCEEDED, result.errors
    assert result.attempts[0].steps[0].outputs == {"child": 1}


def test_every_step_gets_the_librarys_json(recipe: Recipe, controller: Controller) -> None:
    """The runner has a smaller one of its own; the first step is forked ahead, and others from what it shares."""
    source = """
        import json
        def run(context, params):
            try:
                json.loads("{")
            except json.JSONDecodeError as error:
                said = error.msg
            return {"at": json.__file__, "said": said, "indented": json.dumps([1], indent=1)}
        """
    result = controller.run(recipe(source, steps=2))

    assert result.outcome is Outcome.SUCCEEDED, result.errors
    wanted = {"at": "/usr/lib/python3.11/json/__init__.py", "indented": "[\n 1\n]"}
    said = "Expecting property name enclosed in double quotes"
    assert [step.outputs for step in result.attempts[0].steps] == [wanted | {"said": said}] * 2


def test_all_steps_of_a_plan_find_the_same_modules(recipe: Recipe, controller: Controller) -> None:
    """The first is not the one that was forked ahead then, before the runner imported what they share."""
    source = """
        import sys
        def run(context, params):
            return {"modules": sorted(sys.modules)}
        """
    result = controller.run(recipe(source, steps=2))

    assert result.outcome is Outcome.SUCCEEDED, result.errors
    first, second = (step.outputs for step in result.attempts[0].steps)
    assert first == second


def test_threads_that_log_while_the_step_answers_break_nothing(run: Run) -> None:
    """Frames of one pipe must not mix, and nothing may follow the answer."""
    result = run(
        """
        import threading
        from src.core.logger import get_logger
        def chat():
            while True:
                get_logger("chat").info("x" * 6000)
        def run(context, params):
            for _ in range(4):
                threading.Thread(target=chat, daemon=True).start()
            context.set("big", ["y" * 1000] * 500)
        """,
        log=2**30,
    )

    assert result.outcome is Outcome.SUCCEEDED, (result.cause, result.errors)


def test_a_child_that_writes_for_ever_does_not_hold_up_its_steps_end(run: Run) -> None:
    """Who writes on after its step has ended is not listened to for ever."""
    result = run(
        """
        import os
        def run(context, params):
            if os.fork() == 0:
                os.setsid()
                while True:
                    os.write(1, b"x" * 65536)
        """,
        log=2**30,
    )

    assert result.outcome is Outcome.SUCCEEDED, (result.cause, result.errors)
