"""Rows 79 to 83: what runs share, or leave to those that come after."""

from __future__ import annotations

import hashlib
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from isolation.model.event import RunStarted
from isolation.model.outcome import Outcome
from isolation.model.package import canonical, digest_of
from isolation.packaging.requirements import Layers
from isolation.sandbox.cell import run_of
from isolation.sandbox.hardening import FOLDERS_WRITABLE
from isolation.sandbox.leases import Leases, leases_folder
from tests.hostile.kit import outputs_of
from tests.hostile.on_gvisor import differs

if TYPE_CHECKING:
    from pathlib import Path

    from isolation.model.event import Event
    from tests.hostile.conftest import Attack
    from tests.hostile.kit import Arena

pytestmark = pytest.mark.engine


@pytest.mark.parametrize("shm", ["0", "1MiB"])
def test_row_079_what_one_run_leaves_the_next_does_not_find(attack: Attack, arena: Arena, shm: str) -> None:
    """Files, names, links, shared memory, sockets: it goes with the cell, also where there is a shared memory."""
    recipe = arena.program("remains")
    word = f"remains{secrets.token_hex(12)}"

    left = outputs_of(attack(recipe, context={"role": "leave", "word": word}, limits={"shm": shm, "memory": "256MiB"}))
    found = outputs_of(attack(recipe, context={"role": "find", "word": word}, limits={"shm": shm, "memory": "256MiB"}))

    assert {*FOLDERS_WRITABLE} <= {*left["left"]}
    assert found["found"] == []


SHARED_NAMESPACES = {"/proc/self/ns/user", "/proc/self/ns/time", "/proc/self/ns/time_for_children"}
"""
Where two runs that want to can pass words to each other, by locks: a residual risk.

The engine gives a cell no user namespace and no time namespace of its own. Their files in /proc are the same for all,
and whoever can open a file can lock it. Everything else that a cell can open has an inode of its own there.
"""


def test_row_080_two_runs_whisper_only_where_it_is_known(attack: Attack, arena: Arena) -> None:
    """One holds every lock it can get and watches everything, the other looks for the locks and opens everything."""
    recipe = arena.program("whisper")
    second: list[dict[str, Any]] = []
    over = threading.Event()

    def beside() -> None:
        second.append(outputs_of(arena.attack(recipe, context={"role": "listener"})))
        over.set()

    first = attack(recipe, context={"role": "holder"}, during=beside, cancel=over)
    lines = [line.text for line in arena.controller.stores.logs.read(first.run_id)]

    assert first.outcome is Outcome.CANCELLED
    assert "flock" in lines[0]
    assert lines[1:] == [], "what the other opened was noticed"
    assert second[0]["listed"] == []
    assert {"/package/work.py", "/usr/bin/python3", "/in/snapshot.json"} <= {*second[0]["tried"]}
    known = set() if differs(arena, 80) else SHARED_NAMESPACES & {*second[0]["tried"]}
    assert {*second[0]["felt"]} == known


POISON = """
import os, sys
def tried(do, *arguments):
    try:
        do(*arguments)
    except OSError as error:
        return os.strerror(error.errno)
    return "done"
def make(path):
    with open(path, "w") as file:
        file.write("import os; os._exit(99)")
def run(context, params):
    import cached
    found = {}
    for folder in params["folders"]:
        file = next(os.path.join(inner, name) for inner, _, names in os.walk(folder) for name in names)
        found[folder] = {
            "make": tried(make, f"{folder}/sitecustomize.py"),
            "change": tried(make, file),
            "remove": tried(os.unlink, file),
            "rename": tried(os.rename, file, f"{folder}/other"),
            "chmod": tried(os.chmod, file, 0o777),
            "touch": tried(os.utime, file),
            "link": tried(os.symlink, "/etc/passwd", f"{folder}/own link"),
            "folder": tried(os.mkdir, f"{folder}/own"),
        }
    return {"found": found, "value": cached.VALUE}
"""
OTHERS_READ = [
    "/layer",
    "/package",
    "/in",
    "/opt/runner",
    "/opt/runner/library",
    "/usr/lib/python3.11",
    "/usr/bin",
    "/etc",
]
REFUSED = {"Read-only file system", "Permission denied", "Operation not permitted"}


