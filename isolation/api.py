"""The two functions for programs: the command line is a thin layer over the same."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from isolation import wiring
from isolation.settings import load_settings

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping, Sequence

    from pydantic import JsonValue

    from isolation.controller import Controller
    from isolation.model.event import Watcher
    from isolation.model.policy import Policy
    from isolation.model.run import Result


def open_controller(
    *,
    state: Path | str | None = None,
    database: str | None = None,
    namespace: str | None = None,
    engine: str | None = None,
    policy: str | None = None,
    image: str | None = None,
    paths: Sequence[Path | str] = (),
    secrets: Mapping[str, str] | Path | str | None = None,
) -> Controller:
    """
    Open a controller, to be used as a context manager or closed.

    ``database`` is the URL of a PostgreSQL for runs and context. ``secrets`` are values by name, or the file that has
    them. What is not given comes from the environment, the
    settings file, or the defaults, as on the command line.
    """
    file, given = (secrets, None) if isinstance(secrets, str | Path) else (None, secrets)
    settings = load_settings(
        state=state,
        database=database,
        namespace=namespace,
        engine=engine,
        policy=policy,
        image=image,
        paths=paths,
        secrets=file,
    )
    return wiring.open_controller(settings, secrets=given)


def run(
    recipe: Path | str,
    *,
    policy: Policy | str | None = None,
    context: Mapping[str, JsonValue] | None = None,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    state: Path | str | None = None,
    engine: str | None = None,
    secrets: Mapping[str, str] | Path | str | None = None,
    watcher: Watcher | None = None,
    cancel: threading.Event | None = None,
) -> Result:
    """
    Run one recipe and return how it ended; its changes are merged into the context of the state folder.

    ``context`` holds values for this run only; ``secrets`` are as for ``open_controller``. Raises IsolationError for
    what is not the recipe's own failure.
    """
    with open_controller(state=state, engine=engine, secrets=secrets) as controller:
        return controller.run(
            Path(recipe), policy=policy, context=context, only=only, skip=skip, watcher=watcher, cancel=cancel
        )
