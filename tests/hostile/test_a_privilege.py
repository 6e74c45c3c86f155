"""Rows 1 to 7 and 16: what a step is, and what it gets when it asks for more. One cell is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from isolation.sandbox.hardening import FOLDERS_WRITABLE
from isolation.sandbox.leases import FIRST_UID, UIDS
from tests.hostile.kit import outputs_of
from tests.hostile.on_gvisor import differs

if TYPE_CHECKING:
    from tests.hostile.kit import Arena

pytestmark = pytest.mark.engine
Json = dict[str, Any]

SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
REFUSED = {"EPERM", "EACCES", "EROFS", "ENOSYS", "ENOTSUP"}


@pytest.fixture(scope="module")
def seen(arena: Arena) -> Json:
    return outputs_of(arena.attack(arena.program("privilege")))


def rights(status: dict[str, str], arena: Arena, row: int) -> None:
    """Assert that a process has none and can have none, by all that its kernel tells."""
    told = {name: status[name] for name in SETS if name != "CapAmb" or not differs(arena, row)}

    assert {*told.values()} == {"0" * 16}
    assert status["Seccomp"] == "2"
    if not differs(arena, row):
        assert status["NoNewPrivs"] == "1"


def test_row_001_a_step_is_nobody_with_no_rights(seen: Json, arena: Arena) -> None:
    """The kernel's own word: no capability in any set, none to be had, a filter, a uid of its own, no groups."""
    status = seen["status"]
    ids = {int(one) for name in ("Uid", "Gid") for one in status[name].split()} | {*seen["groups"]}

    rights(status, arena, 1)
    assert len(ids) == 1
    assert FIRST_UID <= ids.pop() < FIRST_UID + UIDS


def test_row_002_no_program_makes_a_step_root(seen: Json, arena: Arena) -> None:
    """The image has no setuid file; a step's own copy of a program cannot even be run."""
    assert [file for file in seen["with_rights"] if "setuid" in file] == []
    for folder in FOLDERS_WRITABLE:
        told = {"noexec"} if differs(arena, 2) else {"nosuid", "noexec", "nodev"}
        assert told <= {*seen["flags"][folder]}
    assert seen["copy"]["run"] in REFUSED
    assert {seen["copy"][name] for name in ("setuid", "setgid", "setgroups")} == {"EPERM"}
    assert seen["copy"]["euid"] >= FIRST_UID


def test_row_003_no_file_gives_a_capability(seen: Json) -> None:
    """Neither one of the image's, nor one that a step gives capabilities itself."""
    assert [file for file in seen["with_rights"] if "capabilities" in file] == []
    assert seen["copy"]["set_capability"] in REFUSED


@pytest.mark.parametrize("how", ["unshare", "clone"])
def test_row_004_no_namespace_can_be_made(seen: Json, how: str) -> None:
    """In a user namespace of its own a step would hold every capability."""
    answers = {*seen["namespaces"][how].values()}

    assert answers <= REFUSED | {"refused"}
    assert seen["namespaces"]["clone3"] == "ENOSYS"
    assert {*seen["namespaces"]["setns"].values()} <= REFUSED
    assert seen["namespaces"]["uid_map"] in REFUSED


def test_row_005_nothing_can_be_mounted_moved_or_unmounted(seen: Json) -> None:
    """Neither by the old calls nor by the new ones."""
    assert {name: answer for name, answer in seen["mounts"].items() if answer not in REFUSED} == {}


def test_row_006_there_is_no_release_agent_to_write(seen: Json) -> None:
    """Whoever writes one has a program of theirs run by the host's kernel, as root."""
    assert seen["release_agents"] == []
    assert seen["mounts"]["cgroup"] in REFUSED
    assert seen["namespaces"]["unshare"]["user"] in REFUSED
    assert seen["namespaces"]["unshare"]["cgroup"] in REFUSED


def test_row_007_no_file_of_a_cgroup_can_be_written(seen: Json, arena: Arena) -> None:
    """Else a step would raise its own limits, or leave its group; of those above its own it sees nothing."""
    assert seen["writable_cgroups"] == []
    assert seen["own_cgroups"] == ([] if differs(arena, 7) else ["/"])
    assert (seen["cgroup_files"] == 0) == differs(arena, 7)


def test_row_016_a_program_without_a_file_has_no_right_that_a_step_has_not(seen: Json, arena: Arena) -> None:
    """``memfd_create`` is allowed, as libraries use it; the way around noexec by the loader is shut."""
    status = seen["without_a_file"]

    rights(status, arena, 16)
    assert status["Uid"].split() == seen["status"]["Uid"].split()
    if not differs(arena, 16):
        assert seen["copy"]["through_the_loader"] != 0


LIMITS = {
    "nofile": 1024,
    "core": 1,
    "fsize": 64 * 2**20,
    "memlock": 65536,
    "msgqueue": 0,
    "sigpending": 256,
    "nproc": 320,
    "rtprio": 0,
    "nice": 0,
}


def test_row_047_every_limit_of_a_process_is_set(seen: Json, arena: Arena) -> None:
    """Soft and hard alike: a step can lower them, and raise none."""
    expected = LIMITS | ({"nproc": 128} if differs(arena, 47) else {})

    assert seen["limits"] == {name: [value, value] for name, value in expected.items()}


def test_row_026_a_step_is_the_first_to_go_when_the_host_runs_out(seen: Json, arena: Arena) -> None:
    """Not the controller, and not the engine."""
    assert seen["oom_score_adj"] == ("0" if differs(arena, 26) else "1000")
