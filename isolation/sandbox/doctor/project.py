"""What the project itself needs: Python, uv, the state folder, and an image of its own sources."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import sys
from typing import TYPE_CHECKING

from isolation.errors import EngineError
from isolation.sandbox.doctor.check import Check
from isolation.sandbox.doctor.holes import holes_of
from isolation.units import format_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from isolation.sandbox.doctor.check import Host, Patient, Status

INPUTS_LABEL = "isolation.inputs"
_ENOUGH_FREE_BYTES = 2**30
_LEAST_FREE_BYTES = 64 * 2**20
_OTHERS = 0o007


def check_python(host: Host) -> Check:
    """Look at the Python that runs us."""
    holes = holes_of("python", host.python)
    meaning = "has known holes; none is reached by a recipe" if holes else sys.executable
    return Check(
        subject="project",
        name="Python",
        status="advice" if holes else "ok",
        found=host.python,
        meaning=meaning,
        mend="Upgrade to Python 3.11.17 or later." if holes else "",
        holes=holes,
    )


def check_uv(host: Host) -> Check:
    """Look for what resolves the requirements of recipes."""
    try:
        from uv import find_uv_bin  # noqa: PLC0415 - only looked for here

        found: str | None = find_uv_bin()
    except (ImportError, FileNotFoundError):
        found = host.program("uv")
    if found:
        return Check(subject="project", name="uv", status="ok", found=found, meaning="recipes may have requirements")
    return Check(
        subject="project",
        name="uv",
        status="warning",
        found="not found",
        meaning="recipes with requirements are refused",
        mend="Install uv, beside this project's Python or on PATH.",
        command=f"{shlex.quote(sys.executable)} -m pip install uv",
    )


def check_state(state: Path) -> Check:
    """Look at the folder in which everything is kept."""
    folder = next(path for path in (state, *state.parents) if os.path.exists(path))  # noqa: PTH110 - never raises
    if not os.access(folder, os.W_OK | os.X_OK) or not folder.is_dir():
        return Check(
            subject="project",
            name="state folder",
            status="missing",
            found=str(state),
            meaning="not writable",
            mend="Give this user the right to write there, or choose another folder with --state.",
        )
    free = shutil.disk_usage(folder).free
    status: Status = "missing" if free < _LEAST_FREE_BYTES else "warning" if free < _ENOUGH_FREE_BYTES else "ok"
    if status == "ok" and folder == state and folder.stat().st_mode & _OTHERS:
        return Check(
            subject="project",
            name="state folder",
            status="warning",
            found=str(state),
            meaning="every user of this host can look into it",
            mend="Keep it to the user who runs recipes.",
            command=f"chmod 700 {shlex.quote(str(state))}",
        )
    return Check(
        subject="project",
        name="state folder",
        status=status,
        found=str(state),
        meaning=f"{format_bytes(free)} free",
        mend="" if status == "ok" else "Free some space there, or choose another folder with --state.",
    )


def check_image(engine: Patient, image: str, project: Path) -> Check:
    """Look for the runner image, and whether it was built from the sources beside us."""
    try:
        image_id = engine.image_id(image)
        built_from = engine.image_labels(image).get(INPUTS_LABEL)
    except EngineError as error:
        return Check(
            subject="project", name="runner image", status="missing", found=error.sentence, mend=error.hint,
            command="scripts/image",
        )  # fmt: skip
    found = f"{image} {image_id.removeprefix('sha256:')[:12]}"
    wanted = source_digest(project)
    if wanted is not None and built_from != wanted:
        return Check(
            subject="project",
            name="runner image",
            status="warning",
            found=found,
            meaning="built from other sources than the ones here",
            mend="Build it again.",
            command="scripts/image",
        )
    meaning = "of these sources" if wanted else ""
    return Check(subject="project", name="runner image", status="ok", found=found, meaning=meaning)


def source_digest(project: Path) -> str | None:
    """Compute the digest of the runner image's sources as scripts/image does; None where they are not there."""
    if not (project / "Dockerfile").is_file() or not (project / ".dockerignore").is_file():
        return None
    lines = (project / ".dockerignore").read_text(encoding="utf-8").splitlines()
    named = [project / line.removeprefix("!") for line in lines if line.startswith("!")]
    paths = [project / "Dockerfile", *(path for path in named if path.is_file())]
    paths += [
        path
        for folder in named
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and path.suffix != ".pyc" and "__pycache__" not in path.parts
    ]
    names = sorted(os.fsencode(path.relative_to(project)) for path in paths)
    sums = [_digest((project / os.fsdecode(name)).read_bytes()).encode() + b"  " + name + b"\n" for name in names]
    return _digest(b"".join(sums))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
