"""Which cells can have a network at all, and that a cell takes its way out with it, however it ends."""

from __future__ import annotations

import platform
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from isolation.clock import SystemClock
from isolation.errors import EngineError, EngineUnreachableError, UnenforceableError
from isolation.model.policy import Policy
from isolation.sandbox.cells import Cells
from isolation.sandbox.egress.folder import Egresses
from isolation.sandbox.stage import staged
from isolation.stopwatch import Stopwatch
from isolation.testing import IMAGE, FakeEngine
from tests.sandbox.egress.conftest import threads

if TYPE_CHECKING:
    from isolation.sandbox.cell import Cell
    from isolation.sandbox.engine import EngineFacts
    from isolation.sandbox.leases import Leases

ALLOWING = Policy.model_validate({"name": "test", "network": {"allow": ["site.example:443"]}})
WITH_GVISOR = Policy.model_validate(
    {"name": "test", "runtime": "runsc", "limits": {"tmp_inodes": None}, "network": {"allow": ["site.example:443"]}}
)


class Here(FakeEngine):
    """An engine on this host's own kernel, that knows gVisor."""

    def facts(self) -> EngineFacts:
        """Describe it."""
        return replace(super().facts(), kernel=platform.release(), runtimes=("runc", "runsc"))


def cells_on(engine: FakeEngine, leases: Leases, *, local: bool = True) -> Cells:
    return Cells(engine, leases, local=local, use_groups=False, egresses=Egresses(SystemClock()))


def claim(cells: Cells, policy: Policy = ALLOWING) -> Cell:
    watch, package = Stopwatch(SystemClock()), Path(__file__).parent
    return cells.claim("cell", policy, image_id=IMAGE, package=package, layer=None, labels={}, watch=watch)


def stages(leases: Leases) -> list[int]:
    return [*staged(leases.stages)]


def test_a_network_in_gvisor_is_refused(leases: Leases) -> None:
    """Before anything is made, and never by a run that then reaches nothing."""
    cells = cells_on(Here(), leases)

    with pytest.raises(UnenforceableError, match="gVisor lets no container connect to a socket of the host") as refused:
        cells.check(WITH_GVISOR)

    assert refused.value.hint == "Choose `runtime: runc` or `crun` in the policy, or `network: none`."
    cells.check(WITH_GVISOR.model_copy(update={"network": Policy(name="test").network}))


@pytest.mark.parametrize(("engine", "local"), [(Here(), False), (FakeEngine(), True)])
def test_a_network_on_another_machines_engine_is_refused(leases: Leases, engine: FakeEngine, *, local: bool) -> None:
    """A socket of this host is none of another's, be that a virtual machine behind a socket of ours."""
    cells = cells_on(engine, leases, local=local)

    with pytest.raises(UnenforceableError, match="which only an engine on this very host can give"):
        cells.check(ALLOWING)

    cells.check(Policy(name="test"))


def test_a_cell_with_a_network_has_the_socket_mounted_read_only(leases: Leases) -> None:
    """And one without has not so much as the folder. Neither has an interface."""
    engine = Here()
    cells = cells_on(engine, leases)
    cells.check(ALLOWING)

    cell = claim(cells)
    with_network = mounts_of(engine)
    cell.destroy()
    cell = claim(cells, Policy(name="test"))
    without = mounts_of(engine)
    cell.destroy()

    assert {**with_network["/egress"], "Source": ""} == {
        "Type": "bind",
        "Source": "",
        "Target": "/egress",
        "ReadOnly": True,
        "BindOptions": {"Propagation": "rprivate", "NonRecursive": True},
    }
    assert {*with_network} - {*without} == {"/egress"}


def mounts_of(engine: FakeEngine) -> dict[str, Any]:
    (container,) = engine.containers.values()
    host = container.body["HostConfig"]
    assert (container.body["NetworkDisabled"], host["NetworkMode"]) == (True, "none")
    return {mount["Target"]: mount for mount in host["Mounts"]}


@pytest.mark.parametrize("method", ["create", "attach", "start"])
@pytest.mark.parametrize("after", [False, True])
def test_a_cell_whose_making_fails_takes_its_way_out_with_it(leases: Leases, method: str, *, after: bool) -> None:
    """It was open before the container was made."""
    engine = Here()
    engine.fail(method, after=after)

    with pytest.raises(EngineUnreachableError):
        claim(cells_on(engine, leases))

    assert (threads(), stages(leases), leases.held()) == ([], [], ())


def test_a_container_that_cannot_be_removed_reaches_nothing_more(leases: Leases) -> None:
    """The way is cut first; the folder stays while somebody may have it mounted."""
    engine = Here()
    engine.fail("remove", EngineError("device or resource busy"))
    cell = claim(cells_on(engine, leases))

    with pytest.raises(EngineError, match="device or resource busy"):
        cell.destroy()
    assert (threads(), len(stages(leases))) == ([], 1)
    cell.destroy()

    assert (stages(leases), leases.held()) == ([], ())
