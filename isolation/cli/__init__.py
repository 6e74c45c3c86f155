"""
The command line: a thin layer over the controller and the stores, and the only one that talks to a person.

Starting fast is a promise here: these modules import the nouns alone, and whatever is heavier (the database, the
engine, pydantic, rich) inside the command that needs it.

::

    main ─▶ boundary ─▶ app ─▶ one function a command ─▶ controller, stores
                 │                      │
           errors as text         summary, words, progress, ...: values to text
"""

from __future__ import annotations

import gc
import os
import sys

_OBJECTS_BETWEEN_COLLECTIONS = 200_000


def main() -> None:
    """Run the command that the process was called with, and end the process with its exit code."""
    # A command makes hundreds of thousands of objects that all stay (modules, classes): looking through them for
    # garbage as often as Python does by default takes a tenth of the imports' time (0.90, median of 15 pairs).
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS, 10, 10)
    from isolation.cli.boundary import flush, run  # noqa: PLC0415 - imports come after the line above

    code = flush(run(sys.argv[1:]))
    # All is closed and written; taking the interpreter apart would take longer than many a command.
    os._exit(code)
