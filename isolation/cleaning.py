"""Takes away what a controller that died left behind, and nothing that a living one may still use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from isolation.clock import timestamp
from isolation.owner import Owner, is_gone
from isolation.sandbox.groups.make import leftover_groups, remove_leftover
from isolation.sandbox.stage import Stage, staged

if TYPE_CHECKING:
    from isolation.clock import Clock
    from isolation.sandbox.engine import Engine
    from isolation.sandbox.leases import Leases
    from isolation.stores import Stores


@dataclass(frozen=True, kw_only=True, slots=True)
class Cleaned:
    """What was (or, in a dry run, would be) taken away; cells are named ``isolation-<run>-<attempt>``."""

    runs: tuple[str, ...] = ()
    """Runs whose controller died: now abandoned, or in the queue again where they came from there."""
    containers: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    uids: tuple[int, ...] = ()
    stages: tuple[int, ...] = ()
    """Folders laid out for a cell, by its uid."""
    uploads: tuple[str, ...] = ()
    """Blobs that were brought to a server a day ago, and are in no package."""

    def __bool__(self) -> bool:
        return any((self.runs, self.containers, self.groups, self.uids, self.stages, self.uploads))


def clean(stores: Stores, engine: Engine, leases: Leases, clock: Clock, *, dry_run: bool = False) -> Cleaned:
    """
    Find what is left of cells whose process is surely gone, and take it away unless ``dry_run``.

    The order is that of a cell's own end: containers first, uids when they are proven gone, the record last.
    """
    with leases.alone():
        return _clean(stores, engine, leases, clock, dry_run=dry_run)


def _clean(stores: Stores, engine: Engine, leases: Leases, clock: Clock, *, dry_run: bool) -> Cleaned:
    groups, stages = leftover_groups(), [*staged(leases.stages)]  # before the leases: each cell has its lease first
    held, gone = leases.held(), stores.presence.gone()
    stale = [lease for lease in held if lease.owner is None or is_gone(lease.owner)]
    alive = [lease for lease in held if lease not in stale]
    living = {lease.cell for lease in alive}
    if not dry_run:
        for lease in stale:
            if lease.owner is not None:  # else the rest of it may be damaged, too
                engine.settle(lease.cell)
    cleaned = Cleaned(
        runs=tuple(run_id for dead in gone for run_id in stores.presence.runs_of(dead)),
        containers=tuple(found.container_id for found in engine.leftovers() if _is_orphan(found.owner)),
        groups=tuple(cell for cell in groups if cell not in living),
        uids=tuple(lease.uid for lease in stale),
        stages=tuple(uid for uid in stages if uid not in {lease.uid for lease in alive}),
        uploads=stores.remove_expired(timestamp(clock.now()), dry_run=dry_run),
    )
    if not dry_run:
        _take_away(cleaned, engine, leases)
        stores.sweep()
        for dead in gone:
            stores.presence.bury(dead, timestamp(clock.now()))
    return cleaned


def _take_away(cleaned: Cleaned, engine: Engine, leases: Leases) -> None:
    for container_id in cleaned.containers:
        engine.remove(container_id)
    for cell in cleaned.groups:
        remove_leftover(cell)
    for uid in cleaned.stages:
        Stage(leases.stages / str(uid)).strike()
    for uid in cleaned.uids:
        leases.release(uid)


def _is_orphan(label: str) -> bool:
    owner = Owner.read(label)
    return owner is not None and is_gone(owner)
