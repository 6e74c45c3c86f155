"""What a run is made of, before it has an id: from a recipe's folder, or from the record."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from isolation.context.value import check_entry
from isolation.errors import ContextError
from isolation.model.adjustments import NO_ADJUSTMENTS
from isolation.model.package import canonical, digest_of
from isolation.model.policy import Policy
from isolation.model.run import Digests
from isolation.model.snapshot import Snapshot
from isolation.model.step_result import key_of
from isolation.packaging.load import load_recipe
from isolation.packaging.pack import pack
from isolation.packaging.policy import load_policy
from isolation.packaging.requirements import Layers
from isolation.packaging.tree import read_manifest
from isolation.rules.adjust import adjust
from isolation.rules.entitlement import check_namespace
from isolation.rules.environment import for_environment
from isolation.rules.order import select
from isolation.rules.scope import allows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pydantic import JsonValue

    from isolation.model.adjustments import Adjustments
    from isolation.model.package import Package
    from isolation.model.recipe import Recipe
    from isolation.packaging.load import LoadedRecipe
    from isolation.storage.ledger import Record
    from isolation.stores import Stores


@dataclass(frozen=True, kw_only=True)
class Order:
    """
    Everything that a run is made of, but for secrets, which nothing records.

    ``snapshot`` None: a fresh one is taken. ``image_id`` empty: the image of that name as it is when the run begins.
    ``replay_of`` is the run that is repeated without a merge; empty for a run of its own, which may not merge either.
    ``apart``: it sees of the context nothing but its inputs. ``runs_all``: every step runs, also where a result of an
    earlier run could be taken; so it is for all that merge nothing.
    """

    package: Package
    policy: Policy
    inputs: Mapping[str, JsonValue]
    image_id: str = ""
    snapshot: Snapshot | None = None
    replay_of: str = ""
    merges: bool = True
    apart: bool = False
    runs_all: bool = False

    @property
    def keeps(self) -> bool:
        """Tell whether the run changes what others see: its changes are merged, its steps' results kept."""
        return self.merges and not self.replay_of

    def result_keys(self) -> dict[str, str]:
        """Name, for each step whose results are kept and taken, the key under which they are."""
        cached = [step.name for step in self.package.recipe.steps if step.cache] if self.keeps else []
        if not cached:
            return {}
        package, policy = self.package.digest, digest_of(self.policy.content())
        return {name: key_of(name, package=package, policy=policy, image=self.image_id) for name in cached}

    def record(self, stores: Stores) -> tuple[Digests, str]:
        """
        Keep everything by content; returns the digests, and that of the inputs.

        Those are kept by themselves only as long as there is no snapshot, which has them, too.
        """
        inputs = canonical(dict(self.inputs))
        digests = Digests(
            package=stores.blobs.put(self.package.manifest()),
            policy=stores.blobs.put(self.policy.content()),
            snapshot=stores.blobs.put(self.snapshot.content()) if self.snapshot else "",
            image=self.image_id,
        )
        return digests, digest_of(inputs) if self.snapshot else stores.blobs.put(inputs)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """
    What somebody asks for: a recipe (a file or its folder), and how. ``context`` holds values for this run only.

    ``apart``: they are all that it sees of the context, as far as it may.
    """

    recipe: Path | str
    policy: Policy | str
    context: Mapping[str, JsonValue]
    only: Sequence[str] = ()
    skip: Sequence[str] = ()
    paths: Sequence[Path] = ()
    adjustments: Adjustments = NO_ADJUSTMENTS
    apart: bool = False
    environment: str = ""

    def read(self) -> tuple[LoadedRecipe, Recipe, Policy]:
        """Load it: the file, the recipe as it is to be run, and the policy that it is run under."""
        policy = self.policy if isinstance(self.policy, Policy) else load_policy(self.policy)
        loaded = load_recipe(Path(self.recipe))
        here = for_environment(loaded.recipe, self.environment)
        return loaded, adjust(select(here, self.only, self.skip), self.adjustments), policy

    def order(self, stores: Stores, check: Callable[[Recipe, Policy], object]) -> Order:
        """
        Load, check and pack it; ``check`` raises for what cannot be had, before anything is packed.

        PolicyError where the policy is not for the namespace of the stores.
        """
        loaded, chosen, policy = self.read()
        check_namespace(policy, stores.namespace)
        check_inputs(self.context, chosen, policy, apart=self.apart)
        check(chosen, policy)
        package = pack(loaded, recipe=chosen, paths=self.paths, blobs=stores.blobs, layers=Layers(stores.layers))
        return Order(package=package, policy=policy, inputs=self.context, apart=self.apart)


@dataclass(frozen=True, kw_only=True)
class WantedPackage:
    """What somebody asks for who names a package that is there; the rest is as for ``Wanted``."""

    digest: str
    policy: Policy
    context: Mapping[str, JsonValue]
    only: Sequence[str] = ()
    skip: Sequence[str] = ()
    adjustments: Adjustments = NO_ADJUSTMENTS

    def order(self, stores: Stores, check: Callable[[Recipe, Policy], object]) -> Order:
        """
        Read it and check it, as ``Wanted.order`` does.

        StorageError where its manifest is not there. Whether the namespace may have it is for the caller to know.
        """
        package = read_manifest(stores.blobs.get(self.digest))
        chosen = adjust(select(package.recipe, self.only, self.skip), self.adjustments)
        check_namespace(self.policy, stores.namespace)
        check_inputs(self.context, chosen, self.policy)
        check(chosen, self.policy)
        return Order(package=replace(package, recipe=chosen), policy=self.policy, inputs=self.context)


def recorded(stores: Stores, record: Record) -> Order:
    """Read an order from the record: of a run that waits, or to be run again with the image and snapshot it had."""
    digests = record.digests
    snapshot = (
        Snapshot.read(stores.blobs.get(digests.snapshot), stores.contexts.base_named) if digests.snapshot else None
    )
    return Order(
        package=read_manifest(stores.blobs.get(digests.package)),
        policy=Policy.read(stores.blobs.get(digests.policy)),
        inputs=snapshot.given() if snapshot else json.loads(stores.blobs.get(record.inputs_digest)),
        image_id=digests.image,
        snapshot=snapshot,
        replay_of=record.replay_of,
        merges=snapshot is None or not snapshot.apart,
        apart=snapshot is not None and snapshot.apart,
        runs_all=bool(record.rerun_of),
    )


def afresh(order: Order) -> Order:
    """Return the same with today's context, and as a run of its own; for one that stands apart there is none."""
    return replace(order, snapshot=order.snapshot if order.apart else None, replay_of="")


def check_inputs(inputs: Mapping[str, JsonValue], recipe: Recipe, policy: Policy, *, apart: bool = False) -> None:
    """
    Raise ContextError for values for one run only that cannot be kept, or that the recipe may not read.

    For a run ``apart`` they are a whole context: it sees what it may of that.
    """
    for key, value in inputs.items():
        check_entry(key, value)
        if not apart and not allows(key, recipe.context.reads, policy.context.reads):
            raise ContextError(
                f"the recipe {recipe.name!r} may not read {key!r}, so setting it for this run would change nothing",
                hint="It reads: " + (", ".join(recipe.context.reads or policy.context.reads) or "nothing") + ".",
            )
