"""Row 27: the same cell as the engine and the host's kernel show it, against what is written down here."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from isolation.model.outcome import Outcome
from isolation.sandbox.leases import FIRST_UID, UIDS
from isolation.sandbox.seccomp import profile_text
from tests.hostile.on_gvisor import DIFFERENCES, differs

if TYPE_CHECKING:
    from tests.hostile.kit import Arena

pytestmark = pytest.mark.engine
Json = dict[str, Any]

GOLDEN = Path(__file__).parent / "golden_host_config.json"
NPROC_ON_GVISOR = {"Hard": 128, "Name": "nproc", "Soft": 128}
"""Its own kernel holds the number of threads by this one."""
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "uts")
SLEEP = """
    import time
    def run(context, params):
        print("under way", flush=True)
        time.sleep(600)
    """


def is_nothing(value: object) -> bool:
    """Tell what engines write for nothing: null, empty, zero, and collections of these."""
    if isinstance(value, dict | list):
        return all(is_nothing(item) for item in (value.values() if isinstance(value, dict) else value))
    return not value


@pytest.fixture(scope="module")
def outside(arena: Arena) -> Json:
    """Look at every process of a cell, from the host, while its step is under way."""
    spaces: dict[str, dict[str, Path]] = {}
    found: dict[str, tuple[dict[str, str], list[str]]] = {}
    cancel = threading.Event()

    def look() -> None:
        if arena.runtime == "runsc":  # the engine shows the guest's process numbers, which mean nothing here
            cancel.set()
            return
        for pid in arena.client.top(arena.last.bodies[0]["Id"], "-eo pid")["Processes"]:
            home = Path("/proc") / pid[0]
            spaces[pid[0]] = {name: (home / "ns" / name).readlink() for name in NAMESPACES}
            status = dict(line.split(":\t", 1) for line in (home / "status").read_text().splitlines() if ":\t" in line)
            found[pid[0]] = (status, [str(fd.readlink()) for fd in (home / "fd").iterdir()])
        cancel.set()

    result = arena.attack(SLEEP, during=look, cancel=cancel)
    assert result.outcome is Outcome.CANCELLED
    return {
        "found": found,
        "spaces": spaces,
        "uid": arena.last.uids.copy().pop(),
        "cell": next(iter(arena.last.cells)),
        "body": arena.last.bodies[0],
    }


def test_row_027_the_engines_record_is_the_golden_one(outside: Json, arena: Arena) -> None:
    """Whatever is not in it must be nothing: a field that a newer engine fills in is looked at by a person."""
    text = GOLDEN.read_text().replace("UID", str(outside["uid"])).replace("CELL", outside["cell"])
    golden = json.loads(text.replace("RUNTIME", arena.runtime))
    golden["SecurityOpt"][1] = f"seccomp={profile_text(arena.runtime)}"
    if differs(arena, 27):
        golden["PidsLimit"] = 64 + 2 * 128
        golden["Ulimits"] = [one if one["Name"] != "nproc" else NPROC_ON_GVISOR for one in golden["Ulimits"]]
        golden["Tmpfs"] = {path: options.replace(",nr_inodes=4096", "") for path, options in golden["Tmpfs"].items()}

    assert {name: value for name, value in outside["body"]["HostConfig"].items() if not is_nothing(value)} == golden


def test_row_027_the_hosts_kernel_shows_what_the_cell_shows(outside: Json, arena: Arena) -> None:
    """For every process of it: no rights, a filter, the leased uid, and no descriptor of the host's."""
    if differs(arena, 27):
        pytest.skip(f"row 27 on gVisor: {DIFFERENCES[27]}")
    assert len(outside["found"]) == 2, "the runner and the step"
    for status, descriptors in outside["found"].values():
        assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        assert {*status["Uid"].split(), *status["Gid"].split()} == {str(outside["uid"])}
        assert FIRST_UID <= outside["uid"] < FIRST_UID + UIDS
        assert {one.split(":")[0] for one in descriptors} <= {"pipe", "anon_inode", "/dev/null"}


def test_row_027_every_process_has_namespaces_of_its_own(outside: Json, arena: Arena) -> None:
    """None of them is the host's."""
    if differs(arena, 27):
        pytest.skip(f"row 27 on gVisor: {DIFFERENCES[27]}")
    ours = {name: Path(f"/proc/self/ns/{name}").readlink() for name in NAMESPACES}

    for spaces in outside["spaces"].values():
        assert {name for name in NAMESPACES if spaces[name] == ours[name]} == set()
