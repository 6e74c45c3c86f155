"""One try of one step, in a process of its own: import the scriptlet, call it, answer, exit."""

from __future__ import annotations

import _thread
import gc
import os
import sys
import time
from _frozen_importlib_external import PathFinder
from time import monotonic  # by this name nobody can put another clock in its place once the step has begun

import plain
import still
import walls

from isolation.contract import (
    ANSWER,
    FIELDS_BYTES,
    LONGEST,
    MOST_FIELDS,
    RECORD,
    RECORD_CHARS,
    Malformed,
    check_json,
    dumps,
    frame,
)
from isolation.problem import clean, of_error, of_outputs, problem_of
from isolation.taken import MissingError, fill

TYPE_CHECKING = False  # not typing's: run.py says why
if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from importlib.machinery import ModuleSpec

    from orchestrator.context import Context

LIBRARY = "/opt/runner/library"
PACKAGE = "/package"
LAYER = "/layer"

_NAMES = [name.removesuffix(".py") for name in os.listdir(os.path.dirname(__file__))]
_NAMES += ["isolation.contract", "isolation.mapped", "isolation.problem", "isolation.rules", "isolation.rules.combine"]
_NAMES += ["isolation.taken"]
"""Modules of the runner, what else lies beside them, and what the host has by the same name."""
_NO_MODULE = "no such module"
_COMMON = ("json", "typing")
"""Each with a dozen others that it imports."""
_kept: list[object] = []
_found: dict[str, ModuleSpec | None] = {}
_OURS = ("/opt/runner/step.py", "/opt/runner/still.py", f"{LIBRARY}/scriptlets/framework.py")


def live(step: dict, values: MutableMapping, config: dict, secrets: dict, answer_fd: int) -> int:
    """
    Run the step and write its answer; returns the process's exit code.

    Only what ``answer_fd`` gets counts: a step that exits without an answer has given none.
    """
    os.setsid()
    if not secrets:  # who has some stays hidden from what other steps, of the same uid, left running
        walls.show()
    os.chdir(PACKAGE)  # relative names find the data files; what is written there would be lost, and is refused
    sys.path[:] = [LIBRARY, PACKAGE, *(path for path in sys.path if path != "/opt/runner"), LAYER]
    sys.argv = [step["module"]]
    still.hold(step["determinism"], step["name"])
    outlet = Outlet(answer_fd)
    _send_logs_to(outlet)

    from orchestrator.context import Context

    _forget_our_modules()
    context = Context(values, who=step["name"], secrets=secrets)
    context.config, context.features, context.environment = config, step["features"], step["environment"]
    os.register_at_fork(before=context.saw_all)
    own_pid = os.getpid()
    outputs, problem, import_s = _try(step, context)
    _flush()
    if os.getpid() != own_pid:  # a child that the step forked came back here: it has no answer to give
        return 1 if problem else 0
    answer = {
        **context.changes(),
        "reads": context.reads(),
        "read_all": context.read_all,
        "import_s": import_s,
        "outputs": outputs if isinstance(outputs, dict) and not problem else None,
        "problem": problem,
    }
    outlet.end(_said(answer))
    return 1 if problem else 0


def _try(step: dict, context: Context) -> tuple[object, dict | None, float | None]:
    """Import the step's module and call its scriptlet: what that returned, what went wrong, and the import's time."""
    outputs, problem, import_s = None, None, None
    try:
        if step["args_from"]:
            fill(step)
        began_s = monotonic()
        try:
            _import(step["module"])
        finally:
            import_s = monotonic() - began_s
        outputs, message = _call(step, context)
        problem = of_outputs(outputs, message)
    except MissingError as error:
        problem = problem_of("missing_output", "LookupError", str(error))
    except BaseException as error:  # noqa: BLE001 - whatever a step raises is its result; SystemExit too
        problem = of_error(error, _OURS)
    return outputs, problem, import_s


def list_package() -> None:
    """List the package's folder for the imports of all steps at once, and but once; nothing in it is opened."""
    if PACKAGE not in sys.path_importer_cache:
        PathFinder.find_spec(_NO_MODULE, [PACKAGE])


def import_common() -> bool:
    """
    Import what many steps do, once for all that are forked from now on; tells whether it was not there already.

    By the plan alone it is decided whether: a step must not see in what kind of cell it is.
    """
    plain.step_aside()
    missing = [name for name in _COMMON if name not in sys.modules]
    for name in missing:
        __import__(name)
    if missing:
        gc.freeze()  # it stays: no step's process looks at it again, and copies its pages
    return bool(missing)


