"""Cells that stand ready, where systemd keeps the groups: the engine gives them their limits at the claim."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from isolation.model.outcome import Outcome
from isolation.model.policy import Limits, Policy
from isolation.sandbox.pool.shape import shape_of
from isolation.settings import Settings, load_settings
from isolation.wiring import open_controller

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from isolation.controller import Controller
    from tests.sandbox.conftest import Recipe

WITHIN_S = 120.0


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    state: Path = tmp_path_factory.mktemp("warm") / "state"
    with open_controller(Settings(state=state), idle=1) as controller:
        yield controller


@pytest.mark.parametrize(
    ("memory", "outcome"), [("64MiB", Outcome.OUT_OF_MEMORY), ("256MiB", Outcome.SUCCEEDED)], ids=["little", "enough"]
)
def test_a_cell_that_stood_ready_has_its_runs_limits(
    warm: Controller, recipe: Recipe, memory: str, outcome: Outcome
) -> None:
    """And all of it is attested, from the host."""
    policy = Policy(name="test", limits=Limits.model_validate({"wall": 60, "memory": memory}))
    shape = shape_of(policy, warm.engine.image_id(load_settings().image))
    assert shape is not None
    assert warm.cells.pool is not None
    warm.cells.pool.expect(shape)
    assert warm.cells.pool.wait(shape, 1, WITHIN_S)

    result = warm.run(recipe("def run(context, params):\n    held = bytearray(100 * 2**20)\n"), policy=policy)

    attestation = result.attempts[0].attestation
    assert attestation is not None
    assert (attestation.cell, attestation.having("mismatch")) == ("warm", ())
    assert result.outcome is outcome
