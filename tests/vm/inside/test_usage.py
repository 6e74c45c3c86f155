"""What was measured there is the kernel's own count, read after the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isolation.model.outcome import Outcome

if TYPE_CHECKING:
    from isolation.model.usage import Usage
    from tests.sandbox.conftest import Run

AFTER = "cgroup v2, after the end"
SAMPLED = "cgroup v2, sampled at the highest total"
MIB = 2**20


def usage_of(run: Run, source: str, **limits: float) -> Usage:
    result = run(source, wall=60, **limits)
    assert result.outcome is Outcome.SUCCEEDED, result.errors
    return result.usage


def test_every_figure_says_that_the_kernel_counted_it(run: Run) -> None:
    """Where the host allows all, nothing is guessed, and nothing is taken from the recipe's side."""
    usage = usage_of(run, "def run(context, params):\n    print('hello')\n")

    for name in ("cpu_s", "cpu_user_s", "cpu_system_s", "throttled_s", "memory_peak_bytes", "pids_peak"):
        assert (name, usage.source.get(name)) == (name, AFTER)
        assert getattr(usage, name) is not None
    for name in ("memory_anon_bytes", "memory_file_bytes", "memory_kernel_bytes"):
        assert (name, usage.source.get(name)) == (name, SAMPLED)
        assert getattr(usage, name) is not None
    assert (usage.oom_kills, usage.forks_refused) == (0, 0)
    assert {usage.source["oom_kills"], usage.source["forks_refused"]} == {AFTER}


def test_the_peak_of_memory_is_exact(run: Run) -> None:
    """Held for a moment, between two samples as it may be."""
    source = "def run(context, params):\n    bytearray(b'x') * (200 * 2**20)\n"

    peak = usage_of(run, source).memory_peak_bytes

    assert peak is not None
    assert 200 * MIB < peak < 240 * MIB


def test_the_peak_of_processes_is_exact(run: Run) -> None:
    """Twenty that live at once, and the runner's two."""
    source = """
        import os, signal

        def run(context, params):
            children = []
            for _ in range(20):
                pid = os.fork()
                if pid == 0:
                    signal.pause()
                    os._exit(0)
                children.append(pid)
            for pid in children:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
    """
    peak = usage_of(run, source).pids_peak

    assert peak is not None
    assert 21 <= peak <= 25


def test_processor_time_counts_children_that_nobody_waited_for(run: Run) -> None:
    """The recipe's own word would leave them out."""
    source = """
        import os, time

        def run(context, params):
            if os.fork() == 0:
                until = time.process_time() + 1.0
                while time.process_time() < until:
                    pass
                open("/scratch/done", "w").close()
                os._exit(0)
            while not os.path.exists("/scratch/done"):
                time.sleep(0.05)
    """
    cpu_s = usage_of(run, source).cpu_s

    assert cpu_s is not None
    assert cpu_s >= 1.0
