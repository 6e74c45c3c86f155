"""Limits read back from a group, a run that yields to others, and the cap on all runs together."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from isolation.errors import EngineError
from isolation.model.policy import Limits
from isolation.sandbox.groups import make
from isolation.sandbox.groups.group import PERIOD_US, limits_wanted
from isolation.sandbox.groups.make import CGROUP_ROOT, cap_all, cpus_for_runs, make_group
from isolation.sandbox.groups.v1 import GroupV1
from isolation.sandbox.groups.v2 import GroupV2

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIMITS = Limits.model_validate({"memory": "64MiB", "pids": 32, "cpus": 0.5})
CELL = "isolation-20250102-030405-0a1b2c3d-1"
ON_V1 = (CGROUP_ROOT / "memory").is_dir() and os.access(CGROUP_ROOT / "memory", os.W_OK)
on_v1 = pytest.mark.skipif(not ON_V1, reason="this host's groups are not v1, or not ours to make")


def lay(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def v1(tmp_path: Path) -> Path:
    lay(tmp_path / "memory" / "isolation" / CELL, {"memory.oom_control": "", "memory.memsw.limit_in_bytes": ""})
    for name in ("cpu", "cpuacct", "pids", "blkio"):
        (tmp_path / name / "isolation" / CELL).mkdir(parents=True)
    return tmp_path


@pytest.fixture
def group(v1: Path) -> Iterator[GroupV1]:
    group = GroupV1(v1, CELL, LIMITS)
    group.watch("abc")
    yield group
    group.close()


def own(root: Path, controller: str) -> Path:
    return root / controller / "isolation" / CELL / "abc"


def test_what_v1_holds_is_the_least_of_both_groups(v1: Path, group: GroupV1) -> None:
    """The container's own is wider for memory, and the engine's word for the rest."""
    lay(own(v1, "memory"), {"memory.limit_in_bytes": str(68 * 2**20), "memory.memsw.limit_in_bytes": str(68 * 2**20)})
    lay(own(v1, "pids"), {"pids.max": "16\n"})

    assert group.in_force() == limits_wanted(LIMITS) | {"limit of processes": "16"}


def test_a_v1_limit_that_is_gone_is_told_as_none(v1: Path, group: GroupV1) -> None:
    """What the kernel writes for no limit is a large number, or a word."""
    folders = {name: v1 / name / "isolation" / CELL for name in ("memory", "pids", "cpu")}
    lay(folders["memory"], {"memory.limit_in_bytes": "9223372036854771712\n"})
    lay(folders["pids"], {"pids.max": "max\n"})
    lay(folders["cpu"], {"cpu.cfs_quota_us": "-1\n"})

    found = group.in_force()

    assert {name for name, said in found.items() if said == "none"} == {
        "limit of memory",
        "limit of processes",
        "limit of processors",
    }


V2 = {"memory.max": str(64 * 2**20), "memory.swap.max": "0", "pids.max": "32", "cpu.max": "50000 100000"}


def on_v2(root: Path, files: dict[str, str]) -> GroupV2:
    lay(root / "isolation" / CELL / "docker-abc.scope", files)
    group = GroupV2(root, CELL, systemd=False)
    group.watch("abc")
    return group


def test_what_v2_holds_stands_on_the_containers_own_group(tmp_path: Path) -> None:
    """The engine sets it there."""
    assert on_v2(tmp_path, V2).in_force() == limits_wanted(LIMITS)


@pytest.mark.parametrize(
    ("name", "text", "fact"),
    [
        ("memory.max", "max", "limit of memory"),
        ("memory.swap.max", "max", "limit of memory and swap"),
        ("pids.max", "max", "limit of processes"),
        ("cpu.max", "max 100000", "limit of processors"),
    ],
)
def test_a_v2_limit_that_is_gone_is_told_as_none(tmp_path: Path, name: str, text: str, fact: str) -> None:
    """``max`` is no number."""
    assert on_v2(tmp_path, V2 | {name: text}).in_force()[fact] == "none"


def test_a_run_that_yields_weighs_a_hundredth(v1: Path, group: GroupV1, tmp_path: Path) -> None:
    """Of what the kernel gives a new group: 1024 shares, or a weight of 100."""
    newer = on_v2(tmp_path / "v2", V2)

    group.yield_to_others()
    newer.yield_to_others()

    assert (v1 / "cpu" / "isolation" / CELL / "cpu.shares").read_text() == "10"
    assert (tmp_path / "v2" / "isolation" / CELL / "cpu.weight").read_text() == "1"


def test_a_run_that_ends_goes_before_all_others(v1: Path, group: GroupV1, tmp_path: Path) -> None:
    """However much it has yielded: its processes need a processor to die."""
    newer = on_v2(tmp_path / "v2", V2)
    for one in (group, newer):
        one.yield_to_others()

        one.go_first()

    assert (v1 / "cpu" / "isolation" / CELL / "cpu.shares").read_text() == "8192"
    assert (tmp_path / "v2" / "isolation" / CELL / "cpu.weight").read_text() == "800"


def test_a_signal_from_above_is_no_kill_of_ours(v1: Path, group: GroupV1) -> None:
    """Where all runs together ran out, each is told; one that never met its own limit was not the one."""
    assert group._ooms is not None
    memory = v1 / "memory" / "isolation" / CELL

    os.eventfd_write(group._ooms, 1)
    assert group.read().oom_kills == 0

    lay(memory, {"memory.max_usage_in_bytes": f"{LIMITS.memory_bytes}\n"})
    os.eventfd_write(group._ooms, 1)
    assert group.read().oom_kills == 1


def test_all_runs_together_are_capped_once_and_never_wider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an operator set lower stays."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    lay(
        tmp_path,
        {
            "pids/isolation/pids.max": "50\n",
            "memory/isolation/memory.limit_in_bytes": "9223372036854771712\n",
            "cpu/isolation/cpu.cfs_quota_us": "-1\n",
        },
    )

    cap_all(version=1, driver="cgroupfs", root=tmp_path)

    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    capped = int((tmp_path / "memory" / "isolation" / "memory.limit_in_bytes").read_text())
    assert 0.7 * total < capped < 0.9 * total
    assert (tmp_path / "pids" / "isolation" / "pids.max").read_text() == "50\n"
    quota_us = int((tmp_path / "cpu" / "isolation" / "cpu.cfs_quota_us").read_text())
    assert quota_us == round(cpus_for_runs(os.cpu_count() or 1) * PERIOD_US)


def test_on_v2_a_host_keeps_part_of_its_processors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One number is the quota, in the period that stands."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    lay(tmp_path, {"isolation/cpu.max": "max 100000\n", "isolation/cpu.weight": "100\n"})

    cap_all(version=2, driver="cgroupfs", root=tmp_path)

    assert (tmp_path / "isolation" / "cpu.max").read_text() == str(round(0.8 * (os.cpu_count() or 1) * PERIOD_US))
    assert (tmp_path / "isolation" / "cpu.weight").read_text() == "12"


def test_a_cap_that_cannot_be_set_is_our_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A control that does not hold is an error, and not a warning."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    with pytest.raises(EngineError, match="the runs of this host cannot be capped together"):
        cap_all(version=1, driver="cgroupfs", root=tmp_path / "gone")


@pytest.mark.root
@on_v1
def test_the_kernel_takes_what_a_real_group_asks() -> None:
    """What the fixtures imitate, on the kernel itself."""
    cell = f"isolation-test-fair-{os.getpid()}"
    cap_all(version=1, driver="cgroupfs")
    group = make_group(cell, LIMITS, version=1, driver="cgroupfs", local=True)
    assert group is not None
    try:
        group.yield_to_others()
        assert group.in_force() == limits_wanted(LIMITS)
        shares = CGROUP_ROOT / "cpu" / "isolation" / cell / "cpu.shares"
        assert shares.read_text() == "10\n"
        group.go_first()
        assert shares.read_text() == "8192\n"
        capped = int((CGROUP_ROOT / "memory" / "isolation" / "memory.limit_in_bytes").read_text())
        assert capped < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * make._SHARE_FOR_RUNS + 4096
    finally:
        group.remove()
