"""Rows 37 to 52: memory, files, descriptors, and what the kernel keeps for processes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from isolation.model.outcome import Outcome
from isolation.sandbox.hardening import FOLDERS_WRITABLE
from tests.hostile.kit import outputs_of
from tests.hostile.on_gvisor import differs

if TYPE_CHECKING:
    from tests.hostile.conftest import Attack
    from tests.hostile.kit import Arena

pytestmark = pytest.mark.engine

MIB = 2**20
FORCED_BYTES = MIB // 4
"""Linux lets a process that it is killing have single pages above the limit, so that it comes to its end."""


def number_of(path: str, field: int = 0) -> int:
    """Read one number of the host's kernel."""
    return int(Path(path).read_text().split()[field])


def shared_bytes() -> int:
    """Read how much memory of the host is in tmpfs and the like."""
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(lines["Shmem"].split()[0]) * 1024


def test_row_037_a_memory_bomb_meets_its_own_limit(attack: Attack) -> None:
    """Sixteen gigabytes, touched; the kill is counted, and nobody else is a victim."""
    result = attack(
        """
        def run(context, params):
            print("under way", flush=True)
            block = bytearray(1 << 34)
            for place in range(0, len(block), 4096):
                block[place] = 1
        """,
        limits={"memory": "64MiB"},
        probing=True,
    )

    assert (result.outcome, result.cause) == (Outcome.OUT_OF_MEMORY, "limits.memory")
    peak_bytes = result.usage.memory_peak_bytes
    assert peak_bytes is None or peak_bytes <= 64 * MIB + FORCED_BYTES


def test_row_037_a_child_killed_for_memory_is_told_though_its_parent_goes_on(attack: Attack) -> None:
    """A recipe that hides the death of its child did not succeed within its limits."""
    result = attack(
        """
        import os
        def run(context, params):
            if os.fork() == 0:
                block = bytearray(1 << 30)
                for place in range(0, len(block), 4096):
                    block[place] = 1
            os.wait()
        """,
        limits={"memory": "64MiB"},
    )

    assert result.outcome is Outcome.OUT_OF_MEMORY


def test_row_037_who_lets_children_die_of_memory_for_ever_is_stopped(attack: Attack) -> None:
    """It has failed with the first; what comes after only harms others."""
    result = attack(
        """
        import os
        def run(context, params):
            print("under way", flush=True)
            while True:
                if os.fork() == 0:
                    block = bytearray(1 << 30)
                    for place in range(0, len(block), 4096):
                        block[place] = 1
                os.wait()
        """,
        limits={"memory": "64MiB"},
        probing=True,
    )

    assert (result.outcome, result.cause) == (Outcome.OUT_OF_MEMORY, "limits.memory")


FILL = """
    def run(context, params):
        print("under way", flush=True)
        piece = bytes(2**20)
        for folder in params["folders"]:
            with open(f"{folder}/file", "wb") as file:
                for _ in range(params["mib"]):
                    file.write(piece)
    """


def test_row_039_a_tmpfs_ends_at_its_size_and_is_charged_to_the_run(attack: Attack) -> None:
    """And when the run is over the host has the memory back."""
    before_bytes = shared_bytes()
    limits = {"memory": "512MiB", "tmp": "256MiB", "file": "1GiB"}
    result = attack(FILL, args={"folders": ["/scratch"], "mib": 600}, limits=limits, probing=True)

    assert (result.outcome, result.cause) == (Outcome.DISK_FULL, "step:s0:disk_full")
    assert result.usage.memory_peak_bytes is None or result.usage.memory_peak_bytes >= 256 * MIB
    assert shared_bytes() < before_bytes + 200 * MIB


def test_row_039_two_tmpfs_within_their_size_meet_the_limit_of_memory(attack: Attack) -> None:
    """What lies in a tmpfs is memory of the run, whoever wrote it."""
    limits = {"memory": "64MiB", "tmp": "60MiB"}
    result = attack(FILL, args={"folders": [*FOLDERS_WRITABLE], "mib": 55}, limits=limits, probing=True)

    assert result.outcome is Outcome.OUT_OF_MEMORY


PLACES = ("/dev/shm", "/run", "/var/tmp", "/run/lock", "/dev", "/dev/mqueue", "/package", "/in", "/", "/opt/runner")  # noqa: S108 - the container's own


