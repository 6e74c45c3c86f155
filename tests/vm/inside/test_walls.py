"""The part of the catalogue of attacks that is different on cgroup v2; each test's number is its row's."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isolation.model.event import StepEnded, StepStarted
from isolation.model.outcome import Outcome
from isolation.model.policy import Limits, Policy
from isolation.sandbox.groups.make import cpus_for_runs

if TYPE_CHECKING:
    from isolation.controller import Controller
    from isolation.model.event import Event
    from isolation.model.usage import Usage
    from tests.sandbox.conftest import Recipe, Run

SLICE = Path("/sys/fs/cgroup/isolation.slice")
AFTER = "cgroup v2, after the end"
MIB = 2**20


def limits(group: Path) -> dict[str, str]:
    """Read, on the host, what a group may use."""
    names = ("memory.max", "memory.swap.max", "pids.max", "cpu.max")
    return {name: (group / name).read_text(encoding="ascii").strip() for name in names}


@dataclass
class Witness:
    """Reads the limits in force when the step starts, and when it has ended, while its cell still stands."""

    cell: list[dict[str, str]] = field(default_factory=list)
    together: list[dict[str, str]] = field(default_factory=list)

    def on_event(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, StepStarted | StepEnded):
            (scope,) = SLICE.glob("isolation-*.slice/docker-*.scope")
            self.cell.append(limits(scope))
            weight = (SLICE / "cpu.weight").read_text(encoding="ascii").strip()
            self.together.append(limits(SLICE) | {"cpu.weight": weight})


RAISE = """
import errno, os, time

def attempt(path, value):
    try:
        with open(path, "w") as file:
            file.write(value)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "written"

def run(context, params):
    root = "/sys/fs/cgroup"
    values = {
        "memory.max": "max", "memory.high": "max", "memory.swap.max": "max", "memory.oom.group": "0", "pids.max": "max",
        "cpu.max": "max", "cpu.weight": "10000", "cgroup.procs": "0", "cgroup.threads": "0", "cgroup.freeze": "1",
        "cgroup.kill": "1", "cgroup.subtree_control": "+memory", "cgroup.type": "threaded",
    }
    made = attempt_folder(root + "/mine")
    mounts = [line.split() for line in open("/proc/self/mounts")]
    mounts = [(where, kind, options.split(",")) for _, where, kind, options, *_ in mounts]
    return {
        "answers": {name: attempt(f"{root}/{name}", value) for name, value in values.items()},
        "made": made,
        "mounts": [[where, kind, "ro" in options] for where, kind, options in mounts if "cgroup" in kind],
        "own": open("/proc/self/cgroup").read(),
    }

def attempt_folder(path):
    try:
        os.mkdir(path)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "made"
"""


SMALL = Policy(name="small", limits=Limits.model_validate({"memory": "64MiB", "pids": 32, "cpus": 0.5}))


def test_07_a_recipe_cannot_raise_its_own_limits(controller: Controller, recipe: Recipe) -> None:
    """Its view of its group is read-only, and the host's values are the policy's, before and after."""
    witness = Witness()

    result = controller.run(recipe(RAISE), policy=SMALL, watcher=witness)

    assert result.outcome is Outcome.SUCCEEDED, result.errors
    found: Any = result.attempts[-1].steps[0].outputs
    assert set(found["answers"].values()) <= {"EROFS", "EACCES"}
    assert found["made"] in {"EROFS", "EACCES"}
    assert found["mounts"] == [["/sys/fs/cgroup", "cgroup2", True]]
    assert found["own"] == "0::/\n", "the group's name on the host is none of its business"

    before, after = witness.cell
    assert before == after
    assert before == {
        "memory.max": str(64 * MIB), "memory.swap.max": "0", "pids.max": "32", "cpu.max": "50000 100000"
    }  # fmt: skip


def test_53_all_runs_have_one_roof(controller: Controller, recipe: Recipe) -> None:
    """Whatever they may use one by one: a part of the host stays its own."""
    witness = Witness()

    controller.run(recipe("def run(context, params):\n    pass\n"), policy=SMALL, watcher=witness)

    roof = witness.together[0]
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert memory_bytes // 2 < int(roof["memory.max"]) < memory_bytes
    assert roof["memory.swap.max"] == "0"
    assert int(roof["pids.max"]) < int(Path("/proc/sys/kernel/pid_max").read_text(encoding="ascii"))
    quota_us, period_us = map(int, roof["cpu.max"].split())
    assert quota_us / period_us == cpus_for_runs(os.cpu_count() or 0)
    assert roof["cpu.weight"] == "12"


MOUNT = """
import ctypes, errno, os

