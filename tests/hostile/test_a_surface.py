"""Rows 8 to 26: the kernel's doors, knocked at from one cell."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from isolation.model.outcome import Outcome
from tests.hostile.kit import outputs_of
from tests.hostile.on_gvisor import differs

if TYPE_CHECKING:
    from tests.hostile.conftest import Attack
    from tests.hostile.kit import Arena

pytestmark = pytest.mark.engine
Json = dict[str, Any]

REFUSED = {"EPERM", "EACCES", "EROFS", "ENOSYS"}
DEVICES = [
    *("/dev/full", "/dev/null", "/dev/ptmx", "/dev/pts/ptmx", "/dev/random", "/dev/stderr", "/dev/stdin"),
    *("/dev/stdout", "/dev/tty", "/dev/urandom", "/dev/zero"),
]


@pytest.fixture(scope="module")
def seen(arena: Arena) -> Json:
    between_s = time.time() - time.monotonic()
    seen = outputs_of(arena.attack(arena.program("surface"), probing=False))
    return seen | {"clock_moved_s": time.time() - time.monotonic() - between_s}


def answers(seen: Json, *names: str) -> dict[str, str]:
    """Return the calls that were let in, with the kernel's answer."""
    return {name: seen["calls"][name] for name in names if seen["calls"][name] not in {"EPERM", "ENOSYS"}}


def test_row_008_a_step_cannot_look_into_its_runner(seen: Json, arena: Arena) -> None:
    """There is the nonce, and there the channel; the two share a uid and nothing else."""
    assert len(seen["runner"]) == 1, "the runner is the container's first process"
    open_there = {"maps", "environ", "auxv", "fd", "output"} if differs(arena, 8) else set()
    for answers_by_way in seen["runner"].values():
        assert {way for way, answer in answers_by_way.items() if answer not in REFUSED} <= open_there
    assert answers(seen, "ptrace_traceme", "pidfd_getfd", "process_madvise") == {}


def test_row_009_a_key_cannot_be_left_for_the_next_run(attack: Attack) -> None:
    """Keyrings are per uid and not namespaced; the second run looks for what the first wanted to leave."""
    source = """
        import os
        from ctypes import CDLL, c_long
        def run(context, params):
            call = CDLL(None).syscall
            added = [call(c_long(248), b"user", b"left", b"behind", 6, c_long(ring)) for ring in range(-8, 0)]
            found = call(c_long(249), b"user", b"left", None, 0)
            keys = open("/proc/keys").read() if os.path.exists("/proc/keys") else ""
            return {"added": max(added), "found": found, "keys": keys}
        """
    assert outputs_of(attack(source)) == {"added": -1, "found": -1, "keys": ""}
    assert outputs_of(attack(source)) == {"added": -1, "found": -1, "keys": ""}


def test_row_010_there_is_no_io_uring(seen: Json) -> None:
    """It does what system calls do, past the filter of system calls."""
    assert answers(seen, "io_uring_setup", "io_uring_enter", "io_uring_register") == {}


def test_row_011_there_is_no_af_alg(seen: Json, arena: Arena) -> None:
    """Refused by us, whatever this kernel is built with."""
    assert seen["families"]["af_alg"] == ("EPERM" if differs(arena, 11) else "EAFNOSUPPORT")


def test_row_012_only_unix_and_internet_sockets_can_be_had(seen: Json, arena: Arena) -> None:
    """Of the latter only those that need no right; there is nothing to reach but loopback."""
    had = {family: {kind for one, kind in seen["families"]["had"] if one == family} for family in range(64)}

    assert {family for family, kinds in had.items() if kinds} == {1, 2, 10}
    assert had[2] == had[10] == {"stream", "datagram"}
    assert seen["families"]["answers"] == ["EPERM" if differs(arena, 12) else "EAFNOSUPPORT"]
    assert seen["families"]["raw_icmp"] in REFUSED
    assert seen["families"]["netlink_pair"] != "done"


def test_row_014_what_observes_the_kernel_is_shut(seen: Json) -> None:
    """The surface that most local exploits of the last years began at."""
    names = ("bpf", "perf_event_open", "userfaultfd", "fanotify_init", "fanotify_mark", "kcmp", "modify_ldt")

    assert answers(seen, *names, "memfd_secret", "vmsplice", "tee") == {}
    assert seen["thirty_two_bit"] == "refused"


def test_row_015_the_personality_stays(seen: Json, arena: Arena) -> None:
    """No executable data, no predictable addresses."""
    assert answers(seen, "personality_executable", "personality_no_random", "personality_query") == {}
    assert seen["personality"] == (-1 if differs(arena, 15) else 0)


