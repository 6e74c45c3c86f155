"""The engine's client in a process beside: what is its own, besides the contract that all engines keep."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from isolation.errors import EngineError, EngineUnreachableError
from isolation.sandbox.docker_engine import DockerEngine
from isolation.sandbox.engine_beside import EngineBeside

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
NOWHERE = "unix:///nonexistent/docker.sock"


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_an_engine_that_does_not_answer_is_told_at_the_first_call_with_its_hint() -> None:
    """The error crosses the processes whole; making the client beside never fails."""
    with EngineBeside(NOWHERE) as engine:
        for _ in range(2):
            with pytest.raises(EngineUnreachableError, match="does not answer") as caught:
                engine.facts()
            assert caught.value.hint.startswith("Start it, or name another with --engine;")


def test_an_engine_that_does_not_answer_costs_no_descriptor() -> None:
    """However often it is asked, and while whoever asked still has the error."""
    engine = DockerEngine(NOWHERE)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - counted, with the folder's own
    for _ in range(3):
        with pytest.raises(EngineUnreachableError) as caught:
            engine.facts()
        assert len(os.listdir("/proc/self/fd")) == before, caught  # noqa: PTH208 - as above


def test_closing_ends_the_process() -> None:
    """Nobody is left behind, not even as a zombie."""
    engine = EngineBeside(NOWHERE)
    assert is_running(engine._pid)
    engine.close()
    assert not is_running(engine._pid)


def test_the_process_ends_with_the_one_that_made_it() -> None:
    """Also when that one is killed: its lanes end, and so does it."""
    program = (
        "import os, signal\n"
        "from isolation.sandbox.engine_beside import EngineBeside\n"
        f"engine = EngineBeside({NOWHERE!r})\n"
        "print(engine._pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    # Both processes hold the pipe: its end is read when both have ended, or never, and then the time runs out.
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert int(done.stdout) > 0


def test_a_process_that_was_killed_is_an_error_not_a_hang() -> None:
    """And every later call says the same."""
    engine = EngineBeside(NOWHERE)
    os.kill(engine._pid, signal.SIGKILL)
    for _ in range(6):
        with pytest.raises(EngineError, match="has ended"):
            engine.facts()
    engine.close()


def test_an_interrupt_in_the_middle_of_a_call_spoils_that_lane_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer that comes late must not be taken for the answer to another call."""
    import isolation.sandbox.engine_beside as module  # noqa: PLC0415 - to put the interrupt where it strikes

    with EngineBeside(NOWHERE) as engine:
        real = module._receive

        def interrupted(_lane: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(module, "_receive", interrupted)
        with pytest.raises(KeyboardInterrupt):
            engine.facts()
        monkeypatch.setattr(module, "_receive", real)

        with pytest.raises(EngineUnreachableError):
            engine.image_id("any")
