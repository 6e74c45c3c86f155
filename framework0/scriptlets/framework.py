"""
What scriptlets are made from, and how one is called. Host and container use this same file.

Each step that wants it pays for its import: nothing else is imported here, not even typing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Mapping, Sequence
    from types import ModuleType
    from typing import Any

    from orchestrator.context import Context

REGISTERED: dict[str, Callable] = {}
"""Scriptlet classes and functions by the name that they are registered under."""


class ParamsError(ValueError):
    """The params of a scriptlet are not what it declares; the text tells all that is wrong with them."""


class Result:
    """
    What ``run`` may return beside a dict, an int or None: a frozen value.

    ``exit_code`` 0 is success, and ``outputs`` count then only. ``message`` says why the step failed; that of a step
    which succeeded goes to its log. Raises TypeError for what these cannot be.
    """

    __slots__ = ("exit_code", "message", "outputs")
    outputs: dict | None
    exit_code: int
    message: str

    def __init__(self, outputs: dict | None = None, exit_code: int = 0, message: str = "") -> None:
        for name, value in zip(self.__slots__, (exit_code, message, outputs), strict=True):
            object.__setattr__(self, name, value)
        kinds = type(exit_code), type(message), isinstance(outputs, dict) or outputs is None
        if kinds != (int, str, True):
            raise TypeError(f"outputs is a dict or None, exit_code an int, message a text: not {self!r:.200}")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Result is frozen: make another, with {name}={value!r:.80}")

    def __repr__(self) -> str:
        return f"Result(outputs={self.outputs!r}, exit_code={self.exit_code!r}, message={self.message!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Result) and all(getattr(self, at) == getattr(other, at) for at in self.__slots__)

    __hash__ = None  # type: ignore[assignment]  # its outputs have none


class _Logger:
    """Makes a scriptlet's logger when it is first asked for; the scriptlet may put another in its place."""

    def __get__(self, scriptlet: BaseScriptlet, _: object = None) -> logging.Logger:
        logger = vars(scriptlet)["logger"] = _logger_of(scriptlet)
        return logger


class BaseScriptlet:
    """
    One unit of work: ``setup``, ``run``, ``teardown``; teardown always, also after a failure.

    ``params`` declares what the step's ``args`` may be, and closes the list: a name that is not in it is refused. Each
    name has some of the words ``type`` (string, integer, number, boolean, array, object, null, or a list of these),
    ``required``, ``default``, ``enum``, ``pattern`` (for the whole text), ``minimum``, ``maximum`` (of numbers, or of
    the length of texts and arrays), ``items``, ``properties`` and ``description``. ``required_params`` are names that
    must be there, whatever else is. Both are checked before ``setup``, which gets the params with defaults filled in.
    """

    params: Mapping[str, Mapping[str, Any]] = {}
    required_params: Sequence[str] = ()
    logger = _Logger()
    """A logger whose records arrive at the host with step, level and time."""

    def __init__(self) -> None:
        self.name = type(self).__name__
        self.version = "1.0"
        self.description = (type(self).__doc__ or "").strip()

    def setup(self, context: Context, params: dict) -> None:
        """Prepare; called before ``run``."""

    def run(self, context: Context, params: dict) -> dict | int | Result | None:
        """Do the work; returns the step's outputs, an exit code (0 succeeds), a Result or None."""
        raise NotImplementedError(f"{type(self).__name__} has no run(context, params)")

    def teardown(self, context: Context) -> None:
        """Clean up; called after ``run``, whatever became of it."""