def test_row_040_nothing_else_can_be_written(attack: Attack) -> None:
    """Every folder of the cell is tried, and the file systems that are mounted are those that we know."""
    found = outputs_of(
        attack(
            """
            import os
            def tried(folder):
                try:
                    os.close(os.open(f"{folder}/x", os.O_CREAT | os.O_WRONLY))
                except OSError as error:
                    return error.strerror
                return "written"
            def folders():
                for top, names, _ in os.walk("/"):
                    if top == "/":
                        names.remove("proc")
                    yield top
            def run(context, params):
                mounts = [line.split() for line in open("/proc/self/mounts")]
                return {
                    "written": [folder for folder in folders() if tried(folder) == "written"],
                    "answers": {place: tried(place) for place in params["places"]},
                    "read_only": [where for _, where, _, options, *_ in mounts if "ro" in options.split(",")],
                }
            """,
            args={"places": PLACES},
        )
    )

    assert sorted(found["written"]) == sorted(FOLDERS_WRITABLE)
    assert {"/", "/package", "/in"} <= {*found["read_only"]}
    assert {*found["answers"].values()} <= {
        "Read-only file system",
        "No such file or directory",
        "Permission denied",
        "Too many open files",  # a message queue
    }


def test_row_041_files_without_content_end_at_the_number_of_inodes(attack: Attack, arena: Arena) -> None:
    """A million of them; the host's own file systems hold not one more."""
    before = os.statvfs(arena.state)
    result = attack(
        """
        import os
        def run(context, params):
            print("under way", flush=True)
            for number in range(10**6):
                os.close(os.open(f"/tmp/{number}", os.O_CREAT | os.O_WRONLY))
        """,
        limits={"wall": 5, "memory": "128MiB"},
        probing=True,
    )
    after = os.statvfs(arena.state)

    if differs(arena, 41):
        assert result.outcome in {Outcome.OUT_OF_MEMORY, Outcome.TIMED_OUT}
    else:
        assert (result.outcome, result.cause) == (Outcome.DISK_FULL, "step:s0:disk_full")
    assert before.f_ffree - after.f_ffree < 4096


def test_row_043_a_huge_folder_of_hostile_names_is_refused_in_bounds(attack: Attack, arena: Arena) -> None:
    """Names of 255 bytes that are no text, with line ends and escapes; each refusal is one line of the log, escaped."""
    result = attack(
        """
        import os
        def run(context, params):
            os.mkdir("/scratch/artifacts")
            os.chdir("/scratch/artifacts")
            for number in range(params["files"]):
                name = b"\\xff\\x1b[2J\\n%d\\n" % number + b"x" * 200
                os.close(os.open(name, os.O_CREAT | os.O_WRONLY))
            os.chdir("/")
        """,
        args={"files": 2_000 if differs(arena, 43) else 20_000},
        limits={"tmp_inodes": None if differs(arena, 43) else 30_000, "memory": "256MiB"},
    )
    log = (arena.state / "runs" / result.run_id / "attempt-1.jsonl").read_bytes()

    assert result.artifacts == ()
    assert result.outcome in {Outcome.SUCCEEDED, Outcome.OUTPUT_LIMIT}
    assert result.attempts[0].log_bytes <= 8 * MIB
    assert b"\x1b" not in log
    assert b"\xff" not in log


def test_row_043_two_hundred_thousand_files_are_too_many(attack: Attack, arena: Arena) -> None:
    """The listing ends at the policy's count, or with the run's memory; never at the host's expense."""
    result = attack(
        """
        import os
        def run(context, params):
            os.mkdir("/scratch/artifacts")
            os.chdir("/scratch/artifacts")
            for number in range(params["files"]):
                os.close(os.open(str(number), os.O_CREAT | os.O_WRONLY))
        """,
        args={"files": 10_000 if differs(arena, 43) else 200_000},
        limits={"tmp_inodes": None if differs(arena, 43) else 210_000, "memory": "384MiB"},
    )

    assert (result.outcome, result.cause) == (Outcome.OUTPUT_LIMIT, "limits.artifacts")
    assert len(result.artifacts) <= 64


@pytest.mark.parametrize("caught", [True, False])
def test_row_045_a_file_ends_at_its_largest_size(attack: Attack, caught: bool) -> None:  # noqa: FBT001 - as parametrised
    """By an error, or, where the recipe wants to die of it, by the signal."""
    result = attack(
        """
        import os, signal
        def run(context, params):
            if not params["caught"]:
                signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            fd = os.open("/scratch/file", os.O_CREAT | os.O_WRONLY)
            while True:
                os.write(fd, bytes(2**20))
        """,
        args={"caught": caught},
        limits={"file": "8MiB"},
    )

    assert (result.outcome, result.cause) == (Outcome.DISK_FULL, "step:s0:disk_full")


