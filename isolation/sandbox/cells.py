"""Makes cells on one engine, sees whether it can hold what a policy asks, and takes back what could not be before."""

from __future__ import annotations

import contextlib
import os
import platform
import queue
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from isolation.clock import SystemClock
from isolation.errors import EngineError, UnenforceableError
from isolation.model.run import Engine as Ran
from isolation.sandbox.cell import Cell, idle_labels, idle_name
from isolation.sandbox.engine_counters import EngineGroup
from isolation.sandbox.groups.make import cap_all, cpus_for_runs, make_group
from isolation.sandbox.pool.kept import Kept
from isolation.sandbox.pool.pool import Pool
from isolation.sandbox.pool.shape import shape_of
from isolation.sandbox.runtimes import check_runtime, limits_on_host
from isolation.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from isolation.clock import Clock
    from isolation.model.attestation import Attestation
    from isolation.model.policy import Limits, Policy
    from isolation.sandbox.egress.folder import Egresses
    from isolation.sandbox.engine import Engine, EngineFacts
    from isolation.sandbox.frames import CellView
    from isolation.sandbox.groups.group import Group
    from isolation.sandbox.leases import Leases
    from isolation.sandbox.pool.borrow import Borrower
    from isolation.sandbox.pool.pool import Standing
    from isolation.sandbox.pool.shape import Shape
    from isolation.stopwatch import Stopwatch

_SETTLES_WITHIN_S = 60.0
MOST_BESIDE = 8
"""Cells that come at once; an engine makes more no sooner, and these threads stand as long as we do."""


