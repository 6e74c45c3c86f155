"""
What confines a standing cell, seen from three sides, against what the policy asks.

::

    engine   its record of the container (inspect)
    host     /proc/<pid> of its first process, and the files of its cgroup
    cell     the runner's greeting: its own /proc, and system calls that must be refused

What must be is written down here, from the policy and from constants; never taken from what the engine was sent.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isolation.model.attestation import Attestation, Fact
from isolation.sandbox.attestation import mounts as mounting
from isolation.sandbox.attestation import record
from isolation.sandbox.attestation.expected import Expected
from isolation.sandbox.attestation.process import (
    NAMESPACES,
    Process,
    describe,
    kernel_folders,
    namespaces_of,
    read_again,
    read_process,
)
from isolation.sandbox.attestation.record import pid_of
from isolation.sandbox.programs import identity_of
from isolation.sandbox.runtimes import GVISOR

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping, Sequence

    from isolation.model.attestation import Verdict, View
    from isolation.model.policy import Policy
    from isolation.sandbox.engine import EngineFacts
    from isolation.sandbox.frames import CellView

_ELSEWHERE = "the engine's processes cannot be seen from here"
_NO_RIGHTS = "this user may not read it"
_NO_GROUP = "its cgroup cannot be read from here"
_NOT_TOLD = "the runner did not tell"


_LONGEST_START_S = 60
_WHY = {
    "own namespaces": _ELSEWHERE,
    "program": "the program of this runtime does not tell its name here",
    "names of the host": "only root can lay its folders out under other names",
}
"""Reasons that belong to a fact, whoever tells of it."""


_CHANGED = {"mounts", "names of the host"}
"""What becomes of an idle cell when it is claimed: its runner's greeting tells of it as it was before."""

_BORN_WITH = {
    "limits of a process", "environment", "devices", "interfaces", "out-of-memory score", "security module",
    "command", "closed to its steps", "program",
}  # fmt: skip
"""What nobody changes from outside, and an idle cell's runner, which has met nothing foreign yet, does not either."""


@dataclass(frozen=True, kw_only=True)
class Idle:
    """
    How an idle cell was found before a run claimed it.

    ``inspected`` is the engine's record of then; ``folders`` are the names in folders of its kernel.
    """

    facts: tuple[Fact, ...]
    inspected: Mapping[str, Any]
    folders: Mapping[str, list[str]]

    @classmethod
    def of(cls, cell: Standing, found: Attestation, proc: Path = Path("/proc")) -> Idle:
        """Keep how a cell was found, for the run that will claim it."""
        facts = tuple(replace(fact, early=True) for fact in found.facts)
        return cls(facts=facts, inspected=cell.inspected, folders=kernel_folders(proc / str(pid_of(cell.inspected))))

    def seen(self, view: View, *, but: Container[str] = ()) -> Iterator[Fact]:
        """Yield what one view showed then."""
        yield from (fact for fact in self.facts if fact.view == view and fact.name not in but)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """
    A standing cell, as its attestation needs it.

    ``body`` is the create body that the engine was sent, ``own`` are the targets of our own mounts. ``idle`` is how it
    was found before it was claimed, None where it was made for its run.
    """

    policy: Policy
    uid: int
    body: Mapping[str, Any]
    inspected: Mapping[str, Any]
    view: CellView | None
    own: Sequence[str]
    in_force: Mapping[str, str] | None
    """Limits by the files of its cgroup; None where they cannot be read."""
    nameless: bool
    """Whether its mounts were made so that they do not tell where on the host they lie."""
    idle: Idle | None = None


def attest(cell: Standing, engine: EngineFacts, *, local: bool, proc: Path = Path("/proc")) -> Attestation:
    """Look at the cell from all sides. Never raises for what it finds or cannot find: that is what facts are for."""
    parent = cell.body["HostConfig"].get("CgroupParent")
    expected = Expected.of(cell.policy, uid=cell.uid, engine=engine, parent=parent, own=cell.own)
    pid = pid_of(cell.inspected) if local else None
    host = _host_view(cell, expected, pid, proc)
    early = _born_with(cell.idle) if host and cell.idle is not None else {}
    if host and "program" in expected.host and cell.idle is None:
        host |= _program(engine.programs.get(cell.policy.runtime, ()))
    why = _ELSEWHERE if pid is None or not host else _NO_RIGHTS
    facts = [
        *_engine_facts(cell),
        *_facts("host", _from_outside(cell, expected), early | host, why, early),
        *_facts("host", expected.in_force, cell.in_force or {}, _NO_GROUP),
        *_cell_facts(cell, expected, pid is not None, proc),
    ]
    return Attestation(runtime=cell.policy.runtime, facts=tuple(facts), cell="new" if cell.idle is None else "warm")


def _born_with(idle: Idle) -> dict[str, str]:
    return {fact.name: fact.found for fact in idle.seen("host") if fact.name in _BORN_WITH and fact.found}


def _from_outside(cell: Standing, expected: Expected) -> Mapping[str, str]:
    """Return what the host must see; what changed since the runner looked is seen from outside alone."""
    return expected.host if cell.idle is None else {**expected.host, "names of the host": "none"}


def _cell_facts(cell: Standing, expected: Expected, local: bool, proc: Path) -> Iterator[Fact]:  # noqa: FBT001 - a fact
    if cell.idle is None:
        yield from _facts("cell", expected.cell, _cell_view(cell, expected, local, proc), _NOT_TOLD)
    else:
        yield from cell.idle.seen("cell", but=_CHANGED)


