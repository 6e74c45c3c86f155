"""Which cells can have a network at all, and that a cell takes its way out with it, however it ends."""

from __future__ import annotations

import platform
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from isolation.clock import SystemClock
from isolation.errors import EngineError, EngineUnreachableError, UnenforceableError
from isolation.model.policy import Policy
from isolation.sandbox.cells import Cells
from isolation.sandbox.egress.folder import Egresses
from isolation.sandbox.stage import staged
from isolation.stopwatch import Stopwatch
from isolation.testing import IMAGE, FakeEngine
from tests.conftest import on_gvisor
from tests.sandbox.egress.conftest import threads

if TYPE_CHECKING:
    from isolation.sandbox.cell import Cell
    from isolation.sandbox.engine import EngineFacts
    from isolation.sandbox.leases import Leases

ALLOWING = Policy.model_validate({"name": "test", "network": {"allow": ["site.example:443"]}})
NAMING = Policy.model_validate({"name": "test", "network": {"tcp": ["db.example:5432"]}})
"""Only one of TCP."""


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


@pytest.mark.parametrize("policy", [ALLOWING, NAMING])
def test_a_network_in_gvisor_is_refused(leases: Leases, policy: Policy) -> None:
    """Before anything is made, and never by a run that then reaches nothing."""
    cells, policy = cells_on(Here(), leases), on_gvisor(policy)

    with pytest.raises(UnenforceableError, match="gVisor lets no container connect to a socket of the host") as refused:
        cells.check(policy)

    assert refused.value.hint == "Choose `runtime: runc` or `crun` in the policy, or `network: none`."
    cells.check(policy.model_copy(update={"network": Policy(name="test").network}))


@pytest.mark.parametrize(("engine", "local"), [(Here(), False), (FakeEngine(), True)])
@pytest.mark.parametrize("policy", [ALLOWING, NAMING])
def test_a_network_on_another_machines_engine_is_refused(
    leases: Leases, engine: FakeEngine, policy: Policy, *, local: bool
) -> None:
    """A socket of this host is none of another's, be that a virtual machine behind a socket of ours."""
    cells = cells_on(engine, leases, local=local)

    with pytest.raises(UnenforceableError, match="which only an engine on this very host can give"):
        cells.check(policy)

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


def test_a_cell_with_names_of_tcp_has_a_hosts_file_mounted_read_only(leases: Leases) -> None:
    """One file of ours in the place of the image's, which is empty."""
    engine = Here()
    cell = claim(cells_on(engine, leases), NAMING)
    found = mounts_of(engine)
    text = Path(found["/etc/hosts"]["Source"]).read_text()
    cell.destroy()

    assert {"/egress", "/etc/hosts"} < {*found}
    assert found["/etc/hosts"] | {"Source": "", "Target": ""} == found["/egress"] | {"Source": "", "Target": ""}
    assert text == "127.64.0.1 db.example\n"
    assert stages(leases) == []


@pytest.mark.parametrize("network", [{"allow": ["site.example:443"]}, {"tcp": ["db.example:5432"]}])
def test_runs_that_share_a_cell_have_no_network(network: dict[str, list[str]]) -> None:
    """A connection that one leaves open would be the next one's."""
    with pytest.raises(ValidationError, match="`reuse: package` cannot be had with a network"):
        Policy.model_validate({"name": "test", "reuse": "package", "network": network})


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