libc = ctypes.CDLL(None, use_errno=True)

def call(function, *arguments):
    done = function(*arguments)
    return "done" if done == 0 else errno.errorcode[ctypes.get_errno()]

def run(context, params):
    folder = "/scratch/group"
    os.mkdir(folder)
    kinds = [b"cgroup", b"cgroup2"]
    found = [os.path.join(at, name) for at, _, names in os.walk("/sys") for name in names if name == "release_agent"]
    return {
        "mounts": [call(libc.mount, b"none", folder.encode(), kind, 0, b"memory" if kind == b"cgroup" else None)
                   for kind in kinds],
        "unshare": [call(libc.unshare, flag) for flag in (0x10000000, 0x02000000, 0x10000000 | 0x02000000)],
        "release_agents": found,
    }
"""


def test_06_there_is_no_release_agent_to_write_and_no_group_to_mount(run: Run) -> None:
    """The way out of CVE-2022-0492; version 2 has no such file, and a cell may mount neither version."""
    result = run(MOUNT, wall=60)

    assert result.outcome is Outcome.SUCCEEDED, result.errors
    assert result.attempts[-1].steps[0].outputs == {
        "mounts": ["EPERM", "EPERM"],
        "unshare": ["EPERM", "EPERM", "EPERM"],
        "release_agents": [],
    }


def counted(usage: Usage, name: str) -> int:
    assert usage.source.get(name) == AFTER
    value = getattr(usage, name)
    assert value is not None
    return int(value)


def test_32_a_fork_bomb_ends_at_its_limit_and_the_host_still_forks(run: Run) -> None:
    """``pids.events`` lies in the group of the container, which is read while that lives."""
    source = """
        import os

        def run(context, params):
            first, refused = os.getpid(), 0
            while refused < 50:
                try:
                    os.fork()
                except BlockingIOError:
                    refused += 1
            if os.getpid() != first:
                os._exit(0)
    """
    result = run(source, wall=60, pids=32)

    assert result.outcome is Outcome.TOO_MANY_PROCESSES
    assert counted(result.usage, "forks_refused") >= 1
    assert counted(result.usage, "pids_peak") == 32
    subprocess.run(["/bin/true"], check=True)


def test_37_a_memory_bomb_is_killed_in_its_cell_alone(run: Run) -> None:
    """A gigabyte, which the host would have; one that dies may take a few pages more than its limit."""
    result = run("def run(context, params):\n    b'x' * 2**30\n", wall=60, memory=96 * MIB)

    assert result.outcome is Outcome.OUT_OF_MEMORY
    assert counted(result.usage, "oom_kills") >= 1
    assert counted(result.usage, "memory_peak_bytes") <= 97 * MIB


def test_37_a_kill_in_a_grandchild_is_seen_though_the_recipe_says_that_all_is_well(run: Run) -> None:
    """``memory.events`` is hierarchical and outlives the container; exit 0 and the engine's word are no proof."""
    source = """
        import os

        def run(context, params):
            if os.fork() == 0:
                if os.fork() == 0:
                    os.setsid()
                    bytearray(b"x") * 2**30
                os._exit(os.waitstatus_to_exitcode(os.wait()[1]) & 0x7F)
            os.wait()
    """
    result = run(source, wall=60, memory=96 * MIB)

    assert result.outcome is Outcome.OUT_OF_MEMORY
    assert counted(result.usage, "oom_kills") >= 1


def test_51_page_tables_count_as_the_runs_own_memory(run: Run) -> None:
    """A byte touched in every two mebibytes of 256 GiB costs the kernel a page table each."""
    source = """
        import mmap

        def run(context, params):
            size = 2**38
            space = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000)  # MAP_NORESERVE
            for at in range(0, size, 2**21):
                space[at]
    """
    result = run(source, wall=60, memory=96 * MIB)

    assert result.outcome is Outcome.OUT_OF_MEMORY
    assert counted(result.usage, "oom_kills") >= 1
    kernel = result.usage.memory_kernel_bytes
    assert kernel is not None
    assert kernel > 48 * MIB
