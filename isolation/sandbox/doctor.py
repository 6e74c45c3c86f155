"""Examines this host: what a cell needs, what is there, what it means, and what to do."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from isolation.errors import EngineError
from isolation.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from isolation.sandbox.engine import EngineFacts

INPUTS_LABEL = "isolation.inputs"
_PROJECT = Path(__file__).resolve().parents[2]
_OLDEST_ENGINE = (20, 10)
_ENOUGH_FREE_BYTES = 2**30
_LEAST_FREE_BYTES = 64 * 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One thing that was looked at. ``mend`` says what to do; empty if nothing."""

    name: str
    status: Literal["ok", "warning", "missing"]
    found: str
    meaning: str = ""
    mend: str = ""


class Patient(Protocol):
    """What the doctor asks of an engine."""

    address: str

    def facts(self) -> EngineFacts:
        """Describe the engine."""

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
    project: Path = _PROJECT
    is_root: bool = False


def examine(*, engine_address: str | None, image: str, state: Path) -> tuple[Check, ...]:
    """Examine this host, the engine at the address, and the state folder; never raises for what it finds."""
    from isolation.sandbox.docker_engine import DockerEngine  # noqa: PLC0415 - slow to import

    host = Host(is_root=os.geteuid() == 0)
    return examine_with(lambda: DockerEngine(engine_address), host, image=image, state=state)


def examine_with(connect: Callable[[], Patient], host: Host, *, image: str, state: Path) -> tuple[Check, ...]:
    """Examine a host and an engine that are given."""
    return (_python(), *_engine(connect, host, image), *_kernel(host), _state(state), _uv())


def source_digest(project: Path) -> str | None:
    """Compute the digest of the runner image's sources as scripts/image does; None where they are not there."""
    if not (project / "Dockerfile").is_file() or not (project / "runner_image").is_dir():
        return None
    paths = [project / "Dockerfile", project / "isolation" / "contract.py"]
    paths += [
        path
        for path in (project / "runner_image").rglob("*")
        if path.is_file() and not path.is_symlink() and path.suffix != ".pyc" and "__pycache__" not in path.parts
    ]
    names = sorted(os.fsencode(path.relative_to(project)) for path in paths)
    lines = [_digest((project / os.fsdecode(name)).read_bytes()).encode() + b"  " + name + b"\n" for name in names]
    return _digest(b"".join(lines))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _python() -> Check:
    return Check(name="Python", status="ok", found=platform.python_version(), meaning=sys.executable)


def _engine(connect: Callable[[], Patient], host: Host, image: str) -> list[Check]:
    try:
        engine = connect()
        facts = engine.facts()
    except EngineError as error:
        return [Check(name="engine", status="missing", found=error.sentence, mend=error.hint)]
    return [
        Check(name="engine", status="ok", found=engine.address, meaning="answers"),
        _version(facts),
        _runtimes(facts),
        _image(engine, image, host.project),
        Check(
            name="cgroup",
            status="ok" if facts.cgroup_driver != "none" else "missing",
            found=f"v{facts.cgroup_version}, {facts.cgroup_driver} driver",
            meaning="limits hold in the kernel" if facts.cgroup_driver != "none" else "no limit can hold",
            mend=""
            if facts.cgroup_driver != "none"
            else "Give the engine a cgroup driver (rootless: cgroup v2, systemd).",
        ),
        _groups(facts, host),
        _seccomp(facts),
        _security_modules(facts),
        *(Check(name="engine warns", status="warning", found=warning) for warning in facts.warnings),
    ]


def _version(facts: EngineFacts) -> Check:
    parts = facts.version.split(".")
    known = tuple(int(part) for part in parts[:2] if part.isdigit())
    if known and known < _OLDEST_ENGINE:
        mend = "Install Docker Engine 20.10 or later."
        return Check(name="engine version", status="missing", found=facts.version, meaning="too old", mend=mend)
    return Check(name="engine version", status="ok", found=f"{facts.name} {facts.version}")


def _runtimes(facts: EngineFacts) -> Check:
    names = [name for name in facts.runtimes if "." not in name]
    sandboxed = "runsc" in names
    return Check(
        name="runtimes",
        status="ok" if names else "missing",
        found=", ".join(names) or "none",
        meaning="gVisor is there" if sandboxed else "no gVisor: policies with runtime runsc are refused",
    )


