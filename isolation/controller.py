"""
The whole way of the data, in order, in one place.

    recipe ─load─▶ ─pack─▶ package        policy ─check─▶        context ─freeze─▶ snapshot
      ─claim─▶ cell ─deliver─▶ listen ─collect─▶ evidence ─judge─▶ outcome ─retry?─▶ … ─merge and record─▶ result

Up to the package it goes here; ``prepared`` and ``execution`` take it on, at once, again and again or from the queue.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from isolation.batches import Batch
from isolation.clock import timestamp
from isolation.errors import (
    DatabaseLostError,
    EngineError,
    EngineUnreachableError,
    ImageError,
    InputError,
    IsolationError,
    UnenforceableError,
)
from isolation.execution import Execution, Hindrance, Means, Taken
from isolation.inputs import inputs_of
from isolation.keeper import Keeper
from isolation.model.adjustments import NO_ADJUSTMENTS
from isolation.model.evidence import Evidence
from isolation.model.outcome import Outcome
from isolation.model.run import StepError
from isolation.order import Wanted, afresh, recorded
from isolation.prepared import Prepared, teller
from isolation.rules.entitlement import secrets_of
from isolation.rules.retry import widest
from isolation.stopwatch import Stopwatch
from isolation.vault import Vault

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pydantic import JsonValue

    from isolation.clock import Clock
    from isolation.model.adjustments import Adjustments
    from isolation.model.event import Watcher
    from isolation.model.policy import Policy
    from isolation.model.recipe import Recipe
    from isolation.model.run import Result
    from isolation.model.secret import Secret
    from isolation.order import Order
    from isolation.sandbox.cells import Cells
    from isolation.sandbox.engine import Engine as ContainerEngine
    from isolation.storage.queue import Claim
    from isolation.stores import Stores


class Controller:
    """
    Runs recipes on one engine, with one state folder. Safe to use from several threads.

    ``default_policy`` is a name or a file; ``image`` is the runner image's name on the engine. ``environment`` is for
    recipes that are otherwise in some. ``vault`` has the values of the secrets that recipes may ask for; without one
    there are none.
    """

    def __init__(
        self,
        *,
        stores: Stores,
        engine: ContainerEngine,
        cells: Cells,
        clock: Clock,
        image: str,
        default_policy: str = "default",
        paths: Sequence[Path] = (),
        environment: str = "",
        vault: Vault | None = None,
    ) -> None:
        self.stores = stores
        self.engine = engine
        self.cells = cells
        self.clock = clock
        self._image = image
        self._default_policy = default_policy
        self._paths = tuple(paths)
        self._environment = environment
        self._vault = vault or Vault()
        self._keeper = Keeper(stores, clock)

    def run(
        self,
        recipe: Path | str,
        *,
        policy: Policy | str | None = None,
        context: Mapping[str, JsonValue] | None = None,
        only: Sequence[str] = (),
        skip: Sequence[str] = (),
        paths: Sequence[Path] = (),
        adjustments: Adjustments = NO_ADJUSTMENTS,
        watcher: Watcher | None = None,
        cancel: threading.Event | None = None,
        merges: bool = True,
    ) -> Result:
        """
        Run a recipe: a file, or a folder with ``recipe.yaml``.

        ``context`` holds values for this run only, over those of the shared context; ``adjustments`` are what is to be
        done otherwise than the recipe says. Returns when the run has ended,
        however it ended: a recipe's failure is a result. Raises IsolationError for ours, before anything runs where
        that is possible. Without ``merges``, what it would change is recorded, and goes nowhere.
        """
        watch = Stopwatch(self.clock)
        with watch.phase("pack"):
            prepared = self.prepare(
                recipe,
                policy=policy,
                context=context,
                only=only,
                skip=skip,
                paths=paths,
                adjustments=adjustments,
                merges=merges,
            )
        return prepared.run(watcher=watcher, cancel=cancel, watch=watch)

    def prepare(
        self,
        recipe: Path | str,
        *,
        policy: Policy | str | None = None,
        context: Mapping[str, JsonValue] | None = None,
        only: Sequence[str] = (),
        skip: Sequence[str] = (),
        paths: Sequence[Path] = (),
        adjustments: Adjustments = NO_ADJUSTMENTS,
        merges: bool = True,
        apart: bool = False,
    ) -> Prepared:
        """
        Load, check and pack a recipe, to be run as often as wanted; all is as for ``run``.

        ``context`` holds the values of all its runs, unless they are given others. Those of runs ``apart`` are all that
        they see of the context, as far as they may, and nothing of them is merged. Raises IsolationError.
        """
        wanted = Wanted(
            recipe=recipe,
            policy=policy or self._default_policy,
            context=context or {},
            only=only,
            skip=skip,
            paths=[*paths, *self._paths],
            adjustments=adjustments,
            apart=apart,
            environment=self._environment,
        )
        asked = self.cells.beside.submit(self.engine.image_id, self._image)
        checked: list[tuple[Mapping[str, Secret], str]] = []
        order = wanted.order(
            self.stores, lambda recipe, policy: checked.append((self._secrets(recipe, policy), asked.result()))
        )
        ((secrets, image_id),) = checked
        order = replace(order, image_id=image_id, merges=merges and not apart)
        return Prepared(self._means(self.stores), order, secrets)

    def batch(
        self,
        recipe: Path | str,
        inputs: Iterable[Mapping[str, JsonValue]] | Path | str,
        *,
        policy: Policy | str | None = None,
        context: Mapping[str, JsonValue] | None = None,
        only: Sequence[str] = (),
        skip: Sequence[str] = (),
        paths: Sequence[Path] = (),
        adjustments: Adjustments = NO_ADJUSTMENTS,
        workers: int | None = None,
        ordered: bool = True,
        key: str | None = None,
        retry_failed: bool = False,
    ) -> Batch:
        """
        Prepare a recipe to be run on many inputs; nothing runs before somebody iterates over the batch.

        ``inputs`` are context values for each run alone, over ``context``; or a file with one JSON object a line, ``-``
        for standard input. ``workers`` run at once, as many as there are CPUs unless said otherwise. The rest is as for
        ``Batch`` and ``prepare``.
        """
        given = inputs_of(inputs)
        prepared = self.prepare(
            recipe, policy=policy, context=context, only=only, skip=skip, paths=paths, adjustments=adjustments
        )
        return Batch(prepared, given, key=key, workers=workers, ordered=ordered, retry_failed=retry_failed)

    def rerun(
        self,
        run: str,
        *,
        fresh_context: bool = False,
        watcher: Watcher | None = None,
        cancel: threading.Event | None = None,
    ) -> Result:
        """
        Run a recorded run again: same package, policy, image and snapshot, all from the record.

        ``fresh_context`` takes today's context instead of the recorded snapshot, but for the values that were given
        for that run only. Every step runs, also one that could take what an earlier run made.
        """
        watch = Stopwatch(self.clock)
        with watch.phase("pack"):
            order, secrets = self._recorded(run)
        order = afresh(order) if fresh_context else replace(order, replay_of="")
        again = Prepared(self._means(self.stores), replace(order, runs_all=True), secrets)
        return again.run(watcher=watcher, cancel=cancel, watch=watch)

    def replay(
        self,
        run: str,
        *,
        policy: Policy | None = None,
        watcher: Watcher | None = None,
        cancel: threading.Event | None = None,
    ) -> Result:
        """
        Run a finished run again from the record, with another policy if one is given, and merge nothing.

        Raises InputError where the run has no result to be compared with.
        """
        watch = Stopwatch(self.clock)
        with watch.phase("pack"):
            order, secrets = self._recorded(run)
            again = self.stores.ledger.get(run).run_id
            order = replace(order, policy=policy or order.policy, replay_of=again)
        replaying = Prepared(self._means(self.stores), order, secrets)
        return replaying.run(watcher=watcher, cancel=cancel, watch=watch)

    def carry_on(
        self,
        claim: Claim,
        *,
        cancel: threading.Event,
        released: threading.Event,
        watcher: Watcher | None = None,
    ) -> Result | float:
        """
        Make one attempt of a run that was taken from the queue; returns its result, or the seconds until another.

        Until then it waits in the queue, and nobody for it. What this host cannot run ends as refused. ``released`` is
        set, and then ``cancel``, to stop the attempt and leave the run to others. RunEndedError if it is another's;
        EngineUnreachableError where the engine is away: the run waits again then, and the attempt does not count.
        """
        stores = self.stores.within(claim.namespace)
        with self._not_begun(claim):
            record = stores.ledger.record(claim.run_id)
            try:
                order = recorded(stores, record)
            except (IsolationError, ValueError) as error:
                why = StepError(step="", type="Refused", message=_said(error))
                return stores.ledger.refuse(claim.run_id, claim.epoch, why, timestamp(self.clock.now()))
            able = self._able(order, claim.lost)
        made = [*record.attempts]
        taken = Taken(claim.run_id, epoch=claim.epoch, queued=True, attempts=made, cancel=cancel, released=released)
        secrets, image_id = ({}, "") if isinstance(able, Hindrance) else able
        order = replace(order, image_id=order.image_id or image_id)
        watch = Stopwatch(self.clock)
        if claim.waited_s is not None:
            watch.waited("queue", claim.waited_s)
        means, tell = self._means(stores), teller(watcher)
        execution = Execution(means, order, taken, secrets=secrets, watch=watch, tell=tell)
        if isinstance(able, Hindrance):
            return execution.end_without_a_cell(able)
        with self._keeper.watching(taken.run_id, cancel):
            return execution.attempt()

    @contextmanager
    def _not_begun(self, claim: Claim) -> Iterator[None]:
        """Put a run back uncounted where database or engine turn out to be away before anything of it has begun."""
        try:
            yield
        except (DatabaseLostError, EngineUnreachableError):
            self.give_back(claim, begun=False)
            raise

    def give_back(self, claim: Claim, *, begun: bool = True) -> None:
        """Put a run back into the queue that cannot be gone on with here; if ``begun``, its attempt counts as lost."""
        ledger = self.stores.within(claim.namespace).ledger
        self._keeper.give_up(lambda at: ledger.give_back(claim.run_id, claim.epoch, at, begun=begun))

    def engine_answers(self) -> bool:
        """Tell whether the engine is there."""
        try:
            self.engine.image_id(self._image)
        except EngineUnreachableError:
            return False
        except EngineError:
            return True
        return True

    def close(self) -> None:
        """Take back what could not be before, and close the stores."""
        self.cells.close()
        self._keeper.close()
        self.stores.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check(self, recipe: Recipe, policy: Policy) -> tuple[Mapping[str, Secret], str]:
        """Return the secrets and the image; raises for what this host cannot give or hold."""
        return self._secrets(recipe, policy), self.engine.image_id(self._image)

    def _secrets(self, recipe: Recipe, policy: Policy) -> Mapping[str, Secret]:
        secrets = self._vault.take(secrets_of(recipe, policy))
        self.cells.check(widest(policy))
        return secrets

    def _able(self, order: Order, lost: int) -> tuple[Mapping[str, Secret], str] | Hindrance:
        """Return the secrets and the image for a run of the queue, or what keeps it from a cell of ours."""
        if lost:
            died = Evidence(lost="whoever ran it died, was paused for too long, or could not go on with it")
            return Hindrance(outcome=Outcome.LOST, cause="controller", evidence=died, times=lost)
        try:
            return self._check(order.package.recipe, order.policy)
        except EngineUnreachableError:
            raise
        except (ImageError, UnenforceableError, InputError) as error:
            why = Evidence(refused=_said(error))
            return Hindrance(outcome=Outcome.REFUSED, cause=type(error).__name__, evidence=why)
        except EngineError as error:  # it answers, and is in trouble: another time it may not be
            return Hindrance(outcome=Outcome.LOST, cause="engine", evidence=Evidence(lost=_said(error)))

    def _recorded(self, run: str) -> tuple[Order, Mapping[str, Secret]]:
        order = recorded(self.stores, self.stores.ledger.record(run))
        secrets, image_id = self._check(order.package.recipe, order.policy)  # no record has them
        return replace(order, image_id=order.image_id or image_id), secrets

    def _means(self, stores: Stores) -> Means:
        return Means(stores=stores, engine=self.engine, cells=self.cells, clock=self.clock, keeper=self._keeper)


def _said(error: Exception) -> str:
    return f"{error.sentence} {error.hint}".strip() if isinstance(error, IsolationError) else str(error)
