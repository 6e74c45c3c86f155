"""
What the runner needs of ``json``, by the same functions in C.

The library's own modules compile regular expressions when they are imported, which takes longer than the rest of the
runner's start. They are left to the steps that want them.
"""

from __future__ import annotations

import sys
from _json import encode_basestring, encode_basestring_ascii, make_encoder, make_scanner

TYPE_CHECKING = False  # not typing's: run.py says why
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO

_NAMES = ("json", "json.decoder")
"""By the second, the functions in C find the error that they raise."""
_SPACE = " \t\n\r"
_CONSTANTS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}

_SKIP_KEYS = False


def stand_in() -> None:
    """Be ``json`` for the modules that are imported from now on."""
    sys.modules |= dict.fromkeys(_NAMES, sys.modules[__name__])


def step_aside() -> None:
    """Leave the name to the library, whoever imported us keeps us."""
    for name in _NAMES:
        if sys.modules.get(name) is sys.modules[__name__]:
            del sys.modules[name]


class JSONDecodeError(ValueError):
    """A text that is not JSON."""

    def __init__(self, msg: str, doc: str, pos: int) -> None:
        super().__init__(f"{msg}: char {pos} of {len(doc)}")


class _Rules:
    """What ``make_scanner`` asks for, by name."""

    strict = True
    object_hook = None

    def __init__(
        self,
        *,
        object_pairs_hook: Callable | None = None,
        parse_constant: Callable | None = None,
        parse_int: Callable | None = None,
        parse_float: Callable | None = None,
    ) -> None:
        self.object_pairs_hook = object_pairs_hook
        self.parse_constant = parse_constant or _CONSTANTS.__getitem__
        self.parse_int = parse_int or int
        self.parse_float = parse_float or float


def loads(content: str | bytes, **hooks: Callable) -> object:
    """Read one JSON text, with the hooks of ``json.loads``. Raises JSONDecodeError."""
    text = content if isinstance(content, str) else content.decode()
    begin = len(text) - len(text.lstrip(_SPACE))
    try:
        value, end = make_scanner(_Rules(**hooks))(text, begin)  # type: ignore[arg-type]  # any object of these names
    except StopIteration as error:
        raise JSONDecodeError("Expecting value", text, error.value) from None
    if text[end:].strip(_SPACE):
        raise JSONDecodeError("Extra data", text, end)
    return value


def load(file: IO[bytes]) -> object:
    """Read a file of one JSON text. Raises JSONDecodeError."""
    return loads(file.read())


def dumps(
    value: object,
    *,
    separators: tuple[str, str] = (", ", ": "),
    ensure_ascii: bool = True,
    allow_nan: bool = True,
    sort_keys: bool = False,
) -> str:
    """Write a value as JSON. Raises ValueError and TypeError for what is none."""
    item, key = separators
    quote = encode_basestring_ascii if ensure_ascii else encode_basestring
    return "".join(make_encoder({}, _refuse, quote, None, key, item, sort_keys, _SKIP_KEYS, allow_nan)(value, 0))


def _refuse(value: object) -> object:
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
