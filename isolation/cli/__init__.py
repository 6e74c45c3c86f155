"""
The command line: a thin layer over the controller and the stores, and the only one that talks to a person.

Starting fast is a promise here: these modules import the nouns alone, and whatever is heavier (the database, the
engine, pydantic, rich) inside the command that needs it.

::

    main ─▶ boundary ─▶ app ─▶ one function a command ─▶ controller, stores
      │          │                      │
      │    errors as text         summary, words, progress, ...: values to text
      └─▶ ahead: the same, in a process that has imported it all
"""

from __future__ import annotations

import gc
import os
import sys

_OBJECTS_BETWEEN_COLLECTIONS = 200_000
_STARTING = ("run", "rerun", "replay", "verify", "batch")
"""Commands after which a pool is started, unless there is one: people tend to give another of these."""
_FASTER = (*_STARTING, "runs", "show", "logs", "submit", "wait", "cancel", "diff", "context", "package")
"""Commands that a pool carries out, if there is one: those that wait for imports."""
_CAME_TO_AN_END = (0, 1)


def main() -> None:
    """Run the command that the process was called with, and end the process with its exit code."""
    # A command makes hundreds of thousands of objects that all stay (modules, classes): looking through them for
    # garbage as often as Python does by default takes a tenth of the imports' time (0.90, median of 15 pairs).
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS, 10, 10)
    from isolation.cli.line import WITHOUT_A_POOL, globals_first  # noqa: PLC0415 - imports come after the line above

    options, rest = globals_first(sys.argv[1:])
    command, pool = rest[0] if rest else "", WITHOUT_A_POOL not in options
    code = _handed_over() if pool and command in _FASTER else None
    if code is None:
        from isolation.cli.boundary import flush, run  # noqa: PLC0415 - what handing over spares

        code = flush(run(sys.argv[1:]))
        if pool and command in _STARTING and code in _CAME_TO_AN_END:
            _start_a_pool()
    # All is closed and written; taking the interpreter apart would take longer than many a command.
    os._exit(code)


def _handed_over() -> int | None:
    if os.environ.get("ISOLATION_POOL") == "off":  # spares looking for one, which reads the settings for itself
        return None
    from isolation.cli.ahead.client import hand_over  # noqa: PLC0415 - as above

    return hand_over()


def _start_a_pool() -> None:
    from isolation.settings import load_settings  # noqa: PLC0415 - imported by the command

    settings = load_settings()
    if settings.pool_s is not None:
        from isolation.cli.ahead.start import start_for_the_next  # noqa: PLC0415 - only the first command needs it

        start_for_the_next(settings)
