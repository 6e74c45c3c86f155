"""A cell: one started, single-use container with its group, its uid and its channel, taken and given back whole."""

from __future__ import annotations

import os
import secrets
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isolation.contract import HELLO, Malformed
from isolation.errors import EngineError
from isolation.model.traffic import Traffic
from isolation.owner import this_process
from isolation.sandbox.attestation import Idle, Standing, attest
from isolation.sandbox.attestation.record import pid_of
from isolation.sandbox.engine import LABEL, OWNER_LABEL, Ended, Engine
from isolation.sandbox.first import FirstProcess
from isolation.sandbox.frames import read_greeting
from isolation.sandbox.groups.group import limits_wanted
from isolation.sandbox.hardening import (
    FOLDERS_WRITABLE,
    HELD_ABOVE,
    SNAPSHOT,
    create_body,
    limits_of,
    targets,
    tmpfs_size,
)
from isolation.sandbox.inside import change_mounts
from isolation.sandbox.runtimes import GVISOR, limits_on_host
from isolation.sandbox.stage import Stage
from isolation.sandbox.streams import Channel

if TYPE_CHECKING:
    from isolation.model.attestation import Attestation
    from isolation.model.policy import Policy
    from isolation.sandbox.egress.folder import Egress, Egresses
    from isolation.sandbox.frames import CellView
    from isolation.sandbox.groups.group import Group, Reading
    from isolation.sandbox.hardening import Mounts
    from isolation.sandbox.leases import Leases
    from isolation.sandbox.pool.shape import Shape

_CLEANS_WITHIN_S = 5.0


