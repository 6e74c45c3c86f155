"""Rows 76 to 78: secrets of the image, inputs of others, and what an error tells."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from isolation.model.determinism import Determinism
from isolation.sandbox.hardening import environment
from isolation.sandbox.leases import Leases, leases_folder
from isolation.settings import Settings
from tests.hostile.kit import outputs_of

if TYPE_CHECKING:
    from tests.hostile.conftest import Attack
    from tests.hostile.kit import Arena

pytestmark = pytest.mark.engine

SECRETIVE = re.compile(
    rb"(?i)(password|passwd|secret|token|api_?key)\s*=|https?://[^/\s]+:[^/\s]+@|BEGIN [A-Z ]*PRIVATE KEY"
)
PRIVATE = re.compile(
    r"(^|/)(\.git|\.docker|\.netrc|\.ssh|\.pypirc|\.npmrc|\.aws|\.kube|pip\.conf|auth\.conf.*|id_[a-z0-9]+)(/|$)"
)


def test_row_076_neither_the_images_history_nor_its_layers_hold_a_secret(arena: Arena) -> None:
    """What was once in a layer is there for whoever has the image, also where a later one hides it."""
    image = Settings(state=arena.state).image
    history = arena.client.history(image)  # type: ignore[no-untyped-call]
    config = arena.client.inspect_image(image)["Config"]  # type: ignore[no-untyped-call]

    assert not [one["CreatedBy"] for one in history if SECRETIVE.search(one["CreatedBy"].encode())]
    assert {*config["Env"]} <= {*environment(Determinism())}
    assert {*config["Labels"]} == {"isolation.inputs"}
    with tarfile.open(fileobj=io.BytesIO(b"".join(arena.client.get_image(image)))) as whole:
        files = [file for name in whole.getnames() if name.endswith(".tar") for file in files_of(whole, name)]
    assert len(files) > 500
    assert not [name for name, _ in files if PRIVATE.search(name)]
    assert not [
        name for name, content in files if name.startswith(("etc/", "opt/", "root/")) and SECRETIVE.search(content)
    ]
    for name, content in files:
        arena.secrets.check(content, name)


def files_of(whole: tarfile.TarFile, layer: str) -> list[tuple[str, bytes]]:
    with tarfile.open(fileobj=whole.extractfile(layer)) as archive:
        return [(one.name, read_of(archive, one)) for one in archive if one.isreg() or one.issym()]


def read_of(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member) if member.isreg() else None
    return file.read() if file else b""


STRANGER = 65_533
"""A user of the host who is nobody's friend."""

SIBLINGS = """
import os
def run(context, params):
    print("under way", flush=True)
    mounts = [line.split()[4] for line in open("/proc/self/mountinfo")]
    seen = {}
    for mount in mounts:
        for way in ("..", "../..", "../../..", "."):
            path = os.path.join(mount, way)
            seen[path] = sorted(os.listdir(path)) if os.path.isdir(path) and os.access(path, os.R_OK) else None
    guesses = [f"/run/isolation/cells/{uid}/in/snapshot.json" for uid in params["uids"]]
    guesses += [f"{top}/{run}" for top in params["tops"] for run in params["runs"]]
    guesses += [f"/proc/{pid}/root/in/snapshot.json" for pid in range(1, 3000) if pid != os.getpid()]
    found = [path for path in guesses if os.path.lexists(path)]
    return {"found": found, "seen": seen, "snapshot": open("/in/snapshot.json").read()}
"""


