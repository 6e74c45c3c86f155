"""Puts a run into the queue, and waits for it; nobody asks an engine here."""

from __future__ import annotations

import threading
from dataclasses import replace
from secrets import token_hex
from typing import TYPE_CHECKING

from isolation.clock import timestamp
from isolation.errors import StorageError, WaitTimeoutError
from isolation.order import afresh, check_inputs, recorded
from isolation.rules.entitlement import check_namespace, secrets_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic import JsonValue

    from isolation.clock import Clock
    from isolation.model.run import RunSummary
    from isolation.order import Order, Wanted
    from isolation.storage.queue import Submission
    from isolation.stores import Stores

_LOOK_S = 0.2
_FOUND_S = 60.0
"""In this time a worker would have found that the process which runs a run is gone."""
_ENDED = {"finished", "abandoned"}


def new_run_id(clock: Clock) -> str:
    """Name a run: by the time, so that they sort, and by chance, which does not bring two of a million together."""
    return f"{clock.now():%Y%m%d-%H%M%S}-{token_hex(6)}"


def submit(stores: Stores, wanted: Wanted, clock: Clock, *, priority: int = 0, key: str | None = None) -> str:
    """
    Pack a recipe and put it into the queue; returns the run's id, and that of the first for who gives a ``key`` again.

    Whether the image, the secrets and the limits can be had is seen by whoever takes it.
    """
    return enqueue(stores, wanted.order(stores, secrets_of), clock, priority=priority, key=key)


def enqueue(stores: Stores, order: Order, clock: Clock, *, priority: int = 0, key: str | None = None) -> str:
    """Put what is packed already into the queue, as ``submit`` does."""
    return stores.queue.submit(_submission(stores, order, clock, priority, key), timestamp(clock.now()))


def enqueue_all(
    stores: Stores, order: Order, keyed: Mapping[str, Mapping[str, JsonValue]], clock: Clock, *, priority: int = 0
) -> tuple[str, ...]:
    """
    Put a run into the queue for each of several inputs, which are by their runs' keys, all of them or none.

    They go over the order's own values. Raises ContextError for one that cannot be given, before anything is kept.
    """
    for inputs in keyed.values():
        check_inputs(inputs, order.package.recipe, order.policy)
    submissions = [
        _submission(stores, replace(order, inputs={**order.inputs, **inputs}), clock, priority, key)
        for key, inputs in keyed.items()
    ]
    return stores.queue.submit_all(submissions, timestamp(clock.now()))


def rerun(
    stores: Stores,
    run: str,
    clock: Clock,
    *,
    fresh_context: bool = False,
    priority: int = 0,
    key: str | None = None,
) -> str:
    """
    Put a recorded run into the queue to be run again, as ``Controller.rerun`` does it; returns the new run's id.

    Who gives a ``key`` again gets that of the first. RunNotFoundError, StorageError where what it was made of is kept
    no more, PolicyError where its policy is not for this namespace.
    """
    record = stores.ledger.record(run)
    order = recorded(stores, record)
    order = afresh(order) if fresh_context else replace(order, replay_of="")
    submission = _submission(stores, order, clock, priority, key)
    return _again(stores, order, replace(submission, rerun_of=record.run_id, fresh=fresh_context), clock)


def replay(stores: Stores, run: str, clock: Clock, *, priority: int = 0, key: str | None = None) -> str:
    """
    Put a finished run into the queue to be run again without a merge, as ``Controller.replay`` does it.

    Returns an id and raises as ``rerun`` does, and InputError where the run has no result to compare with.
    """
    result = stores.ledger.get(run)
    order = replace(recorded(stores, stores.ledger.record(result.run_id)), replay_of=result.run_id)
    return _again(stores, order, _submission(stores, order, clock, priority, key), clock)


def _again(stores: Stores, order: Order, submission: Submission, clock: Clock) -> str:
    check_namespace(order.policy, stores.namespace)
    secrets_of(order.package.recipe, order.policy)
    return stores.queue.submit(submission, timestamp(clock.now()))


def _submission(stores: Stores, order: Order, clock: Clock, priority: int, key: str | None) -> Submission:
    from isolation.storage.queue import Submission  # noqa: PLC0415 - slow to import

    digests, inputs_digest = order.record(stores)
    return Submission(
        run_id=new_run_id(clock),
        recipe=order.package.recipe.name,
        policy=order.policy.name,
        digests=digests,
        inputs_digest=inputs_digest,
        priority=priority,
        key=key,
        replay_of=order.replay_of,
    )


def wait(
    stores: Stores,
    run: str,
    clock: Clock,
    *,
    timeout_s: float | None = None,
    tell: Callable[[RunSummary], object] = lambda _: None,
) -> RunSummary:
    """
    Wait until a run has ended; ``tell`` hears of each change.

    WaitTimeoutError, and the run goes on; StorageError where it cannot end, since the process that runs it is gone from
    this machine, and nobody is there who finds it.
    """
    until_s = None if timeout_s is None else clock.monotonic_s() + timeout_s
    run_id = stores.ledger.resolve(run)  # `last` may be another's soon
    told = None
    look_s = clock.monotonic_s() + _FOUND_S
    while True:
        summary = stores.ledger.summary(run_id)
        if (summary.state, summary.attempts) != told:
            told = summary.state, summary.attempts
            tell(summary)
        if summary.state in _ENDED:
            return summary
        if until_s is not None and clock.monotonic_s() >= until_s:
            raise WaitTimeoutError(
                f"the run {run_id} is still {summary.state} after {timeout_s:g} s", hint="It goes on; wait again."
            )
        if clock.monotonic_s() >= look_s:
            _check_held(stores, run_id)
            look_s = clock.monotonic_s() + _FOUND_S
        threading.Event().wait(_LOOK_S)


def _check_held(stores: Stores, run_id: str) -> None:
    for dead in stores.presence.gone():
        if run_id in stores.presence.runs_of(dead):
            raise StorageError(
                f"the process that ran the run {run_id} is gone, and nobody has found that yet",
                hint="`isolation clean` ends the run, and takes away what is left; a worker does the same.",
            )