def _forget_our_modules() -> None:
    """
    Free the names of the runner's own modules: a recipe's `plan.py` is as good as ours.

    The modules themselves are kept. To take them apart is work, as to look at all others is: each page of memory that a
    forked process touches is copied.
    """
    plain.step_aside()
    _kept.extend(sys.modules.pop(name, None) for name in _NAMES)


def find(name: str) -> ModuleSpec | None:
    """
    Find a module that is a file at the top of the package, for every process forked later; it is not opened.

    None for any other: one in a folder, of the library, of Python itself.
    """
    if name not in _found:
        python = "." in name or name in sys.stdlib_module_names
        spec = None if python else PathFinder.find_spec(name, [LIBRARY, PACKAGE])
        _found[name] = spec if spec is not None and spec.origin == f"{PACKAGE}/{name}.py" else None
    return _found[name]


def _import(name: str) -> None:
    """Do as ``import`` does, for a file of the package with less of Python to touch: each page of that is copied."""
    spec = find(name)
    if spec is None or name in sys.modules:
        __import__(name)
        return
    module = sys.modules[name] = type(sys)(name)
    names = {"__spec__": spec, "__loader__": spec.loader, "__package__": spec.parent}
    vars(module).update(names, __file__=spec.origin, __cached__=spec.cached)
    spec._initializing = True  # type: ignore[attr-defined]  # noqa: SLF001 - Python names circular imports by it
    try:
        with open(f"{PACKAGE}/{name}.py", "rb") as file:
            code = compile(file.read(), file.name, "exec", dont_inherit=True)
        exec(code, module.__dict__)  # noqa: S102 - a step's process is there to do it
    except BaseException:
        sys.modules.pop(name, None)
        raise
    finally:
        spec._initializing = False  # type: ignore[attr-defined]  # noqa: SLF001 - as above


class Outlet:
    """The step's way to the runner: whole frames, whichever thread writes them, and nothing after the answer."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = _thread.allocate_lock()  # what threading.Lock is; that module's import is not free
        self._ended = False

    def record(self, content: bytes) -> None:
        """Write a log record; one that comes after the answer is lost."""
        with self._lock:
            if not self._ended:
                self._write(frame(RECORD, content))

    def end(self, answer: bytes) -> None:
        """Write the answer."""
        with self._lock:
            self._ended = True
            self._write(frame(ANSWER, answer))

    def _write(self, content: bytes) -> None:
        view = memoryview(content)
        while view:
            view = view[os.write(self._fd, view) :]


def _said(answer: dict) -> bytes:
    try:
        return dumps(answer)
    except Malformed as error:  # each value can be said; all together cannot
        problem = problem_of("answer_too_large", "OverflowError", f"the step's changes and outputs together: {error}")
        empty = {"set": {}, "deleted": [], "writers": {}, "reads": [], "read_all": True, "outputs": None}
        return dumps(empty | {"import_s": answer["import_s"], "problem": problem})


def _call(step: dict, context: Context) -> tuple[object, str]:
    module, function = sys.modules[step["module"]], step["function"]
    if "scriptlets.framework" not in sys.modules and hasattr(getattr(module, function, None), "__code__"):
        return getattr(module, function)(context, step["args"]), ""  # it knows nothing of ours, and need not pay for it
    from scriptlets.framework import call

    return call(module, function, context, step["args"])


def _send_logs_to(outlet: Outlet) -> None:
    def sink(level: str, logger: str, message: str, extra: dict) -> None:
        record = {
            "level": clean(level)[: LONGEST["level"]],
            "logger": clean(logger)[: LONGEST["logger"]],
            "message": clean(message)[:RECORD_CHARS],
            "fields": _say_fields(extra) if extra else {},
            "at": time.time(),
        }
        outlet.record(dumps(record))

    # Its module imports logging, which costs more than a small step does: only a step that logs pays for it.
    still.when_imported("src.core.logger", lambda module: module.send_records_to(sink))


def _say_fields(extra: dict) -> dict:
    """Say what JSON cannot as text, and nothing of what is too much for a record."""
    fields: dict = {}
    for name, value in extra.items():
        try:
            check_json([[{name: value}]])  # as deep as it will lie in what reaches the host
            fields[name] = value
        except Malformed:
            fields[clean(str(name))[: LONGEST["level"]]] = clean(repr(value))[:FIELDS_BYTES]
    if len(fields) > MOST_FIELDS or sum(len(dumps({name: value})) for name, value in fields.items()) > FIELDS_BYTES:
        return {"left_out": f"{len(fields)} fields: more than {MOST_FIELDS}, or than {FIELDS_BYTES} bytes as JSON"}
    return fields


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # noqa: BLE001, S112 - closed, replaced or full by the step itself: what it lost was its own
            continue
