"""The engine itself: how old it is, what it warns of, what becomes of runs when it restarts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isolation.sandbox.cells import limit_lost_by
from isolation.sandbox.doctor.check import Check
from isolation.sandbox.doctor.holes import HOLES_MEAN, holes_of, numbers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from isolation.errors import EngineError
    from isolation.sandbox.doctor.check import Host
    from isolation.sandbox.engine import EngineFacts

_OLDEST = (20, 10)


def no_engine(error: EngineError) -> Check:
    """Say that no engine answers, in its own words."""
    return Check(subject="engine", name="engine", status="missing", found=error.sentence, mend=error.hint)


def check_engine(address: str, facts: EngineFacts, components: Mapping[str, str], host: Host) -> Iterator[Check]:
    """Look at an engine that answers."""
    yield Check(subject="engine", name="engine", status="ok", found=address, meaning="answers")
    yield _version(facts)
    containerd = components.get("containerd")
    if containerd:
        yield Check(subject="engine", name="containerd", status="ok", found=containerd)
    yield _kernel(facts, host)
    yield _restart(facts)
    yield from map(_warning, facts.warnings)


def _version(facts: EngineFacts) -> Check:
    found = numbers(facts.version)
    if found is not None and found < _OLDEST:
        return Check(
            subject="engine",
            name="engine version",
            status="missing",
            found=facts.version,
            wanted="20.10 or later",
            meaning="too old",
            mend="Install Docker Engine 20.10 or later.",
        )
    holes = holes_of("engine", facts.version)
    return Check(
        subject="engine",
        name="engine version",
        status="warning" if holes else "ok",
        found=f"{facts.name} {facts.version}",
        meaning=HOLES_MEAN if holes else "",
        mend="Upgrade to Docker Engine 29.5.1 or later." if holes else "",
        holes=holes,
    )


def _kernel(facts: EngineFacts, host: Host) -> Check:
    if facts.kernel == host.kernel:
        return Check(subject="engine", name="kernel", status="ok", found=facts.kernel, meaning="this host's own")
    return Check(
        subject="engine",
        name="kernel",
        status="warning",
        found=facts.kernel or "not told",
        wanted=host.kernel,
        meaning="the engine runs on another machine: usage is sampled, and some of a cell's confinement is unverified",
        mend="Run recipes on the engine's own host where that matters.",
    )


def _restart(facts: EngineFacts) -> Check:
    return Check(
        subject="engine",
        name="live restore",
        status="ok",
        found="on" if facts.live_restore else "off",
        meaning="runs do not outlive the engine: they are `lost`, and retried where their policy says so",
    )


def _warning(warning: str) -> Check:
    """Pass on what the engine warns of; a limit that it cannot hold refuses every policy."""
    limit = limit_lost_by(warning)
    return Check(
        subject="engine",
        name="engine warns",
        status="missing" if limit else "warning",
        found=warning,
        meaning=f"{limit} cannot be held, so every policy is refused" if limit else "",
        mend="Boot the kernel with what it lacks (swap: `swapaccount=1`)." if limit else "",
    )
