"""A recipe that is loaded, checked and packed, to be run once or many times: what comes before a run, done once."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from isolation.clock import timestamp
from isolation.errors import DatabaseLostError, EngineError, EngineUnreachableError
from isolation.execution import Execution, Taken
from isolation.model.package import canonical, digest_of
from isolation.model.run import Digests
from isolation.order import check_inputs
from isolation.stopwatch import Stopwatch
from isolation.submission import new_run_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic import JsonValue

    from isolation.clock import Clock
    from isolation.execution import Means
    from isolation.model.event import Event, Watcher
    from isolation.model.key import Holder, Key
    from isolation.model.policy import Policy
    from isolation.model.recipe import Recipe
    from isolation.model.run import Result
    from isolation.model.secret import Secret
    from isolation.order import Order


class Prepared:
    """
    What ``Controller.prepare`` makes. Safe to use from several threads, as long as its controller is open.

    It holds what it was made of, whatever becomes of the recipe's folder, the image's name or the secrets' file.
    """

    def __init__(self, means: Means, order: Order, secrets: Mapping[str, Secret]) -> None:
        self._order = order
        self._means = means
        self._secrets = secrets

    def check(self, context: Mapping[str, JsonValue]) -> None:
        """Raise ContextError for values that a run of this cannot be given."""
        order = self._order
        check_inputs(context, order.package.recipe, order.policy, apart=order.apart)

    def run(
        self,
        context: Mapping[str, JsonValue] | None = None,
        *,
        watcher: Watcher | None = None,
        cancel: threading.Event | None = None,
        key: Key | None = None,
        watch: Stopwatch | None = None,
    ) -> Result:
        """
        Run it, and return how it ended, as ``Controller.run`` does.

        ``context`` holds values for this run only, over those that it was prepared with. ``key`` is kept with the run:
        no other has the same. ``watch`` knows already what came before the run.
        """
        order = self._order
        if context:
            self.check(context)
            order = replace(order, inputs={**order.inputs, **context})
        means, watch = self._means, watch or Stopwatch(self._means.clock)
        taken = Taken(new_run_id(means.clock), key=key, cancel=cancel or threading.Event())
        with means.keeper.watching(taken.run_id, taken.cancel):
            try:
                execution = Execution(means, order, taken, secrets=self._secrets, watch=watch, tell=teller(watcher))
                return execution.to_its_end()
            except BaseException as error:
                if taken.epoch or isinstance(error, DatabaseLostError):  # which may have kept that the run began
                    ledger, cause = means.stores.ledger, f"error:{type(error).__name__}"
                    means.keeper.give_up(lambda at: ledger.abandon(taken.run_id, at, cause))
                raise

    @property
    def recipe(self) -> Recipe:
        """What is run."""
        return self._order.package.recipe

    @property
    def policy(self) -> Policy:
        """What it may do."""
        return self._order.policy

    @property
    def clock(self) -> Clock:
        """The clock by which its runs are named."""
        return self._means.clock

    def holder(self, key: str, context: Mapping[str, JsonValue]) -> Holder | None:
        """Return the run that has a key, or None; IdempotencyError where that was a run of something else."""
        order = self._order
        policy = digest_of(order.policy.content())
        digests = Digests(package=order.package.digest, policy=policy, snapshot="", image="")
        inputs = digest_of(canonical({**order.inputs, **context}))
        return self._means.stores.ledger.under(key, digests, inputs)

    def recorded(self, run_id: str) -> Result:
        """Return the result of a run that has ended."""
        return self._means.stores.ledger.get(run_id)

    def check_engine(self) -> None:
        """Raise EngineUnreachableError where the engine is away."""
        try:
            self._means.engine.image_id(self._order.image_id)
        except EngineUnreachableError:
            raise
        except EngineError:
            return

    def bury_the_dead(self) -> None:
        """Take their runs from processes of this machine that are gone."""
        presence = self._means.stores.presence
        for dead in presence.gone():
            presence.bury(dead, timestamp(self.clock.now()))


def teller(watcher: Watcher | None) -> Callable[[Event], None]:
    """Return what tells an event to whoever watches."""
    return watcher.on_event if watcher else lambda _: None
