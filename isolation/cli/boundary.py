"""The boundary between commands and the process: exceptions become text on stderr and an exit code, here alone."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from isolation.cli.app import parser_for
from isolation.cli.line import globals_first
from isolation.errors import IsolationError
from isolation.rules.escape import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFECT = 70
INTERRUPTED = 130
BROKEN_PIPE = 141
"""128 + SIGPIPE, as the shell reports any program whose reader went away."""


def run(arguments: Sequence[str]) -> int:
    """Run one command; everything that goes wrong has been told on stderr when this returns its exit code."""
    _let_anything_be_written()
    try:
        first, rest = globals_first(arguments)
        given = parser_for(rest[0] if rest else "").read(first + rest)
        return int(given.run(given))
    except IsolationError as error:
        tell(error.sentence, error.hint)
        return error.exit_code
    except KeyboardInterrupt:
        tell("interrupted", "Nothing was merged by it; `isolation runs` shows what is recorded.")
        return INTERRUPTED
    except BrokenPipeError:
        return BROKEN_PIPE
    except SystemExit as left:  # argparse, after --help and --version
        return left.code if isinstance(left.code, int) else 0
    except Exception as error:  # noqa: BLE001 - the last resort, which reports it
        return _defect(error)


def flush(code: int) -> int:
    """Write out what is still held back; the exit code tells if that cannot be done."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = BROKEN_PIPE
    except OSError as error:
        tell(f"the output cannot be written: {error.strerror}", "Send it somewhere else.")
        code = 4
    with suppress(OSError):
        sys.stderr.flush()
    return code


def tell(sentence: str, hint: str = "") -> None:
    """Tell a person what went wrong and what to do."""
    text = f"isolation: {escape(sentence, lines=True)}\n"
    with suppress(OSError):
        sys.stderr.write(f"{text}{escape(hint, lines=True)}\n" if hint else text)


def _defect(error: Exception) -> int:
    if os.environ.get("ISOLATION_DEBUG") == "1":
        import traceback  # noqa: PLC0415 - only for who debugs us

        sys.stderr.write(escape("".join(traceback.format_exception(error)), lines=True))
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    tell(
        f"this is a defect of ours: {said}",
        "Please report it, with what ISOLATION_DEBUG=1 in the environment adds to this.",
    )
    return DEFECT


def _let_anything_be_written() -> None:
    """Never fail for a character that the terminal's encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
