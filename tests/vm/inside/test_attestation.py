"""Attestation where AppArmor is in force, and where limits are read from slices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from isolation.model.outcome import Outcome
from tests.sandbox.test_attested_cells import CHANGES, HARMLESS, attested, check_refused, host

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from isolation.controller import Controller
    from tests.sandbox.conftest import Recipe


def test_every_fact_is_verified_here_and_apparmor_is_one_of_them(controller: Controller, recipe: Recipe) -> None:
    """From outside and from inside: the profile is the kernel's word, not the engine's."""
    result = controller.run(recipe(HARMLESS), policy="strict")

    assert result.outcome is Outcome.SUCCEEDED, result.errors
    facts = attested(result).facts
    assert {fact.verdict for fact in facts} == {"held"}
    profiles = {fact.view: fact.found for fact in facts if fact.name == "security module"}
    assert profiles == {"host": "docker-default (enforce)", "cell": "docker-default (enforce)"}


WRONG = {
    **CHANGES,
    "no profile": (
        lambda body: body["HostConfig"]["SecurityOpt"].append("apparmor=unconfined"),
        "security module",
    ),
    "more memory": (host(Memory=2**30, MemorySwap=2**30), "limit of memory"),
    "more processes": (host(PidsLimit=0), "limit of processes"),
}


@pytest.mark.parametrize(("change", "fact"), WRONG.values(), ids=WRONG)
def test_nothing_is_delivered_to_a_cell_that_is_confined_otherwise(
    controller: Controller,
    recipe: Recipe,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[dict[str, Any]], object],
    fact: str,
) -> None:
    """Found on this kernel, too; without a profile of AppArmor all else may be as asked."""
    check_refused(controller, recipe(HARMLESS), monkeypatch, change, fact)
