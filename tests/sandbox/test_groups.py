"""The kernel's counters, read from trees of files as real kernels write them."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from isolation.errors import EngineError
from isolation.sandbox.groups import files
from isolation.sandbox.groups.group import Reading
from isolation.sandbox.groups.make import CGROUP_ROOT, leftover_groups, make_group, remove_leftover
from isolation.sandbox.groups.v1 import GroupV1
from isolation.sandbox.groups.v2 import GroupV2
from tests.sandbox.kernel_files import CELL, EXPECTED, LIMITS, V1, V2, lay

if TYPE_CHECKING:
    from pathlib import Path


ON_V1 = (CGROUP_ROOT / "memory").is_dir() and os.access(CGROUP_ROOT / "memory", os.W_OK)


@pytest.fixture
def v1(tmp_path: Path) -> Path:
    """Lay out what the kernel shows of a group of ours as soon as it is made."""
    for name in ("memory", "cpu", "cpuacct", "pids", "blkio"):
        (tmp_path / name / "isolation" / CELL).mkdir(parents=True)
    lay(tmp_path, {name.replace("/", f"/isolation/{CELL}/", 1): text for name, text in V1.items()})
    return tmp_path


@pytest.fixture
def v2(tmp_path: Path) -> Path:
    lay(tmp_path / "isolation" / CELL, V2)
    return tmp_path


def empty(folder: Path) -> None:
    """Take the files away, which a kernel does with the group itself."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.unlink()


def test_v1_is_read_into_the_common_schema(v1: Path) -> None:
    """Nanoseconds, bytes and hierarchical totals; nothing happened yet, so no kill and no word on forks."""
    group = GroupV1(v1, CELL, LIMITS)

    assert group.read() == replace(EXPECTED, oom_kills=0, forks_refused=None)
    empty(v1)
    group.remove()


def test_v2_is_read_into_the_same_schema(v2: Path) -> None:
    """Microseconds, flat keys; throttling is counted where the quota stands, one level down."""
    group = GroupV2(v2, CELL, systemd=False)

    assert group.read() == replace(EXPECTED, oom_kills=1, forks_refused=2)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - one more descriptor either way


def as_dict(reading: Reading) -> dict[str, float | int | None]:
    return {name: getattr(reading, name) for name in Reading.__dataclass_fields__}


@pytest.mark.parametrize("name", sorted(set(V2) - {"docker-abc.scope/cpu.stat"}))
def test_a_counter_that_v2_lacks_is_none_not_zero(v2: Path, name: str) -> None:
    """Kernels before 5.19 have no memory.peak, and each file has its first kernel."""
    (v2 / "isolation" / CELL / name).unlink()
    fields = {
        "cpu.stat": {"cpu_s", "cpu_user_s", "cpu_system_s"},
        "memory.current": {"memory_bytes"},
        "memory.peak": {"memory_peak_bytes"},
        "memory.stat": {"memory_anon_bytes", "memory_file_bytes", "memory_kernel_bytes"},
        "memory.events": {"oom_kills"},
        "pids.current": {"pids"},
        "pids.peak": {"pids_peak"},
        "pids.events": {"forks_refused"},
        "io.stat": {"io_read_bytes", "io_write_bytes"},
    }[name]

    reading = as_dict(GroupV2(v2, CELL, systemd=False).read())

    assert {field for field, value in reading.items() if value is None} == fields


def test_a_counter_that_v1_lacks_is_none_not_zero(v1: Path) -> None:
    """A group without any of the optional files still reads, and says nothing."""
    group = GroupV1(v1, CELL, LIMITS)
    empty(v1)

    reading = as_dict(group.read())

    assert {field for field, value in reading.items() if value is not None} == {"oom_kills"}
    group.remove()


def test_an_empty_io_file_on_v2_is_zero(v2: Path) -> None:
    """The kernel leaves out devices that were not used: no line is a measurement."""
    (v2 / "isolation" / CELL / "io.stat").write_text("")

    reading = GroupV2(v2, CELL, systemd=False).read()

    assert (reading.io_read_bytes, reading.io_write_bytes) == (0, 0)


def test_what_was_throttled_is_remembered_after_the_containers_end(v2: Path) -> None:
    """Its own group is gone by then."""
    group = GroupV2(v2, CELL, systemd=False)
    group.read()
    (v2 / "isolation" / CELL / "docker-abc.scope/cpu.stat").unlink()

    assert group.read().throttled_s == 0.25


def test_refused_forks_of_the_container_count_on_v2_too(v2: Path) -> None:
    """Before Linux 6.11 the kernel counted them in the forking process's own group alone, which dies first."""
    (v2 / "isolation" / CELL / "pids.events").write_text("max 0\n")
    (v2 / "isolation" / CELL / "docker-abc.scope/pids.events").write_text("max 7\n")
    group = GroupV2(v2, CELL, systemd=False)
    assert group.read().forks_refused == 7
    (v2 / "isolation" / CELL / "docker-abc.scope/pids.events").unlink()

    assert group.read().forks_refused == 7


