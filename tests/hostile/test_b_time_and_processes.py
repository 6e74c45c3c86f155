"""Rows 28 to 36: time and processes. Each attack says when it is under way; then a benign recipe is run beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from isolation.model.outcome import Outcome
from tests.hostile.kit import outputs_of
from tests.hostile.on_gvisor import differs

if TYPE_CHECKING:
    from tests.hostile.conftest import Attack
    from tests.hostile.kit import Arena

pytestmark = pytest.mark.engine

STOPPED_WITHIN_S = 10
"""What a stop may cost beyond the deadline, on a machine that does other things too."""


def test_row_028_a_spin_on_many_threads_gets_its_share_and_no_more(attack: Attack) -> None:
    """The quota is the run's, however many want it; who computes beside it is let in."""
    result = attack(
        """
        import os, threading
        def spin():
            while True:
                pass
        def run(context, params):
            print("under way", flush=True)
            for _ in range(3):
                if os.fork() == 0:
                    break
            for _ in range(15):
                threading.Thread(target=spin, daemon=True).start()
            spin()
        """,
        limits={"wall": 3, "cpus": 0.5},
        probing=True,
    )

    assert (result.outcome, result.cause) == (Outcome.TIMED_OUT, "limits.wall")
    usage = result.usage
    assert usage.cpu_s is not None
    assert usage.wall_s is not None
    assert usage.cpu_s <= 0.5 * usage.wall_s + 0.5
    # On a host with no processor to spare it may never come to its limit.
    assert usage.throttled_s != 0 or usage.cpu_s < 0.45 * usage.wall_s


def test_row_029_a_step_that_sleeps_past_the_deadline_is_killed(attack: Attack) -> None:
    """By the host's monotonic clock; nothing inside is needed for it."""
    result = attack("import time\ndef run(context, params):\n    time.sleep(1e9)", limits={"wall": 1})

    assert (result.outcome, result.cause) == (Outcome.TIMED_OUT, "limits.wall")
    assert result.usage.wall_s is not None
    assert 1 <= result.usage.wall_s < 1 + STOPPED_WITHIN_S


@pytest.mark.parametrize("limit", ["wall", "step_wall"])
def test_row_030_a_step_that_ignores_every_signal_is_killed_as_well(attack: Attack, limit: str) -> None:
    """There is one signal that nobody can ignore, and we send no other."""
    result = attack(
        """
        import signal, time
        def run(context, params):
            for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
                signal.signal(number, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            time.sleep(1e9)
        """,
        limits={limit: 1},
    )

    assert result.outcome is Outcome.TIMED_OUT
    assert result.usage.wall_s is not None
    assert 1 <= result.usage.wall_s < 1 + STOPPED_WITHIN_S


def test_row_031_no_signal_of_a_step_reaches_the_first_process(attack: Attack, arena: Arena) -> None:
    """The kernel keeps from it whatever it has no handler for; were it stopped or ended, the answer would be too."""
    result = attack(
        """
        import os, time
        def run(context, params):
            sent = []
            for number in range(1, 65):
                try:
                    os.kill(1, number)
                    sent.append(number)
                except OSError:
                    pass
            time.sleep(0.2)
            return {"sent": sent}
        """
    )

    if differs(arena, 31):
        assert result.outcome is Outcome.NO_ANSWER
    else:
        assert {2, 9, 15, 19} <= {*outputs_of(result)["sent"]}


FORKS = """
    import os
    def run(context, params):
        print("under way", flush=True)
        while True:
            os.fork()
    """
FORKS_THAT_GO_ON = """
    import os
    def run(context, params):
        print("under way", flush=True)
        while True:
            try:
                os.fork()
            except OSError:
                pass
    """


