"""How long cells that are shared stay, and with what a policy cannot have them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from isolation.clock import SystemClock
from isolation.model.policy import Policy
from isolation.sandbox.cell import Cell
from isolation.sandbox.pool.kept import Kept

if TYPE_CHECKING:
    from collections.abc import Callable

    from isolation.model.run import Result
    from isolation.sandbox.leases import Leases

    Share = Callable[..., Result]

real = pytest.mark.engine
root = pytest.mark.skipif(os.geteuid() != 0, reason="looks into cells")


@pytest.mark.parametrize(
    "more",
    [
        {"limits": {"shm": "1MiB"}},
        {"runtime": "runsc", "limits": {"tmp_inodes": None}},
        {"network": {"allow": ["example.org:443"]}},
    ],
)
def test_what_would_leave_traces_cannot_be_had_with_it(more: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="leave traces"):
        Policy.model_validate({"name": "shared", "reuse": "package", **more})


def test_cells_stay_for_a_while_and_no_longer(leases: Leases) -> None:
    """Waits for the sweeper itself."""
    gone: list[Cell] = []
    kept = Kept(gone.append, SystemClock(), stays_s=0.05)
    cell = Cell("c", None, leases)  # type: ignore[arg-type]
    kept.put("key", cell)
    with kept._changed:
        assert kept._changed.wait_for(lambda: not kept._cells, 10)
    kept.close()

    assert gone == [cell]


def test_too_many_that_stay_lose_the_oldest(leases: Leases) -> None:
    gone: list[Cell] = []
    kept = Kept(gone.append, SystemClock())
    cells = [Cell(str(number), None, leases) for number in range(17)]  # type: ignore[arg-type]
    for number, cell in enumerate(cells):
        kept.put(number, cell)

    assert gone == cells[:1]
    assert kept.take(0) is None
    assert kept.take(16) is cells[16]
    kept.close()
    assert gone == cells[:16]


def test_one_that_comes_after_the_end_is_removed(leases: Leases) -> None:
    """A run that ends while its controller closes."""
    gone: list[Cell] = []
    kept = Kept(gone.append, SystemClock())
    kept.close()
    cell = Cell("late", None, leases)  # type: ignore[arg-type]
    kept.put("key", cell)

    assert gone == [cell]
    assert kept.take("key") is None


def test_it_is_not_the_default() -> None:
    assert Policy(name="plain").reuse == "never"
