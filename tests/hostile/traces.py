"""G4: what a run has on the host while it lives, noted then, and looked for when it has ended."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docker.errors import NotFound

from isolation.model.event import LogLine, PhaseStarted, RunStarted
from isolation.sandbox.cell import cell_name, run_of
from isolation.sandbox.groups.make import leftover_groups
from isolation.sandbox.leases import Leases, leases_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import docker

    from isolation.model.event import Event

_CGROUPS = Path("/sys/fs/cgroup")
_PROC = Path("/proc")


class Witness:
    """
    Watches a run, and notes which uids, containers, mounts and groups are its own.

    ``under_way`` is called once, when the attack says so by its first line of output.
    """

    def __init__(self, client: docker.APIClient, under_way: Callable[[], object] | None = None) -> None:
        self.run_id = ""
        self.events: list[Event] = []
        self.uids: set[int] = set()
        self.cells: set[str] = set()
        self.bodies: list[dict[str, Any]] = []
        """What the engine said of each of its containers, while that ran."""
        self._client = client
        self._under_way = under_way
        self._attempt = 1

    def on_event(self, event: Event) -> None:
        """Take one event."""
        self.events.append(event)
        if isinstance(event, RunStarted):
            self.run_id = event.run_id
        if isinstance(event, PhaseStarted):
            self._attempt = event.attempt
            if event.phase in {"deliver", "run"}:
                self._look()
        if isinstance(event, LogLine) and self._under_way is not None:
            under_way, self._under_way = self._under_way, None
            under_way()

    def _look(self) -> None:
        cell = cell_name(self.run_id, self._attempt)
        if cell in self.cells:
            return
        ours = [lease for lease in Leases(leases_folder()).held() if cell in {lease.cell, lease.claimed_as}]
        self.uids |= {lease.uid for lease in ours}
        try:
            self.bodies += [self._client.inspect_container(lease.cell) for lease in ours]
            self.cells |= {cell, *(lease.cell for lease in ours)}
        except NotFound:  # it is gone already
            return


def check_gone(witness: Witness, client: docker.APIClient) -> None:
    """Assert that nothing of the run is left on the host."""
    run_id = witness.run_id
    assert client.containers(all=True, filters={"label": f"isolation.run={run_id}"}) == [], "G4: a container"
    ids = {body["Id"] for body in witness.bodies}
    there = {container["Id"] for container in client.containers(all=True)}
    assert ids & there == set(), "G4: a container"
    held = [run_of(name) for lease in Leases(leases_folder()).held() for name in (lease.cell, lease.claimed_as)]
    assert run_id not in held, "G4: a uid lease"
    groups = leftover_groups()
    assert [cell for cell in groups if run_of(cell) == run_id or cell in witness.cells] == [], "G4: a cgroup"
    # os.walk, unlike a glob, does not mind that others' groups vanish under it.
    folders = [folder for folder, _, _ in os.walk(_CGROUPS) if run_id in folder or ids & {*folder.split("/")}]
    assert folders == [], "G4: a folder of a cgroup"
    stages = [stage for uid in witness.uids if (stage := Leases(leases_folder()).stages / str(uid)).exists()]
    assert stages == [], "G4: the folders laid out for a cell"
    assert [*_processes(run_id, ids, witness.uids)] == [], "G4: a process"
    mounted = {line.split()[4] for line in (_PROC / "self/mountinfo").read_text().splitlines()}
    for body in witness.bodies:
        root = body["GraphDriver"]["Data"].get("MergedDir", "")
        assert root not in mounted, "G4: the mount of its root"
        sources = {mount["Source"] for mount in body["Mounts"] if mount["Destination"] in {"/in", "/package"}}
        assert sources & mounted == set(), "G4: a mount of its input"


def _processes(run_id: str, container_ids: set[str], uids: set[int]) -> Iterator[str]:
    """Name the processes that belong to a run by their uid, their cgroup, or as the keeper of its container."""
    for folder in _PROC.iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            uid = folder.stat().st_uid
            group = (folder / "cgroup").read_text()
            command = (folder / "cmdline").read_bytes().decode(errors="replace")
        except OSError:  # it ended while we looked
            continue
        if uid in uids or run_id in group or any(found in command for found in container_ids):
            yield f"{folder.name} {command!r}"