def _image(engine: Patient, image: str, project: Path) -> Check:
    try:
        image_id = engine.image_id(image)
        built_from = engine.image_labels(image).get(INPUTS_LABEL)
    except EngineError as error:
        return Check(name="runner image", status="missing", found=error.sentence, mend=error.hint)
    short = image_id.removeprefix("sha256:")[:12]
    wanted = source_digest(project)
    if wanted is not None and built_from != wanted:
        return Check(
            name="runner image",
            status="warning",
            found=f"{image} {short}",
            meaning="built from other sources than the ones here",
            mend="Build it again with scripts/image.",
        )
    return Check(
        name="runner image", status="ok", found=f"{image} {short}", meaning="of these sources" if wanted else ""
    )


def _groups(facts: EngineFacts, host: Host) -> Check:
    root = host.cgroup / "memory" if facts.cgroup_version == 1 else host.cgroup
    if host.is_root and os.access(root, os.W_OK):
        return Check(
            name="cgroups of our own", status="ok", found="root, writable", meaning="usage is exact after the end"
        )
    why = f"{root} is not writable" if host.is_root else "not root"
    return Check(
        name="cgroups of our own",
        status="warning",
        found=why,
        meaning="usage is sampled through the engine, the last moments may be missing",
        mend="Run as root where exact usage matters; limits hold either way.",
    )


def _seccomp(facts: EngineFacts) -> Check:
    if any("seccomp" in option for option in facts.security):
        return Check(name="seccomp", status="ok", found="there", meaning="system calls are filtered")
    mend = "Use a kernel and an engine that are built with seccomp."
    return Check(name="seccomp", status="missing", found="not there", meaning="no recipe runs without it", mend=mend)


def _security_modules(facts: EngineFacts) -> Check:
    found = [name for name in ("apparmor", "selinux") if any(name in option for option in facts.security)]
    if found:
        return Check(name="security module", status="ok", found=", ".join(found))
    return Check(
        name="security module",
        status="warning",
        found="none",
        meaning="one line of defence less: neither AppArmor nor SELinux confines containers",
        mend="Enable AppArmor or SELinux in the kernel, and in the engine.",
    )


def _kernel(host: Host) -> list[Check]:
    return [_user_namespaces(host), _swap(host)]


def _user_namespaces(host: Host) -> Check:
    limit = _read(host.proc / "sys/user/max_user_namespaces")
    clone = _read(host.proc / "sys/kernel/unprivileged_userns_clone")
    closed = limit == "0" or clone == "0"
    found = "closed to users" if closed else "open to users" if limit or clone else "not told"
    return Check(name="user namespaces", status="ok", found=found, meaning="cells cannot make any: seccomp refuses it")


def _swap(host: Host) -> Check:
    for line in _read(host.proc / "meminfo").splitlines():
        name, _, value = line.partition(":")
        if name == "SwapTotal":
            size = int(value.split()[0]) * 1024
            meaning = "cells may not use it: their memory limit counts it too" if size else ""
            return Check(name="swap", status="ok", found=format_bytes(size) if size else "none", meaning=meaning)
    return Check(name="swap", status="ok", found="not told")


def _state(state: Path) -> Check:
    folder = next(path for path in (state, *state.parents) if path.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        mend = "Give this user the right to write there, or choose another folder with --state."
        return Check(name="state folder", status="missing", found=str(state), meaning="not writable", mend=mend)
    free = shutil.disk_usage(folder).free
    status: Literal["ok", "warning", "missing"] = (
        "missing" if free < _LEAST_FREE_BYTES else "warning" if free < _ENOUGH_FREE_BYTES else "ok"
    )
    mend = "" if status == "ok" else "Free some space there, or choose another folder with --state."
    return Check(name="state folder", status=status, found=str(state), meaning=f"{format_bytes(free)} free", mend=mend)


def _uv() -> Check:
    try:
        from uv import find_uv_bin  # noqa: PLC0415 - only looked for here

        found: str | None = find_uv_bin()
    except (ImportError, FileNotFoundError):
        found = shutil.which("uv")
    if found:
        return Check(name="uv", status="ok", found=found, meaning="recipes may have requirements")
    return Check(
        name="uv",
        status="warning",
        found="not found",
        meaning="recipes with requirements are refused",
        mend="Install uv, beside this project's Python or on PATH.",
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