def test_row_017_there_are_no_devices_but_the_harmless(seen: Json, arena: Arena) -> None:
    """None is given to the container, none can be made, and those that a host has are not there."""
    assert answers(seen, "mknod", "mknodat") == {}
    own = {"fuse", "net/tun"} if differs(arena, 17) else set()
    assert {*seen["devices"]["listed"]} == {*DEVICES, *(f"/dev/{name}" for name in own)}
    assert {name for name, answer in seen["devices"]["opened"].items() if answer not in REFUSED | {"ENOENT"}} == own


def test_row_018_the_clock_cannot_be_set(seen: Json) -> None:
    """Our deadlines are on another one, but the host's logs are not."""
    assert {*seen["clocks"].values()} <= REFUSED
    assert answers(seen, "clock_adjtime", "adjtimex") == {}
    assert abs(seen["clock_moved_s"]) < 60


def test_row_019_what_is_the_hosts_alone_is_shut(seen: Json) -> None:
    """Modules, another kernel, power, swap, the kernel's log, quotas, names, ports."""
    names = (
        *("init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot", "swapon"),
        *("swapoff", "syslog", "quotactl", "acct", "sethostname", "setdomainname", "iopl", "ioperm", "vhangup"),
    )

    assert answers(seen, *names) == {}


def test_row_020_no_file_can_be_opened_by_its_handle(seen: Json) -> None:
    """A handle names a file of the whole file system, whatever is mounted of it."""
    assert answers(seen, "name_to_handle_at", "open_by_handle_at") == {}


def test_row_021_a_step_holds_three_pipes_and_nothing_else(seen: Json) -> None:
    """The channel is closed before the step's first byte of code; no folder and no path of the host is open."""
    held = {int(fd): target for fd, target in seen["descriptors"].items() if target is not None}

    assert held.pop(0) == "/dev/null"
    assert sorted(held) == [1, 2, 3]
    assert all(target.startswith("pipe:") for target in held.values())
    assert len({*held.values()}) == 3


def test_row_023_the_program_that_started_the_container_cannot_be_overwritten(seen: Json, arena: Arena) -> None:
    """Nor the interpreter, nor our runner; the host's own binaries are what they were, byte for byte."""
    assert {*seen["program"]["opened"].values()} <= {"ETXTBSY", "EACCES", "EROFS", "ENOENT", "EPERM"}
    assert seen["program"]["again"] in REFUSED
    arena.host.check_content()


def test_row_024_no_knob_of_the_kernel_can_be_turned(seen: Json, arena: Arena) -> None:
    """Every file of /proc and /sys that is not a process's own was tried; the host's are read-only to root as well."""
    assert seen["knobs"]["opened"] == []
    assert seen["knobs"]["tried"] > 50
    if not differs(arena, 24):
        assert {"/sys", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"} <= {*seen["read_only"]}


def test_row_025_a_step_that_crashes_leaves_no_core(attack: Attack) -> None:
    """Three hundred megabytes of somebody's memory, on the disk of the host or of the run, or in a helper's hands."""
    source = """
        import ctypes, os, resource
        def run(context, params):
            if os.fork() == 0:
                block = bytearray(300 * 2**20)
                ctypes.string_at(0)
            _, status = os.wait()
            found = [os.path.join(folder, name) for top in ("/tmp", "/scratch", "/package", "/in")
                     for folder, _, names in os.walk(top) for name in names]
            return {"signal": os.WTERMSIG(status), "dumped": os.WCOREDUMP(status),
                    "limit": resource.getrlimit(resource.RLIMIT_CORE), "cores": [f for f in found if "core" in f]}
        """
    found = outputs_of(attack(source))
    crashed = attack("import ctypes\ndef run(context, params):\n    ctypes.string_at(0)")

    # A limit of one byte: with none, a kernel that pipes core dumps to a helper would start it.
    assert found == {"signal": 11, "dumped": False, "limit": [1, 1], "cores": []}
    assert (crashed.outcome, crashed.cause) == (Outcome.FAILED, "step:s0:signal:11")


def test_row_026_nothing_lets_a_step_go_before_others(seen: Json, arena: Arena) -> None:
    """No real-time class, no nicer priority, no memory that cannot be reclaimed, no other victim than itself."""
    own = {"nice", "less_killable"} if differs(arena, 26) else set()
    refused = REFUSED | {"ENOMEM", "EINVAL"}
    assert {name for name, answer in seen["schedule"].items() if answer not in refused} == own
