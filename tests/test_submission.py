"""Runs put into the queue by the core: who may have which policy, and what is made again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import isolation
from isolation.clock import SystemClock
from isolation.errors import ContextError, InputError, PolicyError
from isolation.order import Wanted, recorded
from isolation.rules.entitlement import secrets_of
from isolation.stores import Stores
from isolation.submission import enqueue_all, replay, rerun

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CLOCK = SystemClock()


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "load.py").write_text("def run(context, params): ...\n")
    (folder / "recipe.yaml").write_text("context: {reads: [a]}\nsteps: [{name: load, module: load, function: run}]\n")
    return folder


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    with Stores(tmp_path / "state") as opened:
        yield opened


def test_a_policy_of_others_is_refused_before_anything_waits(tmp_path: Path, recipe: Path, stores: Stores) -> None:
    """The same for whoever submits, and before an engine is asked for who runs at once."""
    policy = tmp_path / "ours.yaml"
    policy.write_text("name: ours\nnamespaces: [team-*]\n")
    with pytest.raises(PolicyError, match="the policy 'ours' is not for the namespace 'default'"):
        isolation.submit(recipe, policy=str(policy), state=stores.folder)
    assert stores.ledger.list(9) == ()
    assert isolation.submit(recipe, policy=str(policy), state=stores.folder, namespace="team-a")


def test_inputs_go_over_the_values_of_all_and_are_checked_first(recipe: Path, stores: Stores) -> None:
    """One that the recipe may not read is the end of all."""
    order = Wanted(recipe=recipe, policy="default", context={"a": 0}).order(stores, secrets_of)
    with pytest.raises(ContextError, match="may not read 'b'"):
        enqueue_all(stores, order, {"k1": {"a": 1}, "k2": {"b": 1}}, CLOCK)
    assert stores.ledger.list(9) == ()
    ids = enqueue_all(stores, order, {"k1": {"a": 1}, "k2": {}}, CLOCK)
    assert [recorded(stores, stores.ledger.record(run)).inputs for run in ids] == [{"a": 1}, {"a": 0}]


def test_what_has_no_result_is_not_replayed(recipe: Path, stores: Stores) -> None:
    """There would be nothing to compare it with; it may be run again."""
    run_id = isolation.submit(recipe, state=stores.folder)
    with pytest.raises(InputError, match="has no result"):
        replay(stores, run_id, CLOCK)
    again = stores.ledger.record(rerun(stores, run_id, CLOCK))
    assert again.rerun_of == run_id
