"""Cells of one process, used by another: given back, left behind, or removed there, nothing of them stays."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from isolation.model.policy import Policy
from isolation.sandbox.cell import cell_name
from isolation.sandbox.engine import engine_address
from isolation.sandbox.leases import Leases, leases_folder
from isolation.sandbox.pool.borrow import Borrower
from isolation.sandbox.pool.lend import Lender
from isolation.sandbox.pool.shape import shape_of
from isolation.settings import Settings, load_settings
from isolation.wiring import open_controller

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from isolation.controller import Controller
    from isolation.sandbox.cell import Cell
    from tests.sandbox.conftest import Recipe

pytestmark = [pytest.mark.engine, pytest.mark.skipif(os.geteuid() != 0, reason="mounts into running cells")]

WITHIN_S = 60.0
POLICY = Policy(name="test")
HARMLESS = "def run(context, params):\n    context.set('done', True)\n"


class Lending:
    """A lender in a thread, with one cell that stands ready."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "lent"
        self._controller = open_controller(Settings(state=folder / "lender"), idle=1)
        self.engine, cells = self._controller.engine, self._controller.cells
        self.own: dict[str, object] = {"engine": self.engine, "leases": Leases(leases_folder())}
        self.own["egresses"] = cells._egresses
        self.image_id = self.engine.image_id(load_settings().image)
        shape = shape_of(POLICY, self.image_id)
        assert shape is not None
        assert cells.pool is not None
        cells.expect(POLICY, self.image_id)
        assert cells.pool.wait(shape, 1, WITHIN_S)
        life, self._life = os.pipe()
        with ExitStack() as stack:
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(self.path))
            listener.listen()
            stack.pop_all()
        self._lend = threading.Thread(target=Lender(cells, engine_address(), self.own).lend, args=(listener, life))
        self._closes = life
        self._lend.start()

    def end(self) -> None:
        """End it; returns when all that was lent is removed."""
        if self._lend.is_alive():
            os.close(self._life)
            self._lend.join(WITHIN_S)
            assert not self._lend.is_alive()
            os.close(self._closes)
            self._controller.close()

    def borrower(self) -> Borrower:
        """Return another process's, as it were."""
        return Borrower(self.path, engine_address(), self.own)

    def is_left(self, container_id: str, uid: int) -> list[str]:
        """Say what is left of a cell."""
        leases = Leases(leases_folder())
        left = [f"container {one}" for one in self.engine.leftovers() if one.container_id == container_id]
        left += [f"lease {lease}" for lease in leases.held() if lease.uid == uid]
        return left + [str(path) for path in leases.stages.glob(str(uid))]


@pytest.fixture
def lending(tmp_path: Path) -> Iterator[Lending]:
    lending = Lending(tmp_path)
    yield lending
    lending.end()


@pytest.fixture
def borrowing(tmp_path: Path, lending: Lending) -> Iterator[Controller]:
    with open_controller(Settings(state=tmp_path / "state", cells=lending.path)) as controller:
        yield controller


def borrowed(borrower: Borrower, lending: Lending) -> Cell:
    cell = borrower.take(POLICY, lending.image_id)
    assert cell is not None
    assert cell.stands
    return cell


def test_a_run_in_a_cell_that_was_lent_is_as_any_other(lending: Lending, borrowing: Controller, recipe: Recipe) -> None:
    """Attested, measured by the kernel, merged; and gone when the lender is."""
    result = borrowing.run(recipe(HARMLESS), policy=POLICY)

    assert result.succeeded, result.errors
    assert result.merge.status == "merged"
    attempt = result.attempts[0]
    assert attempt.attestation is not None
    assert (attempt.attestation.cell, attempt.attestation.having("mismatch")) == ("warm", ())
    assert not {"create", "start"} & {*attempt.phases_ms}
    lending.end()
    assert [
        lease for lease in Leases(leases_folder()).held() if lease.claimed_as.startswith(f"isolation-{result.run_id}")
    ] == []


def test_a_kill_for_memory_in_a_lent_cell_is_seen(lending: Lending, borrowing: Controller, recipe: Recipe) -> None:
    """On cgroup v1 the kernel tells of it by a descriptor, which came along with the cell."""
    assert lending.path.is_socket()
    greedy = POLICY.model_copy(update={"limits": POLICY.limits.model_copy(update={"memory_bytes": 64 * 2**20})})
    result = borrowing.run(
        recipe("def run(context, params):\n    return {'n': len(bytearray(2**30))}\n"), policy=greedy
    )

    assert result.outcome.value == "out_of_memory"
    assert "start" not in result.attempts[0].phases_ms


def test_who_goes_away_with_a_cell_leaves_nothing(lending: Lending, tmp_path: Path) -> None:
    """Killed, or without the time to give it back: the end of the connection says so."""
    borrower = lending.borrower()
    cell = borrowed(borrower, lending)
    container_id, uid = cell.container_id, cell.uid
    (tmp_path / "package").mkdir()
    cell.fit(cell_name("killed", 1), POLICY, package=tmp_path / "package", layer=None)
    assert len(lending.is_left(container_id, uid)) == 3
    cell.part()
    (connection,) = borrower._borrowed.values()
    connection.close()
    lending.end()
    assert lending.is_left(container_id, uid) == []


def test_a_cell_that_was_removed_elsewhere_is_not_removed_again(lending: Lending) -> None:
    """Its uid may be another cell's by now: that lease must stand."""
    borrower = lending.borrower()
    cell = borrowed(borrower, lending)
    container_id, uid = cell.container_id, cell.uid
    cell.destroy()
    assert lending.is_left(container_id, uid) == []
    leases = Leases(leases_folder())
    assert leases._write_down(uid, "another\n\n")
    borrower.forget(cell)
    lending.end()
    assert [lease.cell for lease in leases.held() if lease.uid == uid] == ["another"]
    leases.release(uid)


def test_nothing_is_lent_for_another_engine_or_shape(lending: Lending) -> None:
    """Nor where nobody lends: then a borrower makes its own."""
    assert Borrower(lending.path, "unix:///another.sock", lending.own).take(POLICY, lending.image_id) is None
    assert lending.borrower().take(POLICY, "sha256:0") is None
    assert Borrower(lending.path.with_name("none"), "", lending.own).take(POLICY, lending.image_id) is None