class Cells:
    """Makes cells on one engine."""

    def __init__(
        self,
        engine: Engine,
        leases: Leases,
        *,
        local: bool,
        use_groups: bool = True,
        egresses: Egresses | None = None,
        most_idle: int = 0,
        clock: Clock | None = None,
        borrower: Borrower | None = None,
    ) -> None:
        """
        ``most_idle`` cells at most stand ready for runs that nobody asked for yet; 0: each is made for its run.

        ``borrower`` has those of another process, which are taken where there are none here.
        """
        self._engine = engine
        self._leases = leases
        self._local = local
        self._use_groups = use_groups
        self._egresses = egresses
        self._capped = False
        self._most_idle = most_idle
        self._clock = clock or SystemClock()
        self._borrower = borrower
        self._making = threading.Lock()
        self._kept: Kept | None = None  # made when it is needed, as the pool is: either knows us, and keeps us alive
        self._closed = False
        self._pool: Pool | None = None
        self._left: queue.SimpleQueue[Cell] = queue.SimpleQueue()
        self.beside = ThreadPoolExecutor(MOST_BESIDE, "beside a run")
        """Threads for what goes on beside a run's own: one that stands is there sooner than one that is made."""

    def check(self, policy: Policy) -> None:
        """Raise UnenforceableError for what this engine and this host cannot hold."""
        facts = self._engine.facts()
        limits = policy.limits
        check_runtime(policy, facts)
        self._check_network(policy)
        if policy.reuse == "package" and not self._fits():
            raise _unwatched(policy)
        if limits.cpus > facts.cpus:
            raise UnenforceableError(
                f"limits.cpus of policy {policy.name!r} is {limits.cpus:g}, but this host has {facts.cpus}",
                hint="Lower it: a limit above the host's own is none.",
            )
        if facts.memory_bytes and limits.memory_bytes > facts.memory_bytes:
            raise UnenforceableError(
                f"limits.memory of policy {policy.name!r} is {format_bytes(limits.memory_bytes)}, "
                f"but this host has {format_bytes(facts.memory_bytes)}",
                hint="Lower it: a limit above the host's own is none.",
            )
        if not any("seccomp" in option for option in facts.security):
            raise UnenforceableError(
                "this engine cannot filter system calls (seccomp)", hint="Use a kernel and an engine built with it."
            )
        for warning in facts.warnings:
            lacking = limit_lost_by(warning)
            if lacking:
                raise UnenforceableError(
                    f"{lacking} of policy {policy.name!r} cannot be held here: the engine says {warning!r}",
                    hint="`isolation doctor` shows what this host gives and lacks.",
                )

    def _check_network(self, policy: Policy) -> None:
        """Raise UnenforceableError where a cell could not reach our proxy: by a socket of this host's own kernel."""
        if policy.network.entries and (self._egresses is None or not self._is_here()):
            raise UnenforceableError(
                f"policy {policy.name!r} allows a network, which only an engine on this very host can give",
                hint="Run it where the engine is, or choose `network: none` in the policy.",
            )

    @property
    def pool(self) -> Pool | None:
        """The idle cells; None where there are none, be it that this process may not change what confines a cell."""
        if not self._most_idle or not self._fits():
            return None
        with self._making:
            if self._pool is None:
                self._pool = Pool(self._make_idle, self.take_back, most=self._most_idle, clock=self._clock)
            return self._pool

    def standing(self) -> Standing | None:
        """Count the pool's cells; None where there is none, or the engine is away."""
        with contextlib.suppress(EngineError):
            return self.pool.standing() if self.pool is not None else None
        return None

    def claim(
        self,
        name: str,
        policy: Policy,
        *,
        image_id: str,
        package: Path,
        layer: Path | None,
        labels: dict[str, str],
        watch: Stopwatch,
        base: Path | None = None,
        stays_for: Hashable | None = None,
    ) -> Cell:
        """
        Have a cell for a run: an idle one, fitted to it, or one of that name, made for it and started.

        ``stays_for`` names the runs that may share one: first of all, one that stayed is taken. Whatever fails, nothing
        of it is left that the engine lets us remove.
        """
        self.take_back_what_is_left()
        policy = self._as_held(policy)
        stayed = self._take_again(policy, stays_for, watch)
        if stayed is not None:
            return stayed
        with contextlib.suppress(EngineError):  # one that cannot be fitted is gone, and another is made
            if (idle := self._take_idle(policy, image_id, watch)) is not None:
                with self._undone(idle), watch.phase("claim"):
                    idle.fit(name, policy, package=package, layer=layer, base=base)
                return idle
        cell = self._cell(name)
        with self._undone(cell):
            with watch.phase("create"):
                cell.lease()
                group = self._group(name, limits_on_host(policy))
                if stays_for is not None and group.parent is None:
                    raise _unwatched(policy)
                cell.create(policy, group, image_id=image_id, package=package, layer=layer, base=base, labels=labels)
            with watch.phase("start"):
                cell.start()
        return cell

    def keeps(self, stays_for: Hashable) -> bool:
        """Tell whether a cell has stayed for these runs just now."""
        return self._kept is not None and self._kept.has(stays_for)

    def _take_again(self, policy: Policy, stays_for: Hashable | None, watch: Stopwatch) -> Cell | None:
        while stays_for is not None:
            with watch.phase("claim"):
                stayed = self._kept.take(stays_for) if self._kept is not None else None
                if stayed is None:
                    return None
                with contextlib.suppress(EngineError), self._undone(stayed):  # such a one is gone
                    stayed.begin_again(policy)
                    return stayed
        return None

    def expect(self, policy: Policy, image_id: str, count: int = 1) -> None:
        """Have so many cells made ready for runs of that policy; nothing where there is no pool."""
        shape = shape_of(policy, image_id)
        if shape is not None and self.pool is not None:
            self.pool.expect(shape, count)

    def _take_idle(self, policy: Policy, image_id: str, watch: Stopwatch) -> Cell | None:
        if self.pool is None and self._borrower is None:
            return None
        with watch.phase("claim"):
            return self.take_idle(policy, image_id)

    def take_idle(self, policy: Policy, image_id: str) -> Cell | None:
        """Take an idle cell for a run of that policy, which is then the caller's; None if there is none just now."""
        shape = shape_of(policy, image_id)
        if shape is None or not self._fits():
            return None
        if self.pool is not None:
            return self.pool.take(shape)
        return self._borrower.take(policy, image_id) if self._borrower is not None else None

    def _make_idle(self, shape: Shape) -> Cell:
        """Make a cell for any run of a shape, and wait until it can be claimed."""
        name = idle_name()
        cell = self._cell(name)
        with self._undone(cell):
            cell.lease()
            cell.create_idle(shape, self._group(name, limits_on_host(shape.policy)), idle_labels())
            cell.start()
            cell.settle(shape, _SETTLES_WITHIN_S)
        return cell

    def _cell(self, name: str) -> Cell:
        return Cell(name, self._engine, self._leases, self._egresses, here=self._is_here() and os.geteuid() == 0)

    @contextlib.contextmanager
    def _undone(self, cell: Cell) -> Iterator[None]:
        """Take a cell back where what is done with it fails."""
        try:
            yield
        except BaseException as error:
            problem = self.take_back(cell)
            if problem:  # what came first says more
                error.add_note(f"and its cell could not be taken back: {problem}")
            raise

    def let_go(self, cell: Cell, stays_for: Hashable | None = None) -> str:
        """
        Take a cell back after its run, beside what follows where nothing in it can live any more; or keep it.

        Returns why that could not be; then nothing may be merged.
        """
        if stays_for is not None and not self._closed:
            with self._making:
                kept = self._kept = self._kept or Kept(self.take_back, self._clock)
            kept.put(stays_for, cell)
            return ""
        if self._borrower is not None and cell.is_dead and self._borrower.give_back(cell):
            return ""
        pool = self.pool
        if pool is not None and cell.is_dead:
            pool.give_back(cell)
            return ""
        return self.take_back(cell)

    def close(self) -> None:
        """Remove the idle cells, and try again what could not be destroyed before."""
        with self._making:
            pool, self._pool, self._most_idle = self._pool, None, 0
            kept, self._kept, self._closed = self._kept, None, True
        if kept is not None:
            kept.close()
        if pool is not None:
            pool.close()
        self.beside.shutdown()
        self.take_back_what_is_left()

    def take_back(self, cell: Cell) -> str:
        """
        Destroy a cell; returns why that could not be.

        Then it is tried again with each claim, and at the end: an engine that comes back may bring a container with
        it, running, and nobody else counts its time.
        """
        try:
            cell.destroy()
        except EngineError as error:
            self._left.put(cell)
            return str(error)
        if self._borrower is not None:
            self._borrower.forget(cell)
        return ""

    def take_back_what_is_left(self) -> None:
        """Try again to destroy what could not be destroyed before."""
        for _ in range(self._left.qsize()):
            with contextlib.suppress(queue.Empty):  # another thread was first
                self.take_back(self._left.get_nowait())

    def attest(self, cell: Cell, policy: Policy, view: CellView | None) -> Attestation:
        """Look from all sides at what confines a cell. Raises EngineError where the engine does not answer."""
        return cell.attest(self._as_held(policy), view, local=self._is_here())

    def whereabouts(self, runtime: str) -> Ran:
        """Say by what and on what a run of that runtime runs, to explain what differs elsewhere."""
        facts = self._engine.facts()
        return Ran(
            name=facts.name,
            version=facts.version,
            runtime=runtime,
            cgroup_version=facts.cgroup_version,
            kernel=facts.kernel,
            architecture=facts.architecture,
            processor=_processor() if self._is_here() else "",
            cpus=facts.cpus,
        )

    def _as_held(self, policy: Policy) -> Policy:
        """Return the policy as it holds here: on cgroup v1 no group may have more than the one around it."""
        if not self._fits():
            return policy
        most = cpus_for_runs(self._engine.facts().cpus)
        if policy.limits.cpus <= most:
            return policy
        return policy.model_copy(update={"limits": policy.limits.model_copy(update={"cpus": most})})

    def _fits(self) -> bool:
        """Tell whether a cell can be made before its run is known: it takes a group of its own, and mounts in it."""
        return self._use_groups and self._is_here() and os.geteuid() == 0

    def _cap_all(self, facts: EngineFacts) -> None:
        if not self._capped:
            cap_all(version=facts.cgroup_version, driver=facts.cgroup_driver)
            self._capped = True

    def _is_here(self) -> bool:
        # A socket of this host may lead elsewhere (a virtual machine, a tunnel): its kernel is then another.
        return self._local and self._engine.facts().kernel == platform.release()

    def _group(self, name: str, limits: Limits) -> Group:
        facts, local = self._engine.facts(), self._is_here()
        group = None
        if self._use_groups and local:
            self._cap_all(facts)
            group = make_group(name, limits, version=facts.cgroup_version, driver=facts.cgroup_driver, local=local)
        return group or EngineGroup(self._engine)


@cache
def _processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the model of this host's processors; empty where the kernel does not name it, as on arm64."""
    named = re.search(r"^model name\s*: (.+)$", cpuinfo.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    return named.group(1).strip() if named else ""


def _unwatched(policy: Policy) -> UnenforceableError:
    return UnenforceableError(
        f"policy {policy.name!r} lets runs share a cell, which only root on the engine's own host can watch",
        hint="Run it there, or choose `reuse: never` in the policy.",
    )


def is_local(address: str) -> bool:
    """Tell whether an engine's address is a socket of this host."""
    return address.startswith("unix://") and Path(address.removeprefix("unix://")).exists()


def limit_lost_by(warning: str) -> str:
    """
    Name the limit that an engine with this warning cannot hold; empty if none is concerned.

    >>> limit_lost_by("WARNING: No swap limit support")
    'limits.memory'
    """
    return next((limit for words, limit in _WARNINGS.items() if words in warning.lower()), "")


_WARNINGS = {
    "no memory limit support": "limits.memory",
    "no swap limit support": "limits.memory",
    "no pids limit support": "limits.pids",
    "no cpu cfs quota support": "limits.cpus",
}