def test_refused_forks_are_remembered_after_the_containers_end(v1: Path) -> None:
    """v1 counts them in the container's own group, which dies first."""
    group = GroupV1(v1, CELL, LIMITS)
    group.watch("abc")
    own = v1 / "pids" / "isolation" / CELL / "abc"
    lay(own, {"pids.events": "max 5\n"})
    assert group.read().forks_refused == 5
    empty(own)
    own.rmdir()

    assert group.read().forks_refused == 5
    empty(v1)
    group.remove()


@pytest.mark.parametrize(("peak", "refused"), [(LIMITS.pids, None), (LIMITS.pids - 1, 0)])
def test_a_count_of_no_refusal_is_not_believed_of_a_group_that_was_full_and_is_gone(
    v1: Path, peak: int, refused: int | None
) -> None:
    """It may have died of the first; and None is not zero."""
    group = GroupV1(v1, CELL, LIMITS)
    group.watch("abc")
    own = v1 / "pids" / "isolation" / CELL / "abc"
    lay(own, {"pids.events": "max 0\n"})
    (v1 / "pids" / "isolation" / CELL / "pids.peak").write_text(f"{peak}\n")
    assert group.read().forks_refused == 0
    empty(own)
    own.rmdir()

    assert group.read().forks_refused == refused
    empty(v1)
    group.remove()


def test_a_kill_counted_in_the_containers_own_group_counts(v1: Path) -> None:
    """Should the signal of the parent be missed."""
    group = GroupV1(v1, CELL, LIMITS)
    group.watch("abc")
    lay(v1 / "memory" / "isolation" / CELL / "abc", {"memory.oom_control": "under_oom 0\noom_kill 2\n"})

    assert group.read().oom_kills == 2
    empty(v1)
    (v1 / "memory" / "isolation" / CELL / "abc").rmdir()
    group.remove()


@pytest.mark.parametrize("kind", ["v1", "v2"])
@pytest.mark.parametrize("does", ["begin_again", "hold"])
def test_a_group_that_stays_or_stands_ready_keeps_its_files_open_and_tells_what_is_in_them_now(
    kind: str, does: str, request: pytest.FixtureRequest
) -> None:
    """To open them costs more than all else of a reading; the kernel answers an open file anew."""
    root: Path = request.getfixturevalue(kind)
    group = GroupV1(root, CELL, LIMITS) if kind == "v1" else GroupV2(root, CELL, systemd=False)
    before = open_descriptors()
    getattr(group, does)()
    group.read()
    held = open_descriptors()
    path = next(root.rglob("pids.current"))
    path.write_text("7\n")

    assert group.read().pids == 7
    assert open_descriptors() == held > before
    group.close()
    assert open_descriptors() < before if kind == "v1" else open_descriptors() == before


def test_the_list_of_processes_is_opened_anew_each_time(v1: Path) -> None:
    """On v1 a file that is open may list whoever lived a second ago; what tells that nothing lives must not."""
    group = GroupV1(v1, CELL, LIMITS)
    group.watch("abc")
    group.begin_again()
    listed = v1 / "pids" / "isolation" / CELL / "abc" / "cgroup.procs"
    lay(listed.parent, {"cgroup.procs": "12\n"})
    assert group.processes() == [12]
    listed.unlink()
    listed.write_text("12\n13\n")

    assert group.processes() == [12, 13]
    group.close()


def test_v1_limits_are_written_where_the_counters_are(v1: Path) -> None:
    """The run's group holds the policy's limits, swap included; the container's own is a little wider."""
    group = GroupV1(v1, CELL, LIMITS)
    written = {
        name: (v1 / name.split(".")[0] / "isolation" / CELL / name).read_text()
        for name in ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "pids.max", "cpu.cfs_quota_us")
    }

    assert written == {
        "memory.limit_in_bytes": str(64 * 2**20),
        "memory.memsw.limit_in_bytes": str(64 * 2**20),
        "pids.max": "32",
        "cpu.cfs_quota_us": "50000",
    }
    assert group.cell_memory_bytes(LIMITS) == 68 * 2**20
    assert group.parent == f"/isolation/{CELL}"
    empty(v1)
    group.remove()


def test_a_v1_group_binds_those_below_it(v1: Path) -> None:
    """Before kernel 5.11 a group could be told not to; then our limit would be none."""
    hierarchy = v1 / "memory" / "isolation" / CELL / "memory.use_hierarchy"
    hierarchy.write_text("0\n")
    group = GroupV1(v1, CELL, LIMITS)

    assert hierarchy.read_text() == "1"
    empty(v1)
    group.remove()