def test_row_077_the_inputs_of_another_cell_cannot_be_found_from_within(attack: Attack, arena: Arena) -> None:
    """Both run at once; the one knows the other's uid, its run, and where the controller keeps all."""
    second: list[dict[str, object]] = []
    stages = Leases(leases_folder()).stages

    def beside() -> None:
        guesses = {
            "uids": sorted(arena.last.uids),
            "runs": [arena.last.run_id, f"isolation-{arena.last.run_id}-1"],
            "tops": [str(stages), str(arena.state), f"{arena.state}/runs", f"{arena.state}/slots", "/in", "/package"],
        }
        second.append(outputs_of(arena.attack(SIBLINGS, args=guesses)))

    nobody: dict[str, list[str]] = {"uids": [], "runs": [], "tops": []}
    first = outputs_of(attack(SIBLINGS, args=nobody, context={"mine": "a word of the first"}, during=beside))

    assert "a word of the first" in str(first["snapshot"])
    assert "a word of the first" not in str(second[0])
    assert second[0]["found"] == []


def as_a_stranger(script: str, *arguments: str) -> str:
    """Run a few lines as another user of the host; returns what they print."""
    command = ["setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups", sys.executable, "-I", "-c"]
    done = subprocess.run([*command, script, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


READS = """
import os, sys
def read(path):
    try:
        return os.listdir(path) if os.path.isdir(path) else open(path).read()
    except OSError:
        return None
print([path for path in sys.argv[1:] if read(path) is not None])
"""


@pytest.mark.root
def test_row_077_no_other_user_of_the_host_can_read_what_a_run_has(attack: Attack, arena: Arena) -> None:
    """Neither what is laid out for its cell, however easy that is to guess, nor what is kept of it."""
    if os.geteuid() != 0:
        pytest.skip("only root may become somebody else")
    read: list[str] = []

    def look() -> None:
        (uid,) = arena.last.uids
        stage = Leases(leases_folder()).stages / str(uid)
        assert (stage / "in" / "snapshot.json").exists()
        paths = [stage.parent, stage, stage / "in", stage / "in/snapshot.json", stage / "package/work.py"]
        paths += [arena.state, arena.state / "isolation.db", arena.state / "runs" / arena.last.run_id]
        read.append(as_a_stranger(READS, *map(str, paths)))

    attack("def run(context, params):\n    print('under way', flush=True)", context={"mine": 1}, during=look)

    assert read == ["[]"]


COMMAND = str(Path(sys.executable).with_name("isolation"))
WRONG = {
    "a recipe": ("run", "{folder}/recipe.yaml", "--policy", "/etc/shadow"),
    "a folder that is none": ("run", "/etc/shadow/recipe.yaml"),
    "a binary": ("run", "/bin/sh"),
    "an engine": ("--engine", "tcp://127.0.0.1:9", "run", "{folder}"),
    "a value": ("run", "{folder}", "--set", "a=NaN"),
    "a run": ("show", "../../etc/passwd"),
    "a state folder": ("--state", "/proc/1/nowhere", "runs"),
    "a damaged state": ("--state", "{damaged}", "runs"),
}


@pytest.mark.parametrize("what", WRONG)
def test_row_078_an_error_tells_what_and_nothing_of_us(arena: Arena, tmp_path: Path, what: str) -> None:
    """A sentence, what to do, and a code: no trace of our calls, no path of our code, no secret of the environment."""
    folder = arena.recipe("def run(context, params): ...")
    (tmp_path / "isolation.db").write_bytes(b"SQLite format 3\0" + os.urandom(8192))
    given = [part.format(folder=folder, damaged=tmp_path) for part in WRONG[what]]
    done = subprocess.run([COMMAND, *given], capture_output=True, text=True, check=False)

    assert done.returncode in {2, 3, 4}, done.stderr
    assert done.stderr.startswith("isolation: ")
    assert "Traceback" not in done.stderr
    assert 'File "' not in done.stderr
    assert str(Path(__file__).parents[2] / "isolation") not in done.stderr
    assert len(done.stderr) < 1000
    arena.secrets.check((done.stdout + done.stderr).encode(), "an error")


def test_row_078_a_steps_traceback_shows_its_own_files_alone(attack: Attack) -> None:
    """Where our code calls it is of no use to its author."""
    result = attack("def run(context, params):\n    return {}[params['nothing']]")

    (error,) = result.errors
    files = re.findall(r'File "([^"]+)"', error.traceback)
    assert files == ["/package/work.py"]