def content_of(folder: Path) -> dict[str, tuple[str, int, int]]:
    """Say what is in a folder: each file's hash, mode and time."""
    return {
        str(path.relative_to(folder)): (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
            path.lstat().st_mode,
            path.lstat().st_mtime_ns,
        )
        for path in sorted(folder.rglob("*"))
    }


def with_a_cache(arena: Arena) -> Path:
    """Write a recipe with a requirement that is installed already, as it is for every recipe but the first."""
    pin = f"cached==1.0 \\\n    --hash=sha256:{'0' * 64}\n"
    lock = f'# requirements: ["cached==1.0"]\n{pin}'
    target = Layers(arena.state / "layers")._target
    layer = arena.state / "layers" / digest_of(canonical([lock, *target]))
    layer.mkdir(parents=True, exist_ok=True)
    (layer / "cached.py").write_text("VALUE = 'fine'\n")
    folder = arena.recipe(POISON, args={"folders": OTHERS_READ})
    recipe = (folder / "recipe.yaml").read_text()
    (folder / "recipe.yaml").write_text(
        recipe.replace("{name: hostile}", "{name: hostile, requirements: ['cached==1.0']}")
    )
    (folder / "recipe.lock").write_text(lock)
    return folder


def test_row_082_no_run_changes_what_others_read(attack: Attack, arena: Arena) -> None:
    """Requirements and packages are kept once for all runs that have them: who could change one would be in all."""
    folder = with_a_cache(arena)
    outputs_of(attack(folder))
    before = (content_of(arena.state / "layers"), content_of(arena.state / "packages"))

    found = outputs_of(attack(folder))

    assert {answer for answers in found["found"].values() for answer in answers.values()} <= REFUSED
    assert found["value"] == "fine"
    assert (content_of(arena.state / "layers"), content_of(arena.state / "packages")) == before


class Names:
    """Notes what is leased to a run while it goes on."""

    def __init__(self) -> None:
        self.run_id = ""
        self.uids: set[int] = set()

    def on_event(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, RunStarted):
            self.run_id = event.run_id
        else:
            held = Leases(leases_folder()).held()
            self.uids |= {lease.uid for lease in held if run_of(lease.cell) == self.run_id}


@pytest.mark.slow
def test_row_083_runs_that_start_in_one_moment_share_no_name_and_no_uid(arena: Arena) -> None:
    """Sixteen at once, and none waits for another's."""
    folder = arena.recipe(
        'import os\ndef run(context, params):\n    return {"uid": os.getuid(), "files": os.listdir("/tmp")}'
    )
    together = threading.Barrier(16)

    def once(_: int) -> tuple[str, int, set[int]]:
        names = Names()
        together.wait()
        result = arena.controller.run(folder, policy=arena.policy({"memory": "64MiB"}), watcher=names)
        outputs = outputs_of(result)
        assert outputs["files"] == []
        return result.run_id, outputs["uid"], names.uids

    with ThreadPoolExecutor(16) as threads:
        seen = [*threads.map(once, range(16))]

    assert len({run_id for run_id, _, _ in seen}) == 16
    assert len({uid for _, uid, _ in seen}) == 16
    assert all(uids == {uid} for _, uid, uids in seen)


def test_row_083_a_hundred_leases_of_one_moment_are_a_hundred_uids(tmp_path: Path) -> None:
    """The files decide, not a counter that two could read."""
    leases = Leases(tmp_path / "uids")
    together = threading.Barrier(100)

    def take(number: int) -> int:
        together.wait()
        return leases.take(f"isolation-run-{number}")

    with ThreadPoolExecutor(100) as threads:
        uids = [*threads.map(take, range(100))]

    assert len({*uids}) == 100
    assert {lease.uid for lease in leases.held()} == {*uids}
