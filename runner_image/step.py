"""One try of one step, in a process of its own: import the scriptlet, call it, answer, exit."""

from __future__ import annotations

import errno
import os
import sys
import time

import walls
from contract import ANSWER, RECORD, Malformed, check_json, dumps, frame

LIBRARY = "/opt/runner/library"
PACKAGE = "/package"
LAYER = "/layer"

_MESSAGE_CHARS = 4_000
_TRACEBACK_CHARS = 16_000
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def live(step: dict, values: dict, config: dict, answer_fd: int) -> int:
    """
    Run the step and write its answer; returns the process's exit code.

    Only what ``answer_fd`` gets counts: a step that exits without an answer has given none.
    """
    os.setsid()
    walls.show()
    os.chdir(PACKAGE)  # relative names find the data files; what is written there would be lost, and is refused
    sys.path[:] = [LIBRARY, PACKAGE, *(path for path in sys.path if path != "/opt/runner"), LAYER]
    sys.argv = [step["module"]]
    _send_logs_to(answer_fd)

    from orchestrator.context import Context

    context = Context(values, who=step["name"])
    context.config = config
    outputs, problem = None, None
    try:
        outputs = _call(step, context)
        problem = _judge_outputs(outputs)
    except BaseException as error:  # noqa: BLE001 - whatever a step raises is its result; SystemExit too
        problem = _describe(error)
    answer = {
        "set": {key: context._values[key] for key in context._changed if key in context._values},
        "deleted": sorted(key for key in context._changed if key not in context._values),
        "writers": context._changed,
        "reads": sorted(key for key in context._read if isinstance(key, str)),
        "outputs": outputs if isinstance(outputs, dict) and not problem else None,
        "problem": problem,
    }
    _flush()
    _write(answer_fd, frame(ANSWER, dumps(answer)))
    return 1 if problem else 0


def _call(step: dict, context: object) -> object:
    __import__(step["module"])
    target = getattr(sys.modules[step["module"]], step["function"])
    params = step["args"]
    if not isinstance(target, type):
        return target(context, params)
    scriptlet = target()
    try:
        if hasattr(scriptlet, "setup"):
            scriptlet.setup(context, params)
        return scriptlet.run(context, params)
    finally:
        if hasattr(scriptlet, "teardown"):
            scriptlet.teardown(context)


def _judge_outputs(outputs: object) -> dict | None:
    if outputs is None or isinstance(outputs, bool):
        return None if outputs is not False else _problem("exit_code", "ExitCode", "the step returned False")
    if isinstance(outputs, int):
        return None if outputs == 0 else _problem("exit_code", "ExitCode", f"the step returned {outputs}")
    if not isinstance(outputs, dict):
        said = f"run() returned a {type(outputs).__name__}; it may return a dict, an int or None"
        return _problem("bad_outputs", "TypeError", said)
    try:
        check_json(outputs)
    except Malformed as error:
        return _problem("bad_outputs", "ValueError", f"run() returned outputs that are not JSON: {error}")
    return None


def _describe(error: BaseException) -> dict | None:
    if isinstance(error, SystemExit):
        if error.code in {None, 0}:
            return None
        return _problem("exit_code", "SystemExit", f"the step called exit({error.code!r})")
    import traceback  # only a step that fails pays for it

    text = "".join(traceback.format_exception(error))
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    cause = "disk_full" if _is_full(error) else "exception"
    return _problem(cause, name, _say(error), _without_us(text)[-_TRACEBACK_CHARS:])


def _say(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - an exception whose own text fails is still reported
        return "(its text cannot be had)"


def _problem(cause: str, kind: str, message: str, trace: str = "") -> dict:
    clean = {"cause": cause, "type": kind[:200], "message": message[:_MESSAGE_CHARS], "traceback": trace}
    return {key: text.replace("\0", "�").encode("utf-8", "replace").decode() for key, text in clean.items()}


def _without_us(text: str) -> str:
    lines = text.splitlines(keepends=True)
    kept, skipping = [], False
    for line in lines:
        if line.startswith('  File "'):
            skipping = '"/opt/runner/step.py"' in line
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


def _send_logs_to(answer_fd: int) -> None:
    def sink(level: str, logger: str, message: str) -> None:
        text = message[:_TRACEBACK_CHARS].replace("\0", "�").encode("utf-8", "replace").decode()
        record = {"level": level, "logger": logger[:200], "message": text, "at": time.time()}
        _write(answer_fd, frame(RECORD, dumps(record)))

    # Its module imports logging, which costs more than a small step does: only a step that logs pays for it.
    def find(name: str, path: object = None, target: object = None) -> None:
        if name == "src.core.logger":
            sys.meta_path.remove(finder)
            from src.core import logger

            logger.send_records_to(sink)

    finder = type("Finder", (), {"find_spec": staticmethod(find)})()
    sys.meta_path.insert(0, finder)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # closed, or full, by the step itself: what it lost was its own
            pass


def _write(fd: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
