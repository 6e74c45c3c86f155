"""The functions for programs: the command line is a thin layer over the same."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from isolation import wiring
from isolation.clock import SystemClock, timestamp
from isolation.model.adjustments import NO_ADJUSTMENTS
from isolation.settings import load_settings

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pydantic import JsonValue

    from isolation.batches import Done
    from isolation.controller import Controller
    from isolation.model.adjustments import Adjustments
    from isolation.model.event import Watcher
    from isolation.model.policy import Policy
    from isolation.model.run import Result


def open_controller(
    *,
    state: Path | str | None = None,
    database: str | None = None,
    namespace: str | None = None,
    environment: str | None = None,
    engine: str | None = None,
    policy: str | None = None,
    image: str | None = None,
    paths: Sequence[Path | str] = (),
    secrets: Mapping[str, str] | Path | str | None = None,
    idle: int = 0,
) -> Controller:
    """
    Open a controller, to be used as a context manager or closed.

    ``database`` is the URL of a PostgreSQL for runs and context. ``secrets`` are values by name, or the file that has
    them. Up to ``idle`` cells are kept ready for runs to come, as many as are asked for: such a run begins in
    milliseconds. What is not given comes from the environment, the settings file, or the defaults, as on the command
    line.
    """
    file, given = (secrets, None) if isinstance(secrets, str | Path) else (None, secrets)
    settings = load_settings(
        state=state,
        database=database,
        namespace=namespace,
        environment=environment,
        engine=engine,
        policy=policy,
        image=image,
        paths=paths,
        secrets=file,
    )
    return wiring.open_controller(settings, secrets=given, idle=idle)


def run(
    recipe: Path | str,
    *,
    policy: Policy | str | None = None,
    context: Mapping[str, JsonValue] | None = None,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    adjustments: Adjustments = NO_ADJUSTMENTS,
    state: Path | str | None = None,
    engine: str | None = None,
    secrets: Mapping[str, str] | Path | str | None = None,
    watcher: Watcher | None = None,
    cancel: threading.Event | None = None,
) -> Result:
    """
    Run one recipe and return how it ended; its changes are merged into the context of the state folder.

    ``context`` holds values for this run only; ``adjustments`` are what is to be done otherwise than the recipe says
    (``isolation.model.adjustments``); ``secrets`` are as for ``open_controller``. Raises IsolationError for
    what is not the recipe's own failure.
    """
    with open_controller(state=state, engine=engine, secrets=secrets) as controller:
        return controller.run(
            Path(recipe),
            policy=policy,
            context=context,
            only=only,
            skip=skip,
            adjustments=adjustments,
            watcher=watcher,
            cancel=cancel,
        )


def batch(
    recipe: Path | str,
    inputs: Iterable[Mapping[str, JsonValue]] | Path | str,
    *,
    policy: Policy | str | None = None,
    context: Mapping[str, JsonValue] | None = None,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    adjustments: Adjustments = NO_ADJUSTMENTS,
    workers: int | None = None,
    ordered: bool = True,
    key: str | None = None,
    retry_failed: bool = False,
    state: Path | str | None = None,
    engine: str | None = None,
    secrets: Mapping[str, str] | Path | str | None = None,
) -> Iterator[Done]:
    """
    Run one recipe on many inputs, ``workers`` at once, and give what became of each: its ``number`` and ``result``.

    ``inputs`` are context values for each run alone, or a file with one JSON object a line. Who gives the same again
    with the same ``key`` goes on where it ended; ``retry_failed`` runs again what did not succeed. The rest is as for
    ``run``. Nothing runs before the first result is asked for; to leave the loop cancels what is under way.
    """
    with open_controller(state=state, engine=engine, secrets=secrets) as controller:
        yield from controller.batch(
            Path(recipe),
            inputs,
            policy=policy,
            context=context,
            only=only,
            skip=skip,
            adjustments=adjustments,
            workers=workers,
            ordered=ordered,
            key=key,
            retry_failed=retry_failed,
        )


def submit(
    recipe: Path | str,
    *,
    policy: Policy | str | None = None,
    context: Mapping[str, JsonValue] | None = None,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    adjustments: Adjustments = NO_ADJUSTMENTS,
    priority: int = 0,
    key: str | None = None,
    state: Path | str | None = None,
    database: str | None = None,
    namespace: str | None = None,
) -> str:
    """
    Put a recipe into the queue, for a worker, and return the run's id; no engine is asked.

    Whoever submits the same again with the same ``key`` gets the id of the first. A higher ``priority`` goes first in
    its namespace. Raises QueueFullError where too many wait.
    """
    from isolation.order import Wanted  # noqa: PLC0415 - slow to import
    from isolation.submission import submit as put  # noqa: PLC0415 - as above

    settings = load_settings(state=state, database=database, namespace=namespace)
    wanted = Wanted(
        recipe=recipe,
        policy=policy or settings.policy,
        context=context or {},
        only=only,
        skip=skip,
        adjustments=adjustments,
        paths=settings.paths,
        environment=settings.environment,
    )
    with wiring.open_stores(settings) as stores:
        return put(stores, wanted, SystemClock(), priority=priority, key=key)


def wait(
    run: str,
    *,
    timeout_s: float | None = None,
    state: Path | str | None = None,
    database: str | None = None,
    namespace: str | None = None,
) -> Result:
    """Wait until a run has ended, and return how; WaitTimeoutError after ``timeout_s`` seconds, and the run goes on."""
    from isolation.submission import wait as wait_for  # noqa: PLC0415 - slow to import

    with wiring.open_stores(load_settings(state=state, database=database, namespace=namespace)) as stores:
        return stores.ledger.get(wait_for(stores, run, SystemClock(), timeout_s=timeout_s).run_id)


def cancel(
    run: str,
    *,
    state: Path | str | None = None,
    database: str | None = None,
    namespace: str | None = None,
) -> bool:
    """
    End a run that waits or runs; tells whether it has ended already with that. TooLateError where it had before.

    Once this returns, nothing of the run is merged any more.
    """
    with wiring.open_stores(load_settings(state=state, database=database, namespace=namespace)) as stores:
        return stores.ledger.cancel(run, timestamp(SystemClock().now()))
