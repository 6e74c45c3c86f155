"""Compares two recorded runs by all that is kept of them, and by what their recipes and policies let differ."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from isolation.model.policy import Policy
from isolation.model.recipe import Leeway
from isolation.rules.compare import Comparing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from isolation.model.difference import Comparison
    from isolation.model.run import Result
    from isolation.stores import Stores


def compare(stores: Stores, left: Result, right: Result, asked: Leeway) -> Comparison:
    """Compare two finished runs, with what is ``asked`` to be let pass beside what each of them declares."""
    recorded = [leeway for result in (left, right) for leeway in declared(stores, result)]
    rule = Comparing(leeway_of(asked, *recorded))
    logs = [[*stores.logs.read(result.run_id)] for result in (left, right)]
    return rule.compare(left, right, logs=(logs[0], logs[1]))


def leeway_of(*several: Leeway) -> Leeway:
    """Put several together: what one of them lets pass."""
    volatile = dict.fromkeys(glob for leeway in several for glob in leeway.volatile)
    return Leeway(volatile=tuple(volatile), tolerance=max(leeway.tolerance for leeway in several))


def declared(stores: Stores, result: Result) -> Iterator[Leeway]:
    """Yield what a run's policy and recipe declare, of those that are still kept."""
    if stores.blobs.has(result.digests.policy):
        yield Policy.read(stores.blobs.get(result.digests.policy)).determinism
    if stores.blobs.has(result.digests.package):
        recipe = json.loads(stores.blobs.get(result.digests.package))["recipe"]
        yield Leeway.model_validate(recipe.get("determinism", {}))