class Cell:
    """
    A container on its way up, standing, or on its way down.

    It is made for its run at once, or made idle, by the shape of what may come, and ``fit`` to a run later.
    ``destroy`` takes back what there is, in the one safe order, and can be called again after it failed: the uid is
    free only when the container is proven gone. ``here``: its processes are those of this host's kernel.
    """

    def __init__(
        self, name: str, engine: Engine, leases: Leases, egresses: Egresses | None = None, *, here: bool = False
    ) -> None:
        self.name = name
        self._engine = engine
        self._leases = leases
        self._egresses = egresses
        self._here = here
        self._uid: int | None = None
        self._group: Group | None = None
        self._container_id: str | None = None
        self._first: FirstProcess | None = None
        self._channel: Channel | None = None
        self._stage: Stage | None = None
        self._egress: Egress | None = None
        self._body: dict[str, Any] = {}
        self._inspected: dict[str, Any] = {}
        self._own: tuple[str, ...] = ()
        self._greeting = b""
        self._idle: Idle | None = None
        self._attested: Attestation | None = None
        self.since: Reading | None = None
        """How far the group's counters were when it was claimed; None: they began with the run."""
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
        self,
        policy: Policy,
        group: Group,
        *,
        image_id: str,
        package: Path,
        layer: Path | None,
        labels: dict[str, str],
        base: Path | None = None,
    ) -> None:
        """Lay out its folders, create the container for one run and attach to it; nothing runs yet."""
        self._group = group
        self.most_tasks = limits_on_host(policy).pids
        mounts = self._lay_out(policy, package, layer, base)
        self._own = tuple(targets(mounts))
        self._create(policy, image_id, mounts, labels)
        self._channel = Channel(self._engine.attach(self.container_id), policy.limits.result_bytes)

    def create_idle(self, shape: Shape, group: Group, labels: dict[str, str]) -> None:
        """Create the container for any run of that shape, and attach to it; nothing runs yet."""
        self._group = group
        self._create(shape.policy, shape.image_id, None, labels)
        self._channel = Channel(self._engine.attach(self.container_id), 0)

    def start(self) -> None:
        """Start it, and ask for the engine's record of it while the runner still comes up."""
        self._engine.start(self.container_id)
        self.group.watch(self.container_id)
        self._inspected = self._engine.inspect(self.container_id)
        seen = self._here and self._body["HostConfig"]["Runtime"] != GVISOR  # whose first process is its own
        pid = pid_of(self._inspected) if seen else None
        self._first = FirstProcess.of(pid, self.container_id) if pid is not None else None

    def settle(self, shape: Shape, timeout_s: float) -> None:
        """
        Have an idle cell greet and be attested, after which it can be claimed.

        What no run needs to be known for is there then: the snapshot's folder, and its group's files, open.
        Raises EngineError where it does not greet in time, or is not confined as its shape asks.
        """
        kind, self._greeting = self._first_frame(timeout_s)
        if kind != HELLO:
            raise EngineError("an idle cell did not greet", hint="Its image may be another's; scripts/image.")
        self.group.hold()
        self.group.read()
        seen = self._standing(shape.policy, read_greeting(self._greeting).view)
        found = attest(seen, self._engine.facts(), local=self._here)
        objection = found.objection(all_required=False)
        if objection or self._first is None:
            raise EngineError(f"an idle cell is not confined as its shape asks: {objection or 'it is gone'}")
        self._idle = Idle.of(seen, found)
        self._stage = Stage(self._leases.stages / str(self.uid))
        ahead = {SNAPSHOT: self._stage.lay()}
        change_mounts(self._first.pid, ahead, {})
        self._own = tuple(ahead)

    def fit(self, name: str, policy: Policy, *, package: Path, layer: Path | None, base: Path | None = None) -> None:
        """
        Turn an idle cell into the one of that name: its limits, and the folders that it may see. Raises EngineError.

        Nothing of the run is in it before; ``put`` and ``attest`` come next, as with one that was made for it.
        """
        first = self._first
        assert first is not None, "not settled"  # noqa: S101 - only a settled cell is idle
        self._leases.assign(self.uid, self.name, name)
        self.most_tasks = limits_on_host(policy).pids
        self._limit(policy)
        mounts = targets(self._lay_out(policy, package, layer, base))
        lacking = {target: folder for target, folder in mounts.items() if target not in self._own}
        change_mounts(first.pid, lacking, dict.fromkeys(FOLDERS_WRITABLE, tmpfs_size(policy.limits)))
        self._own = tuple(mounts)
        self.since = self.group.read()
        heard = HELLO, self._greeting
        self._channel = Channel(self.channel.stream, policy.limits.result_bytes, heard)

    def begin_again(self, policy: Policy) -> None:
        """
        Take it for a further run of the same package and policy, once the host saw that the one before left nothing.

        Raises EngineError where something is left, or its limits do not stand; then it is of no use any more.
        """
        heard = self._first_frame(_CLEANS_WITHIN_S)
        hint = "The cell is removed, another takes its place."
        try:
            clean = heard[0] == HELLO and self._is_clean()
            if not clean or self.group.in_force() != limits_wanted(limits_on_host(policy)):
                raise EngineError("a run left something in its cell", hint=hint)
            self.group.begin_again()
        except OSError as error:  # it is on its way out
            raise EngineError(f"a cell that stayed cannot be looked at: {error.strerror}", hint=hint) from error
        self.since = self.group.read()
        self._channel = Channel(self.channel.stream, policy.limits.result_bytes, heard)

    def is_alone(self) -> bool:
        """Tell whether nothing lives in it any more but its runner, by the kernel's list of its group."""
        return self._first is not None and self.group.processes() == [self._first.pid]

    def _is_clean(self) -> bool:
        """Tell whether no process lives in it but its runner, and no file is left."""
        first = self._first
        if first is None or not first.lives or not self.is_alone():
            return False
        root = Path(f"/proc/{first.pid}/root")
        return all(_is_empty(root / path.lstrip("/")) for path in FOLDERS_WRITABLE)

    def put(self, snapshot: bytes) -> None:
        """Put the snapshot in place; the runner reads it when it has the plan. Raises EngineError."""
        assert self._stage is not None, "not created yet"  # noqa: S101 - a cell is handed out when it stands
        self._stage.put(snapshot)

    def attest(self, policy: Policy, view: CellView | None, *, local: bool) -> Attestation:
        """
        Look from all sides at what confines it, now that its runner has greeted. Raises EngineError.

        One that stays is looked at before its first run; before each further one, ``begin_again`` looks.
        """
        if self._attested is not None:
            return self._attested
        found = attest(self._standing(policy, view), self._engine.facts(), local=local)
        if policy.reuse == "package":
            found = self._attested = replace(found, cell="shared")
        return found

    def _standing(self, policy: Policy, view: CellView | None) -> Standing:
        return Standing(
            policy=policy,
            uid=self.uid,
            body=self._body,
            inspected=self._inspected,
            view=view,
            own=self._own,
            in_force=self.group.in_force(),
            nameless=self._stage is None or self._stage.nameless,
            idle=self._idle,
        )

    @property
    def stands(self) -> bool:
        """Tell whether an idle cell is still there to be claimed."""
        return self._first is not None and self._first.lives

    @property
    def is_dead(self) -> bool:
        """Tell whether nothing in it can live any more, by the kernel's own word."""
        return self._first is not None and not self._first.lives

    def ended(self, timeout_s: float) -> Ended | None:
        """
        Wait until nothing in it lives any more, by the kernel's word alone; the engine's comes somewhat later.

        None where it has not ended in time, this kernel does not tell us, or its kills are not counted from here.
        """
        if self._first is None or self.group.parent is None:
            return None
        code = self._first.wait(timeout_s)
        return None if code is None else Ended(exit_code=code, oom_killed=False)

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
            remove = self._engine.remove_ended if self.is_dead else self._engine.remove
            remove(self._container_id)
            self._container_id = None
        if self._first is not None:
            self._first.close()
            self._first = None
        if self._group is not None:
            self._group.remove()
            self._group = None
        if self._stage is not None:
            self._stage.strike()
            self._stage = None
        if self._uid is not None:
            self._leases.release(self._uid)
            self._uid = None

    def part(self) -> None:
        """Let go of it, where another process has it back and destroys it."""
        if self._channel is not None:
            self._channel.close()
        if self._egress is not None:
            self._egress.close()
        if self._first is not None:
            self._first.close()
            self._first = None
        if self._group is not None:
            self._group.close()

    def forget(self) -> None:
        """Let go of it, where another process has destroyed it: its uid, and folders, may be somebody else's by now."""
        self._container_id = self._uid = self._stage = None
        self.destroy()

    def _lay_out(self, policy: Policy, package: Path, layer: Path | None, base: Path | None) -> Mounts:
        self._stage = self._stage or Stage(self._leases.stages / str(self.uid))
        mounts = self._stage.set_up(package=package, layer=layer, base=base)
        if policy.network.entries:
            assert self._egresses is not None, "not checked"  # noqa: S101 - Cells.check() refuses such a policy
            self._egress = self._egresses.open(self._stage.folder, self.uid, policy.network)
            mounts = replace(mounts, egress=self._egress.path, hosts=self._egress.hosts)
        return mounts

    def _create(self, policy: Policy, image_id: str, mounts: Mounts | None, labels: dict[str, str]) -> None:
        self._body = create_body(
            policy,
            image_id=image_id,
            uid=self.uid,
            mounts=mounts,
            labels=labels,
            cgroup_parent=self.group.parent,
            cell_memory_bytes=self.group.cell_memory_bytes(policy.limits),
        )
        if mounts is None and self.group.holds:
            self._body["HostConfig"] |= HELD_ABOVE
        self._container_id = self.name  # from here on there may be one, also if the engine's answer is lost
        self._container_id = self._engine.create(self.name, self._body)

    def _limit(self, policy: Policy) -> None:
        if self.group.holds:
            self.group.limit(limits_on_host(policy))
            return
        limits = limits_of(policy)
        self._engine.update(self.container_id, limits)
        self._body["HostConfig"] |= limits
        self._inspected = self._engine.inspect(self.container_id)

    def _first_frame(self, timeout_s: float) -> tuple[int, bytes]:
        until_s = time.monotonic() + timeout_s
        try:
            while not self.channel.closed and time.monotonic() < until_s:
                for frame in self.channel.receive(until_s - time.monotonic()):
                    self.channel.check_nothing_follows()
                    return frame
        except Malformed as error:
            raise EngineError(f"a cell that greets says what is no greeting: {error}") from error
        return 0, b""


def _is_empty(tmpfs: Path) -> bool:
    """Tell whether a tmpfs holds nothing but its root, by its own count."""
    found = os.statvfs(tmpfs)
    return found.f_bfree == found.f_blocks and found.f_ffree == found.f_files - 1


def cell_name(run_id: str, attempt: int) -> str:
    """Name a cell; its container, group, uid lease and slot all carry this name."""
    return f"isolation-{run_id}-{attempt}"


def idle_name() -> str:
    """Name a cell that is made before its run is known."""
    return f"isolation-pool-c{secrets.token_hex(8)}"


def idle_labels() -> dict[str, str]:
    """Return the labels of an idle cell: its owner is told, its run is not known."""
    return {LABEL: "pool", OWNER_LABEL: this_process().text()}


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