@pytest.mark.parametrize("source", [FORKS, FORKS_THAT_GO_ON], ids=["gives up", "goes on"])
def test_row_032_a_fork_bomb_ends_at_the_limit(attack: Attack, arena: Arena, source: str) -> None:
    """One that goes on for ever is stopped long before its time is up; the host can fork all the while."""
    result = attack(source, limits={"pids": 48, "wall": 10}, probing=True)

    most = 64 + 2 * 48 if differs(arena, 32) else 48
    assert (result.outcome, result.cause) == (Outcome.TOO_MANY_PROCESSES, "limits.pids")
    assert result.usage.pids_peak is None or result.usage.pids_peak <= most


def test_row_033_a_thread_bomb_ends_at_the_limit(attack: Attack, arena: Arena) -> None:
    """Threads are processes to the kernel's counter."""
    result = attack(
        """
        import threading, time
        def run(context, params):
            print("under way", flush=True)
            while True:
                threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
        """,
        limits={"pids": 48},
        probing=True,
    )

    assert result.outcome is (Outcome.FAILED if differs(arena, 33) else Outcome.TOO_MANY_PROCESSES)


def test_row_035_a_daemon_does_not_outlive_its_run(attack: Attack, arena: Arena) -> None:
    """New session, two forks, all signals ignored: no process of its uid is left, and what it writes nobody reads."""
    result = attack(
        """
        import os, signal, time
        def run(context, params):
            os.mkdir("/scratch/artifacts")
            read, write = os.pipe()
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    for number in (1, 2, 15):
                        signal.signal(number, signal.SIG_IGN)
                    os.write(write, b"x")
                    while True:
                        time.sleep(0.001)
                        with open("/scratch/artifacts/late", "a") as file:
                            file.write("x")
                os._exit(0)
            os.read(read, 1)
            return {"uid": os.getuid()}
        """
    )
    size_bytes = sum(artifact.size_bytes for artifact in result.artifacts)

    assert arena.last.uids == {outputs_of(result)["uid"]}, "and the invariants have looked for its processes"
    assert {artifact.name for artifact in result.artifacts} <= {"late"}
    assert sum(len(arena.controller.stores.blobs.get(one.digest)) for one in result.artifacts) == size_bytes


ORPHANS = """
    import os
    def run(context, params):
        print("under way", flush=True)
        def living():
            return sum(name.isdecimal() for name in os.listdir("/proc"))
        for number in range(params["orphans"]):
            while number % 8 == 0 and living() > 8:
                os.sched_yield()
            pid = os.fork()
            if pid == 0:
                if os.fork() == 0:
                    os._exit(0)
                os._exit(0)
            os.waitpid(pid, 0)
        while living() > 8:
            os.sched_yield()
        return {"left": living()}
    """
UNWAITED = """
    import os
    def run(context, params):
        print("under way", flush=True)
        for _ in range(5000):
            if os.fork() == 0:
                os._exit(0)
    """


def test_row_036_orphans_are_reaped_as_they_end(attack: Attack, arena: Arena) -> None:
    """Two thousand of them, none of which anybody here waits for, and a limit of thirty-two processes."""
    orphans, pids = (100, 64) if differs(arena, 36) else (2000, 32)
    found = outputs_of(attack(ORPHANS, args={"orphans": orphans}, limits={"pids": pids}, probing=True))

    assert found["left"] <= 8


def test_row_036_a_steps_own_zombies_are_counted_as_its_own(attack: Attack, arena: Arena) -> None:
    """Five thousand children never waited for meet the run's limit, not the host's."""
    before = int(Path("/proc/loadavg").read_text().split()[3].split("/")[1])
    result = attack(UNWAITED, limits={"pids": 48}, probing=True)
    after = int(Path("/proc/loadavg").read_text().split()[3].split("/")[1])

    # gVisor refuses the process itself, or is refused a thread for it, whichever comes first.
    expected = {Outcome.TOO_MANY_PROCESSES} | ({Outcome.FAILED} if differs(arena, 36) else set())
    assert result.outcome in expected
    assert after < before + 2000
