"""What the doctor finds, and whom it asks."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from isolation.sandbox.doctor.holes import Hole
    from isolation.sandbox.engine import EngineFacts

Subject = Literal["project", "engine", "runtimes", "limits", "walls"]
Status = Literal["ok", "advice", "warning", "missing"]
_PROJECT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """
    One thing that was looked at.

    ``missing``: no recipe runs without it. ``warning``: something does not hold, or is known to be weak. ``advice``: a
    second wall is not there; the first one holds. ``mend`` says what to do, ``command`` is what to paste for it,
    where one command does it. ``holes`` are those that this version may have.
    """

    subject: Subject
    name: str
    status: Status
    found: str
    wanted: str = ""
    meaning: str = ""
    mend: str = ""
    command: str = ""
    holes: tuple[Hole, ...] = ()


class Patient(Protocol):
    """What the doctor asks of an engine."""

    address: str

    def facts(self) -> EngineFacts:
        """Describe the engine."""

    def components(self) -> Mapping[str, str]:
        """Return the versions of what the engine is made of, by name."""

    def image_id(self, name: str) -> str:
        """Return the id of a local image. Raises ImageError where it is not there."""

    def image_labels(self, name: str) -> Mapping[str, str]:
        """Return the labels of a local image."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """The parts of a host that are looked at, so that a test can lay out another."""

    proc: Path = Path("/proc")
    cgroup: Path = Path("/sys/fs/cgroup")
    security: Path = Path("/sys/kernel/security")
    documents: Path = Path("/usr/share/doc")
    """Where Debian's packages keep their changelogs."""
    project: Path = _PROJECT
    path: str = field(default_factory=lambda: os.environ.get("PATH", os.defpath))
    """Where programs are looked for."""
    kernel: str = field(default_factory=platform.release)
    python: str = field(default_factory=platform.python_version)
    is_root: bool = False

    def program(self, name: str) -> str | None:
        """Find a program; None if it is not there, or must not be run by this user."""
        return shutil.which(name, path=self.path)

    def setting(self, name: str) -> str:
        """Read a setting of the kernel, such as ``kernel.kptr_restrict``; empty if this kernel has none."""
        return read(self.proc / "sys" / name.replace(".", "/"))


def read(path: Path) -> str:
    """Read a small file of the kernel's; empty if it is not there, or not for this user."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