def register_scriptlet(
    target: Callable | None = None,
    *,
    name: str | None = None,
    params: Mapping[str, Mapping[str, Any]] | None = None,
    required_params: Sequence[str] = (),
) -> Callable:
    """
    Register a scriptlet under its own name or another: ``@register_scriptlet``, ``@register_scriptlet(name=...)``.

    A class, or a function ``f(context, params)``; ``params`` and ``required_params`` declare those of a function, as a
    class does in its body. Returns what it was given. Raises TypeError for what cannot be a scriptlet.
    """

    def register(scriptlet: Any) -> Any:  # noqa: ANN401 - a class or a function, with attributes of ours
        if not callable(scriptlet):
            raise TypeError(f"{scriptlet!r} is no scriptlet: a class with run, or a function f(context, params)")
        if params or required_params:
            if isinstance(scriptlet, type):
                raise TypeError(f"{scriptlet.__name__} is a class: declare params and required_params in its body")
            scriptlet.params, scriptlet.required_params = params or {}, required_params
        REGISTERED[name or scriptlet.__name__] = scriptlet
        return scriptlet

    return register if target is None else register(target)


def call(module: ModuleType, function: str, context: Context, params: dict) -> tuple[object, str]:
    """
    Call the scriptlet that a module defines, or has registered, under a name.

    Returns what it returned and a message, a Result taken apart. Raises AttributeError where there is no such
    scriptlet, ParamsError before anything of it runs, and whatever it raises itself.
    """
    target = find(module, function)
    if not hasattr(target, "run") and not isinstance(target, type):
        return _take_apart(target, target(context, check_params(target, params)))
    scriptlet = target() if isinstance(target, type) else target
    params = check_params(scriptlet, params)
    try:
        if hasattr(scriptlet, "setup"):
            scriptlet.setup(context, params)
        said = scriptlet.run(context, params)
    except BaseException as error:
        try:
            _tear_down(scriptlet, context)
        except Exception as another:  # noqa: BLE001 - what went wrong first is what the step died of
            error.add_note(f"teardown failed, too: {type(another).__name__}: {another}")
        raise
    _tear_down(scriptlet, context)
    return _take_apart(scriptlet, said)


def find(module: ModuleType, function: str) -> Any:  # noqa: ANN401 - whatever the recipe's author wrote
    """Return what a recipe's ``function`` means in a module. Raises AttributeError with the names that come close."""
    own = {name: one for name, one in REGISTERED.items() if getattr(one, "__module__", None) == module.__name__}
    target = getattr(module, function, None) or own.get(function)
    if callable(target) or hasattr(target, "run"):
        return target
    from difflib import get_close_matches

    names = [*own, *(name for name, one in vars(module).items() if callable(one) and not name.startswith("_"))]
    close = get_close_matches(function, dict.fromkeys(names), n=1)
    hint = f": did you mean {close[0]!r}?" if close else ""
    raise AttributeError(f"module {module.__name__!r} has no scriptlet {function!r}{hint}")


def check_params(scriptlet: object, params: dict) -> dict:
    """Return the params with defaults filled in, as the scriptlet declares them. Raises ParamsError with all faults."""
    if hasattr(scriptlet, "run") and not isinstance(scriptlet, BaseScriptlet):
        return params  # a class that knows nothing of ours may have params of its own
    schema, required = getattr(scriptlet, "params", None), getattr(scriptlet, "required_params", ())
    if not schema and not required:
        return params
    from scriptlets import _params

    filled, faults = _params.check(params, schema or {}, required)
    if faults:
        raise ParamsError(f"{_name_of(scriptlet)}: {'; '.join(faults)}")
    return filled


def _tear_down(scriptlet: Any, context: Context) -> None:  # noqa: ANN401 - any class with run
    if hasattr(scriptlet, "teardown"):
        scriptlet.teardown(context)


def _take_apart(scriptlet: object, said: object) -> tuple[object, str]:
    if not isinstance(said, Result):
        return said, ""
    if said.exit_code != 0:
        return said.exit_code, said.message
    if said.message:
        _logger_of(scriptlet).info("%s", said.message)
    return said.outputs, said.message


def _logger_of(scriptlet: object) -> logging.Logger:
    from src.core.logger import get_logger

    return get_logger(_name_of(scriptlet))


def _name_of(scriptlet: object) -> str:
    return str(getattr(scriptlet, "name", "") or getattr(scriptlet, "__name__", type(scriptlet).__name__))
