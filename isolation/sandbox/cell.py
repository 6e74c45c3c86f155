"""A cell: one started, single-use container with its group, its uid and its channel, taken and given back whole."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from isolation.model.traffic import Traffic
from isolation.owner import this_process
from isolation.sandbox.attestation import Standing, attest
from isolation.sandbox.engine import LABEL, OWNER_LABEL, Engine
from isolation.sandbox.hardening import create_body
from isolation.sandbox.runtimes import limits_on_host
from isolation.sandbox.stage import Stage
from isolation.sandbox.streams import Channel

if TYPE_CHECKING:
    from pathlib import Path

    from isolation.model.attestation import Attestation
    from isolation.model.policy import Policy
    from isolation.sandbox.egress.folder import Egress, Egresses
    from isolation.sandbox.frames import CellView
    from isolation.sandbox.groups.group import Group
    from isolation.sandbox.leases import Leases


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
