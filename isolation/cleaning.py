"""Takes away what a controller that died left behind, and nothing that belongs to a living one or to another folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from isolation.clock import timestamp
from isolation.errors import RunNotFoundError
from isolation.sandbox.cell import run_of
from isolation.sandbox.counters import leftover_groups, remove_leftover

if TYPE_CHECKING:
    from collections.abc import Iterable

    from isolation.clock import Clock
    from isolation.sandbox.engine import Engine
    from isolation.sandbox.leases import Leases
    from isolation.stores import Stores


@dataclass(frozen=True, kw_only=True, slots=True)
class Cleaned:
    """What was (or, in a dry run, would be) taken away; cells are named ``isolation-<run>-<attempt>``."""

    runs: tuple[str, ...] = ()
    """Runs whose controller died: now recorded as abandoned."""
    containers: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    uids: tuple[int, ...] = ()
    slots: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return any((self.runs, self.containers, self.groups, self.uids, self.slots))


def clean(stores: Stores, engine: Engine, leases: Leases, clock: Clock, *, dry_run: bool = False) -> Cleaned:
    """
    Find what is left of runs that nobody runs any more, and take it away unless ``dry_run``.

    The order is that of a cell's own end: containers first, uids when they are proven gone, the record last.
    """
    orphans = stores.ledger.orphans()
    ended = _Ended(stores, orphans)
    containers = [found for found in engine.leftovers() if found.state == stores.name and found.run_id in ended]
    cleaned = Cleaned(
        runs=orphans,
        containers=tuple(found.container_id for found in containers),
        groups=ended.cells(leftover_groups()),
        uids=tuple(uid for uid, cell in leases.held() if run_of(cell) in ended),
        slots=ended.cells(stores.slots.names()),
    )
    if not dry_run:
        for container_id in cleaned.containers:
            engine.remove(container_id)
        for cell in cleaned.groups:
            remove_leftover(cell)
        for uid in cleaned.uids:
            leases.release(uid)
        for cell in cleaned.slots:
            stores.slots.remove(cell)
        for run_id in orphans:
            stores.ledger.abandon(run_id, timestamp(clock.now()))
    return cleaned


class _Ended:
    """The runs of this state folder that have ended or lost their controller."""

    def __init__(self, stores: Stores, orphans: Iterable[str]) -> None:
        self._stores = stores
        self._known: dict[str, bool] = dict.fromkeys(orphans, True)

    def __contains__(self, run_id: str) -> bool:
        if run_id not in self._known:
            self._known[run_id] = self._has_ended(run_id)
        return self._known[run_id]

    def cells(self, names: Iterable[str]) -> tuple[str, ...]:
        return tuple(name for name in names if run_of(name) in self)

    def _has_ended(self, run_id: str) -> bool:
        try:
            summary = self._stores.ledger.summary(run_id)
        except RunNotFoundError:
            return False
        return summary.run_id == run_id and summary.state != "running"
