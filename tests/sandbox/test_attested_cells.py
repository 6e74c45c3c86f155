"""Cells on the real engine, attested; and what becomes of one that is not confined as its policy asks."""

from __future__ import annotations

import os
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest

from isolation.model.outcome import Outcome
from isolation.model.policy import Policy
from isolation.packaging.policy import load_policy
from isolation.sandbox import cell
from isolation.sandbox.cell import Cell
from isolation.sandbox.cells import Cells
from isolation.sandbox.engine_counters import EngineGroup
from isolation.sandbox.groups.make import cpus_for_runs
from isolation.sandbox.groups.v1 import GroupV1
from isolation.sandbox.groups.v2 import GroupV2
from isolation.sandbox.hardening import create_body
from isolation.sandbox.leases import Leases

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from isolation.controller import Controller
    from isolation.model.attestation import Attestation
    from isolation.model.run import Result
    from tests.sandbox.conftest import Recipe

pytestmark = pytest.mark.engine
HARMLESS = "def run(context, params):\n    context.set('ran', True)\n"


def attested(result: Result) -> Attestation:
    attestation = result.attempts[-1].attestation
    assert attestation is not None
    return attestation


def test_every_fact_of_a_cell_is_verified_here(controller: Controller, recipe: Recipe) -> None:
    """As root on the engine's own host there is nothing that could not be read; `strict` requires just that."""
    result = controller.run(recipe(HARMLESS), policy="strict")

    assert result.outcome is Outcome.SUCCEEDED, result.errors
    assert {fact.verdict for fact in attested(result).facts} == {"held"}
    assert {fact.view for fact in attested(result).facts} == {"engine", "host", "cell"}


def test_the_attestation_is_kept_with_the_run(controller: Controller, recipe: Recipe) -> None:
    """A year later it still says what confined it."""
    result = controller.run(recipe(HARMLESS), policy="default")

    assert controller.stores.ledger.get(result.run_id).attempts[0].attestation == attested(result)


def changed(change: Callable[[dict[str, Any]], object]) -> Callable[..., dict[str, Any]]:
    def create(*args: Any, **kwargs: Any) -> dict[str, Any]:  # noqa: ANN401 - passed on
        body = deepcopy(create_body(*args, **kwargs))  # cells share its parts
        change(body)
        return body

    return create


def host(**values: object) -> Callable[[dict[str, Any]], object]:
    return lambda body: body["HostConfig"].update(values)


def on_the_hosts_network(body: dict[str, Any]) -> None:
    body["NetworkDisabled"] = False
    body["HostConfig"]["NetworkMode"] = "host"


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "capabilities": (host(CapDrop=[]), "capabilities"),
    "privileges": (lambda body: body["HostConfig"]["SecurityOpt"].remove("no-new-privileges:true"), "new privileges"),
    "system calls": (host(SecurityOpt=["no-new-privileges:true", "seccomp=unconfined"]), "seccomp"),
    "root": (host(ReadonlyRootfs=False), "mounts"),
    "limits": (host(Ulimits=[]), "limits of a process"),
    "a network": (on_the_hosts_network, "interfaces"),
    "a word to Python": (lambda body: body["Env"].append("PYTHONPATH=/package"), "environment"),
    "a library to load": (lambda body: body["Env"].append("LD_PRELOAD=/package/evil.so"), "environment"),
    "another's processes": (host(PidMode="host"), "own namespaces"),
}


def check_refused(
    controller: Controller,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[dict[str, Any]], object],
    fact: str,
) -> None:
    """Have a cell made otherwise than its policy asks, and assert that nothing is delivered to it, and nothing left."""
    monkeypatch.setattr(cell, "create_body", changed(change))

    result = controller.run(folder, policy=Policy(name="test"))

    assert (result.outcome, result.cause) == (Outcome.REFUSED, "attestation")
    assert fact in {found.name for found in attested(result).having("mismatch")}
    assert fact in result.errors[0].message
    assert controller.stores.contexts.history("ran") == ()
    assert result.run_id not in {left.run_id for left in controller.engine.leftovers()}


@pytest.mark.parametrize(("change", "fact"), CHANGES.values(), ids=CHANGES)
def test_nothing_is_delivered_to_a_cell_that_is_confined_otherwise(
    controller: Controller,
    recipe: Recipe,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[dict[str, Any]], object],
    fact: str,
) -> None:
    """The engine wrote down what it was told, so its record agrees: the kernel's word is what counts."""
    check_refused(controller, recipe(HARMLESS), monkeypatch, change, fact)


@pytest.mark.root
def test_one_run_has_no_more_processors_than_all_together(controller: Controller, recipe: Recipe) -> None:
    """A policy may ask for the whole host; the part that stays the host's is not given, and the record says so."""
    cpus = os.cpu_count() or 1
    policy = Policy.model_validate({"name": "test", "limits": {"cpus": cpus}})

    result = controller.run(recipe(HARMLESS), policy=policy)

    assert result.outcome is Outcome.SUCCEEDED, result.errors
    (held,) = [fact for fact in attested(result).facts if fact.name == "limit of processors"]
    assert (held.verdict, held.found) == ("held", f"{cpus_for_runs(cpus):g}")


def test_a_run_that_ends_is_let_go_first(
    controller: Controller, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its end is waited for."""
    told: list[str] = []
    for kind in (GroupV1, GroupV2, EngineGroup):
        monkeypatch.setattr(kind, "go_first", lambda _: told.append("first"))
    monkeypatch.setattr(Cell, "ended", wrapped(Cell.ended, lambda: told.append("wait")))

    assert controller.run(recipe(HARMLESS), policy=Policy(name="test")).succeeded

    assert told == ["first", "wait"]


def wrapped(function: Callable[..., Any], before: Callable[[], object]) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - passed on
        before()
        return function(*arguments, **named)

    return call


def test_what_cannot_be_read_is_unverified_and_refused_only_where_all_is_required(
    controller: Controller, recipe: Recipe, tmp_path: Path
) -> None:
    """As with an engine elsewhere: its record and the runner's word are all there is."""
    controller.cells = Cells(controller.engine, Leases(tmp_path / "uids"), local=False)

    result = controller.run(recipe(HARMLESS), policy="default")
    refused = controller.run(recipe(HARMLESS), policy=load_policy("strict"))

    assert result.outcome is Outcome.SUCCEEDED, result.errors
    assert {fact.view for fact in attested(result).having("unverified")} >= {"host"}
    assert attested(result).having("mismatch") == ()
    assert refused.outcome is Outcome.REFUSED
    assert "could not be verified" in refused.errors[0].message