def test_row_047_descriptors_end_at_their_number(attack: Attack) -> None:
    """The host's table of files hardly moves."""
    seen: list[int] = []
    before = number_of("/proc/sys/fs/file-nr")
    found = outputs_of(
        attack(
            """
            import errno, os, time
            def run(context, params):
                held = 0
                try:
                    while True:
                        os.open("/dev/null", os.O_RDONLY)
                        held += 1
                except OSError as error:
                    answer = errno.errorcode[error.errno]
                os.write(1, b"under way\\n")
                time.sleep(0.5)
                return {"held": held, "answer": answer}
            """,
            limits={"open_files": 256},
            during=lambda: seen.append(number_of("/proc/sys/fs/file-nr")),
        )
    )

    assert found["answer"] == "EMFILE"
    assert 200 <= found["held"] < 256
    assert seen[0] - before < 2 * 256 + 1000, "others open files too"


def test_row_049_the_kernels_pool_of_asynchronous_io_cannot_be_taken(attack: Attack) -> None:
    """It is one for the whole host."""
    before = number_of("/proc/sys/fs/aio-nr")
    found = outputs_of(
        attack(
            """
            import ctypes
            def run(context, params):
                call = ctypes.CDLL(None, use_errno=True).syscall
                answers = [call(206, 65536, bytes(8)) for _ in range(100)]
                return {"errors": sorted({ctypes.get_errno()}), "had": answers.count(0)}
            """
        )
    )

    assert found["had"] == 0
    assert {*found["errors"]} <= {1, 38}
    assert number_of("/proc/sys/fs/aio-nr") - before < 65536


def test_row_050_nothing_of_ipc_is_left_for_the_next_run(attack: Attack, arena: Arena) -> None:
    """Shared memory, queues and semaphores, of both kinds: the second run sees none of the first."""
    source = """
        import ctypes, os
        def listed():
            found = {}
            for name in ("shm", "msg", "sem"):
                try:
                    found[name] = len(open(f"/proc/sysvipc/{name}").readlines()) - 1
                except FileNotFoundError:
                    found[name] = 0
            return found
        def names(folder):
            return os.listdir(folder) if os.path.isdir(folder) else []
        def run(context, params):
            before = listed(), names("/dev/mqueue"), names("/dev/shm")
            libc = ctypes.CDLL(None)
            libc.shmget(4711, 4096, 0o1666), libc.msgget(4712, 0o1666), libc.semget(4713, 1, 0o1666)
            libc.mq_open(b"/left", os.O_CREAT | os.O_RDWR, 0o666, None)
            try:
                open("/dev/shm/left", "w").close()
            except OSError:
                pass
            return {"before": before, "after": listed()}
        """
    first = outputs_of(attack(source, limits={"shm": "1MiB"}))
    second = outputs_of(attack(source, limits={"shm": "1MiB"}))

    if not differs(arena, 50):
        assert first["after"] == {"shm": 1, "msg": 1, "sem": 1}, "something was left"
    assert first["before"] == second["before"] == [{"shm": 0, "msg": 0, "sem": 0}, [], []]


def test_row_051_page_tables_are_charged_to_the_run(attack: Attack) -> None:
    """Four terabytes mapped, one byte of each two megabytes touched: next to no memory, but for the kernel's tables."""
    result = attack(
        """
        import ctypes, mmap
        def run(context, params):
            print("under way", flush=True)
            libc = ctypes.CDLL(None)
            libc.mmap.restype = ctypes.c_void_p
            libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
            size = 1 << 42
            start = libc.mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE, 0x4022, -1, 0)
            libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), 15)
            for place in range(start, start + size, 2 << 20):
                ctypes.c_char.from_address(place).value = 1
        """,
        limits={"memory": "64MiB"},
        probing=True,
    )

    assert (result.outcome, result.cause) == (Outcome.OUT_OF_MEMORY, "limits.memory")


def test_row_052_a_step_cannot_have_the_hosts_disks_synced(attack: Attack) -> None:
    """Refused; and while it asks, a run whose record is synced goes on."""
    found = outputs_of(
        attack(
            """
            import ctypes, time
            def run(context, params):
                call = ctypes.CDLL(None, use_errno=True).syscall
                print("under way", flush=True)
                until = time.monotonic() + 1
                answers = set()
                while time.monotonic() < until:
                    answers |= {call(162), call(306, 1)}
                return {"answers": sorted(answers)}
            """,
            probing=True,
        )
    )

    assert found["answers"] == [-1]
