"""
What went wrong with a step: what it returned, or raised, in the words of its answer; in a cell and on the host.

A problem is ``{"cause": ..., "type": ..., "message": ..., "traceback": ...}``, each text as long as the contract lets
it be. The standard library only: the image has this file, too.
"""

from __future__ import annotations

import errno

from isolation.contract import LONGEST, Malformed, check_json

TYPE_CHECKING = False  # a cell does without typing
if TYPE_CHECKING:
    from collections.abc import Sequence

    Problem = dict[str, str]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def of_outputs(outputs: object, message: str) -> Problem | None:
    """Judge what a scriptlet returned; None where nothing is wrong with it. ``message`` says why it failed."""
    if outputs is None or isinstance(outputs, bool):
        return None if outputs is not False else problem_of("exit_code", "ExitCode", "the step returned False")
    if isinstance(outputs, int):
        said = f"the step returned {outputs}" + (f": {message}" if message else "")
        return None if outputs == 0 else problem_of("exit_code", "ExitCode", said)
    if not isinstance(outputs, dict):
        said = f"run() returned a {type(outputs).__name__}; it may return a dict, an int, a Result or None"
        return problem_of("bad_outputs", "TypeError", said)
    try:
        check_json(outputs)
    except Malformed as error:
        return problem_of("bad_outputs", "ValueError", f"run() returned outputs that are not JSON: {error}")
    return None


def of_error(error: BaseException, ours: Sequence[str]) -> Problem | None:
    """Describe what a scriptlet raised; None for an exit that succeeds. Its traceback leaves the files ``ours`` out."""
    if isinstance(error, SystemExit):
        if error.code is None or error.code == 0:
            return None
        return problem_of("exit_code", "SystemExit", f"the step called exit({error.code!r})")
    import traceback  # noqa: PLC0415 - only a step that fails pays for it

    text = "".join(traceback.format_exception(error))
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    cause = "disk_full" if _is_full(error) else "exception"
    return problem_of(cause, name, _say(error), _without(text, ours)[-LONGEST["traceback"] :])


def _say(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - an exception whose own text fails is still reported
        return "(its text cannot be had)"


def problem_of(cause: str, kind: str, message: str, trace: str = "") -> Problem:
    """Put a problem together, from texts that may be anything."""
    texts = {"cause": cause, "type": kind, "message": message, "traceback": trace}
    return {key: clean(text)[: LONGEST[key]] for key, text in texts.items()}


def clean(text: str) -> str:
    """Make a text one that UTF-8 and a database can keep."""
    return text.replace("\0", "�").encode("utf-8", "replace").decode()


def _without(text: str, files: Sequence[str]) -> str:
    lines = text.splitlines(keepends=True)
    kept, skipping = [], False
    for line in lines:
        if line.startswith('  File "'):
            skipping = any(f'"{path}"' in line for path in files)
        elif not line.startswith("    "):
            skipping = False
        if not skipping:
            kept.append(line)
    return "".join(kept)


def _is_full(error: BaseException | None) -> bool:
    for _ in range(10):
        if error is None:
            return False
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        error = error.__cause__ or error.__context__
    return False