def _engine_facts(cell: Standing) -> Iterator[Fact]:
    if cell.idle is not None and cell.inspected is cell.idle.inspected:  # a claim has asked the engine for nothing
        yield from cell.idle.seen("engine")
    else:
        found = {"record": record.differences(cell.inspected, cell.body)}
        yield from _facts("engine", {"record": record.AS_ASKED}, found, "")


def _host_view(cell: Standing, expected: Expected, pid: int | None, proc: Path) -> dict[str, str]:
    if pid is None:
        return {}
    home = proc / str(pid)
    process = read_process(home) if cell.idle is None else read_again(home, cell.idle.folders)
    if cell.inspected.get("Id", "") not in process.texts.get("cgroup", ""):  # another process of that number
        return {}
    described = describe(process) | _mounts(process, expected)
    described |= _own_namespaces(process.namespaces, namespaces_of(proc / "self"))
    if cell.idle is None:
        described |= {"command": _command(home), "closed to its steps": _owner_of_memory(home)}
    if cell.nameless and process.mounts is not None:
        described["names of the host"] = mounting.names_of_the_host(process.mounts, cell.own)
    if cell.policy.runtime == GVISOR:  # none stands ready under it
        described["command"] = described["command"].partition(" ")[0]
        described["root of the sandbox"] = _root(process)
    described["cgroup"] = _group(process.texts["cgroup"], cell.body["HostConfig"].get("CgroupParent"))
    return {name: text for name, text in described.items() if text}


def _cell_view(cell: Standing, expected: Expected, local: bool, proc: Path) -> dict[str, str]:  # noqa: FBT001 - a fact
    view = cell.view
    if view is None:
        return {}
    process = Process(
        texts=view.texts,
        namespaces=view.namespaces,
        folders=view.folders,
        environment=view.environment,
        rlimits=view.rlimits,
    )
    described = describe(process) | _mounts(process, expected)
    if local:
        described |= _own_namespaces(process.namespaces, namespaces_of(proc / "self"))
    described["descriptors"] = " ".join(sorted(view.descriptors, key=lambda name: (len(name), name)))
    if cell.nameless and process.mounts is not None:
        described["names of the host"] = mounting.names_of_the_host(process.mounts, cell.own)
    described["own cgroup"] = " ".join(sorted({line.split(":", 2)[-1] for line in _lines(process, "cgroup")}))
    described["clock"] = _clock(view.clock, cell.policy.determinism.clock_at_s)
    described["time zone"] = view.time_zone or "unknown"
    return described | {f"call {name}": answer for name, answer in view.calls.items()}


def _clock(readings: Sequence[float], wanted_s: int) -> str:
    """Describe a clock by two readings, some system calls apart, not long after the cell was started."""
    first, second = readings
    if first == second:
        return f"frozen at {first:.0f}"
    return f"set at {wanted_s}" if wanted_s <= first < wanted_s + _LONGEST_START_S else f"going, at {first:.0f}"


def _mounts(process: Process, expected: Expected) -> dict[str, str]:
    if process.mounts is None or not process.folders.get("/proc"):
        return {}
    held = mounting.differences(process.mounts, expected.mounts, process.folders, covered=expected.covered)
    return {"mounts": held}


def _program(command: Sequence[str]) -> dict[str, str]:
    """Have the program that the engine starts for this runtime tell its own name."""
    path = shutil.which(command[0]) if command else None
    name = identity_of(path).partition(" ")[0] if path else ""
    return {"program": name} if name else {}


def _root(process: Process) -> str:
    """Describe what the sandbox's own process has for files."""
    found = process.mounts or ()
    empty = [(mount.target, mount.kind) for mount in found] == [("/", "tmpfs")]
    return "empty and read-only" if empty and "ro" in found[0].flags else f"{len(found)} mounts"


def _own_namespaces(of_the_cell: Mapping[str, str], ours: Mapping[str, str]) -> dict[str, str]:
    if not {*NAMESPACES} <= {*of_the_cell} & {*ours}:
        return {}
    own = [name for name in sorted(of_the_cell) if of_the_cell[name] != ours[name]]
    return {"own namespaces": " ".join(own) or "none"}


def _command(home: Path) -> str:
    try:
        return (home / "cmdline").read_text(encoding="utf-8").strip("\0").replace("\0", " ")
    except OSError:
        return ""


def _owner_of_memory(home: Path) -> str:
    """Tell whether the runner hides from others of its uid: then its entries in /proc are root's, proc(5)."""
    try:
        return "yes" if (home / "mem").stat().st_uid == 0 else "no"
    except OSError:
        return ""


def _group(text: str, parent: str | None) -> str:
    # An engine with v1 leaves the unified hierarchy alone, or not; no limit stands in it.
    told = [line.split(":", 2) for line in text.splitlines()]
    paths = {path for _, controllers, path in told if controllers or len(told) == 1}
    if parent is None:
        return "the engine's"
    inside = all(f"{parent}/" in f"{path}/" for path in paths)
    return "the run's own" if inside else " ".join(sorted(paths))


def _lines(process: Process, name: str) -> list[str]:
    return process.texts.get(name, "").splitlines()


def _facts(
    view: View, expected: Mapping[str, str], found: Mapping[str, str], why: str, early: Container[str] = ()
) -> Iterator[Fact]:
    for name, wanted in expected.items():
        seen = found.get(name)
        if seen is None:
            yield Fact(name=name, view=view, verdict="unverified", expected=wanted, why=_WHY.get(name, why))
        else:
            verdict: Verdict = "held" if seen == wanted else "mismatch"
            yield Fact(name=name, view=view, verdict=verdict, expected=wanted, found=seen, early=name in early)