def test_removing_a_group_twice_is_no_error_and_closes_nothing_of_others(v1: Path) -> None:
    """A cell's destruction may be tried again; by then its descriptor's number may be somebody else's."""
    group = GroupV1(v1, CELL, LIMITS)
    empty(v1)
    group.remove()
    other = os.eventfd(0)
    group.remove()

    os.close(other)
    assert leftover_groups(v1) == ()
    assert group.read().oom_kills == 0


def test_a_group_that_something_lives_in_is_an_error_of_ours(v2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What still runs may not be forgotten: the uid stays taken, and nothing is merged."""
    monkeypatch.setattr(files, "_BUSY_FOR_S", 0.0)

    with pytest.raises(EngineError, match="cannot be removed: Directory not empty"):
        GroupV2(v2, CELL, systemd=False).remove()


def test_the_systemd_driver_takes_a_slice_below_ours(tmp_path: Path) -> None:
    """A dash in a slice's name means "within": the cell's own dashes must not."""
    stopped: list[str] = []
    group = GroupV2(tmp_path, CELL, systemd=True, stop_slice=stopped.append)
    mangled = "isolation-isolation_20250102_030405_0a1b2c3d_1.slice"
    lay(tmp_path / "isolation.slice" / mangled, V2)

    assert group.parent == mangled
    assert group.read().cpu_s == 2.5
    assert leftover_groups(tmp_path) == (CELL,)
    for folder in ("docker-abc.scope", ""):
        empty(tmp_path / "isolation.slice" / mangled / folder)
        (tmp_path / "isolation.slice" / mangled / folder).rmdir()
    group.remove()
    assert stopped == [mangled], "systemd would make the folder anew with the next slice"


def test_the_cgroupfs_driver_takes_a_folder_below_ours(tmp_path: Path) -> None:
    """The engine makes it."""
    assert GroupV2(tmp_path, CELL, systemd=False).parent == f"/isolation/{CELL}"


def test_leftovers_are_named_once_and_removed_when_empty(v1: Path) -> None:
    """v1 has one folder of a cell in each of five trees; one that something lives in stays."""
    assert leftover_groups(v1) == (CELL,)
    remove_leftover(CELL, v1)
    assert leftover_groups(v1) == (CELL,)
    empty(v1)
    remove_leftover(CELL, v1)
    remove_leftover(CELL, v1)

    assert leftover_groups(v1) == ()


@pytest.mark.parametrize(
    ("version", "driver", "local", "uid"),
    [(1, "cgroupfs", False, 0), (1, "cgroupfs", True, 1000), (1, "systemd", True, 0), (2, "none", True, 0)],
    ids=["an engine elsewhere", "no rights", "v1 by systemd", "no driver"],
)
def test_where_we_may_not_there_is_no_group(
    v1: Path, monkeypatch: pytest.MonkeyPatch, version: int, driver: str, *, local: bool, uid: int
) -> None:
    """The engine's own word is the fallback, and ``usage.source`` says so."""
    monkeypatch.setattr(os, "geteuid", lambda: uid)

    assert make_group(CELL, LIMITS, version=version, driver=driver, local=local, root=v1) is None


def test_a_host_that_lets_us_gets_the_group_of_its_kernel(v1: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what the engine says of itself."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    first = make_group(CELL, LIMITS, version=1, driver="cgroupfs", local=True, root=v1)
    second = make_group(CELL, LIMITS, version=2, driver="systemd", local=True, root=v1)

    assert isinstance(first, GroupV1)
    assert isinstance(second, GroupV2)
    empty(v1)
    first.remove()


def test_a_group_that_cannot_be_made_whole_is_taken_back(v1: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel without the event would leave us blind to kills: then the engine's word is the better one."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    empty(v1)
    for name in ("memory", "pids"):
        (v1 / name / "isolation" / CELL).rmdir()
    (v1 / "memory" / "isolation").chmod(0o755)
    descriptors = open_descriptors()

    assert make_group(CELL, LIMITS, version=1, driver="cgroupfs", local=True, root=v1) is None
    assert open_descriptors() == descriptors


@pytest.mark.root
@pytest.mark.skipif(not ON_V1, reason="this host's groups are not v1, or not ours to make")
def test_a_real_v1_group_takes_its_limits_and_goes() -> None:
    """What the fixtures imitate, on the kernel itself."""
    cell = f"isolation-test-{os.getpid()}"
    group = make_group(cell, LIMITS, version=1, driver="cgroupfs", local=True)
    assert group is not None
    try:
        (CGROUP_ROOT / "memory" / "isolation" / cell / "left-by-an-engine").mkdir()
        reading = group.read()
        limit = (CGROUP_ROOT / "memory" / "isolation" / cell / "memory.limit_in_bytes").read_text()
        assert int(limit) == 64 * 2**20
        assert (reading.oom_kills, reading.pids, reading.cpu_s) == (0, 0, 0)
        assert cell in leftover_groups()
    finally:
        group.remove()
    assert cell not in leftover_groups()
