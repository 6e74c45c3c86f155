"""The runtimes that policies may name: which of them work here, and which of their versions have known holes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from isolation.sandbox.doctor.check import Check, read
from isolation.sandbox.doctor.holes import HOLES_MEAN, holes_of
from isolation.sandbox.programs import identity_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from isolation.sandbox.doctor.check import Host
    from isolation.sandbox.engine import EngineFacts

_FIXED_IN = {
    "runc": "runc 1.3.6, 1.4.3, 1.5.0 or later",
    "crun": "crun 1.30 or later",
    "runsc": "a gVisor of October 2026 or later",
}
_REGISTER = "scripts/runtimes"
_KEEPS_OUR_FILTER = {f"{dashes}oci-seccomp{value}" for dashes in ("-", "--") for value in ("", "=true")}


def check_runtimes(facts: EngineFacts, components: Mapping[str, str], host: Host) -> Iterator[Check]:
    """Look at each runtime that a policy may name."""
    for name in ("runc", "crun", "runsc"):
        if name not in facts.runtimes:
            yield _unknown(name)
        else:
            yield _registered(name, facts, components, host)


def _unknown(name: str) -> Check:
    meaning = f"policies with runtime {name} are refused"
    if name == "runsc":
        return Check(
            subject="runtimes",
            name="gVisor (runsc)",
            status="advice",
            found="not registered",
            meaning=f"{meaning}; it is a kernel of its own between a recipe and the host's",
            mend="Register it, for code that is likely to attack.",
            command=_REGISTER,
        )
    if name == "runc":
        mend = "Register it: every engine brings it, and it is what policies name when they say nothing."
        return Check(
            subject="runtimes", name=name, status="missing", found="not registered", meaning=meaning, mend=mend
        )
    return Check(subject="runtimes", name=name, status="ok", found="not registered", meaning=meaning)


def _registered(name: str, facts: EngineFacts, components: Mapping[str, str], host: Host) -> Check:
    title = "gVisor (runsc)" if name == "runsc" else name
    if facts.kernel != host.kernel:  # its programs do not lie here
        return _with_holes(title, name, components.get(name, "registered"), host)
    command = facts.programs.get(name) or (name,)
    program = host.program(command[0])
    told = identity_of(program) if program else ""
    trouble = _trouble(name, command, told, host)
    if trouble is None:
        return _with_holes(title, name, told.partition(" ")[2], host)
    return replace(
        trouble,
        name=title,
        status="missing" if name == "runc" else "warning",
        found=told or command[0],
        meaning=f"policies with runtime {name} are refused: {trouble.meaning}",
    )


def _trouble(name: str, command: tuple[str, ...], told: str, host: Host) -> Check | None:
    """Say what keeps a registered runtime from working; None if nothing is known to."""
    left = read(host.cgroup / "unified" / "cgroup.controllers")
    if not told:
        mend = f"Install it, or take it out of the engine's configuration and run {_REGISTER}."
        return _troubled("this program is not there, or does not tell its version", mend)
    if told.partition(" ")[0] != name:
        return _troubled("this is another", f"Take it out of the engine's configuration and run {_REGISTER}.")
    if name == "runsc" and not _KEEPS_OUR_FILTER & {*command}:
        mend = "Add --oci-seccomp to its runtimeArgs in the engine's configuration, and have the engine read that."
        return _troubled("without --oci-seccomp it drops our filter of system calls", mend)
    if name == "crun" and left:
        meaning = f"it starts nothing where cgroup version 2 has controllers ({left}) and version 1 the others"
        return replace(_troubled(meaning, "Mount them beside the others."), command=_REGISTER)
    return None


def _troubled(meaning: str, mend: str) -> Check:
    return Check(subject="runtimes", name="", status="warning", found="", meaning=meaning, mend=mend)


def _with_holes(title: str, name: str, version: str, host: Host) -> Check:
    holes = holes_of(name, version)
    changelog = host.documents / name / "changelog.Debian.gz"
    if not holes:
        return Check(subject="runtimes", name=title, status="ok", found=version)
    return Check(
        subject="runtimes",
        name=title,
        status="warning",
        found=version,
        meaning=HOLES_MEAN,
        mend=f"Upgrade to {_FIXED_IN[name]}.{' What the distribution mended:' if changelog.exists() else ''}",
        command=f"zgrep -o 'CVE-[0-9-]*' {changelog}" if changelog.exists() else "",
        holes=holes,
    )
