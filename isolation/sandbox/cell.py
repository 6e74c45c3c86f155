"""A cell: one started, single-use container with its group, its uid and its channel, taken and given back whole."""

from __future__ import annotations

import contextlib
import platform
import queue
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isolation.errors import EngineError, UnenforceableError
from isolation.model.traffic import Traffic
from isolation.owner import this_process
from isolation.sandbox.attestation import Standing, attest
from isolation.sandbox.engine import LABEL, OWNER_LABEL, Engine
from isolation.sandbox.engine_counters import EngineGroup
from isolation.sandbox.groups.make import cap_all, make_group
from isolation.sandbox.hardening import create_body
from isolation.sandbox.runtimes import check_runtime, limits_on_host
from isolation.sandbox.stage import Stage
from isolation.sandbox.streams import Channel
from isolation.units import format_bytes

if TYPE_CHECKING:
    from isolation.model.attestation import Attestation
    from isolation.model.policy import Limits, Policy
    from isolation.sandbox.egress.folder import Egress, Egresses
    from isolation.sandbox.engine import EngineFacts
    from isolation.sandbox.frames import CellView
    from isolation.sandbox.groups.group import Group
    from isolation.sandbox.leases import Leases
    from isolation.stopwatch import Stopwatch


class Cell:
    """
    A container on its way up, standing, or on its way down.

    ``destroy`` takes back what there is, in the one safe order, and can be called again after it failed: the uid is
    free only when the container is proven gone.
    """

    def __init__(self, name: str, engine: Engine, leases: Leases, egresses: Egresses | None = None) -> None:
        self.name = name
        self._engine = engine
        self._leases = leases
        self._egresses = egresses
        self._uid: int | None = None
        self._group: Group | None = None
        self._container_id: str | None = None
        self._channel: Channel | None = None
        self._stage: Stage | None = None
        self._egress: Egress | None = None
        self._body: dict[str, Any] = {}
        self._inspected: dict[str, Any] = {}
        self.most_tasks: int | None = None
        """How many processes and threads the host's kernel lets it have."""

    def __repr__(self) -> str:
        return f"Cell({self.name!r}, container={self._container_id and self._container_id[:12]})"

    @property
    def container_id(self) -> str:
        """The engine's name for it."""
        assert self._container_id is not None, "not created yet"  # noqa: S101 - a cell is handed out when it stands
        return self._container_id

    @property
    def group(self) -> Group:
        """Where its counters are read."""
        assert self._group is not None, "not created yet"  # noqa: S101 - as above
        return self._group

    @property
    def channel(self) -> Channel:
        """How one talks with it."""
        assert self._channel is not None, "not created yet"  # noqa: S101 - as above
        return self._channel

    @property
    def uid(self) -> int:
        """The uid and gid of everything in it."""
        assert self._uid is not None, "not leased yet"  # noqa: S101 - as above
        return self._uid

    def lease(self) -> None:
        """Take a uid: before anything else, as it is given back after all else."""
        self._uid = self._leases.take(self.name)

    def create(
        self, policy: Policy, group: Group, *, image_id: str, package: Path, layer: Path | None, labels: dict[str, str]
    ) -> None:
        """Lay out its folders, create the container and attach to it; nothing runs yet."""
        self._group = group
        self.most_tasks = limits_on_host(policy).pids
        self._stage = Stage(self._leases.stages / str(self.uid))
        mounts = self._stage.set_up(package=package, layer=layer)
        if policy.network.allow:
            assert self._egresses is not None, "not checked"  # noqa: S101 - Cells.check() refuses such a policy
            self._egress = self._egresses.open(self._stage.folder, self.uid, policy.network)
            mounts = replace(mounts, egress=self._egress.path)
        self._body = create_body(
            policy,
            image_id=image_id,
            uid=self.uid,
            mounts=mounts,
            labels=labels,
            cgroup_parent=group.parent,
            cell_memory_bytes=group.cell_memory_bytes(policy.limits),
        )
        self._container_id = self.name  # from here on there may be one, also if the engine's answer is lost
        self._container_id = self._engine.create(self.name, self._body)
        self._channel = Channel(self._engine.attach(self._container_id), policy.limits.result_bytes)

    def start(self) -> None:
        """Start it, and ask for the engine's record of it while the runner still comes up."""
        self._engine.start(self.container_id)
        self.group.watch(self.container_id)
        self._inspected = self._engine.inspect(self.container_id)

    def put(self, snapshot: bytes) -> None:
        """Put the snapshot in place; the runner reads it when it has the plan. Raises EngineError."""
        assert self._stage is not None, "not created yet"  # noqa: S101 - a cell is handed out when it stands
        self._stage.put(snapshot)

    def attest(self, policy: Policy, view: CellView | None, *, local: bool) -> Attestation:
        """Look from all sides at what confines it, now that its runner has greeted. Raises EngineError."""
        seen = Standing(
            policy=policy,
            uid=self.uid,
            body=self._body,
            inspected=self._inspected,
            view=view,
            in_force=self.group.in_force(),
            nameless=self._stage is not None and self._stage.nameless,
        )
        return attest(seen, self._engine.facts(), local=local)

    def traffic(self) -> Traffic:
        """Return what it asked of the network; also after it was destroyed."""
        return self._egress.traffic() if self._egress is not None else Traffic()

    def destroy(self) -> None:
        """Kill and remove the container, then its group and folders, and give back its uid last. Raises EngineError."""
        if self._channel is not None:
            self._channel.close()
        if self._egress is not None:
            self._egress.close()
        if self._container_id is not None:
            self._engine.remove(self._container_id)
            self._container_id = None
        if self._group is not None:
            self._group.remove()
            self._group = None
        if self._stage is not None:
            self._stage.strike()
            self._stage = None
        if self._uid is not None:
            self._leases.release(self._uid)
            self._uid = None


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
    ) -> None:
        self._engine = engine
        self._leases = leases
        self._local = local
        self._use_groups = use_groups
        self._egresses = egresses
        self._capped = False
        self._left: queue.SimpleQueue[Cell] = queue.SimpleQueue()

    def check(self, policy: Policy) -> None:
        """Raise UnenforceableError for what this engine and this host cannot hold."""
        facts = self._engine.facts()
        limits = policy.limits
        check_runtime(policy, facts)
        self._check_network(policy)
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
        if policy.network.allow and (self._egresses is None or not self._is_here()):
            raise UnenforceableError(
                f"policy {policy.name!r} allows a network, which only an engine on this very host can give",
                hint="Run it where the engine is, or choose `network: none` in the policy.",
            )

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
    ) -> Cell:
        """Make and start a cell of that name. Whatever fails, nothing of it is left that the engine lets us remove."""
        self.take_back_what_is_left()
        cell = Cell(name, self._engine, self._leases, self._egresses)
        try:
            with watch.phase("create"):
                cell.lease()
                group = self._group(name, limits_on_host(policy))
                cell.create(policy, group, image_id=image_id, package=package, layer=layer, labels=labels)
            with watch.phase("start"):
                cell.start()
        except BaseException as error:
            problem = self.take_back(cell)
            if problem:  # what came first says more
                error.add_note(f"and its cell could not be taken back: {problem}")
            raise
        return cell

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
        return ""

    def take_back_what_is_left(self) -> None:
        """Try again to destroy what could not be destroyed before."""
        for _ in range(self._left.qsize()):
            with contextlib.suppress(queue.Empty):  # another thread was first
                self.take_back(self._left.get_nowait())

    def attest(self, cell: Cell, policy: Policy, view: CellView | None) -> Attestation:
        """Look from all sides at what confines a cell. Raises EngineError where the engine does not answer."""
        return cell.attest(policy, view, local=self._is_here())

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


def is_local(address: str) -> bool:
    """Tell whether an engine's address is a socket of this host."""
    return address.startswith("unix://") and Path(address.removeprefix("unix://")).exists()


def cell_name(run_id: str, attempt: int) -> str:
    """Name a cell; its container, group, uid lease and slot all carry this name."""
    return f"isolation-{run_id}-{attempt}"


def run_of(cell: str) -> str:
    """
    Return the run that a cell's name tells of; empty for a name that is no cell's.

    >>> run_of(cell_name("20250102-030405-0a1b2c3d", 2))
    '20250102-030405-0a1b2c3d'
    """
    run_id, _, attempt = cell.removeprefix("isolation-").rpartition("-")
    return run_id if cell.startswith("isolation-") and attempt.isdigit() else ""


def cell_labels(run_id: str, attempt: int) -> dict[str, str]:
    """Return the labels by which a crashed controller's containers are found."""
    return {LABEL: run_id, OWNER_LABEL: this_process().text(), "isolation.attempt": str(attempt)}


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
