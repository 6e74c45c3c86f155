"""
What expressions may do with values: operators and filters.

Each refuses what it cannot do (TypeError, ValueError); none makes a text or a list that fits into no recipe (Unfit).

jinja2's own filters guess instead (``"x" | int`` is 0 there), take any object apart, or grow without bound.
"""

from __future__ import annotations

import json
import operator
import re
from typing import TYPE_CHECKING, Any

from isolation.templates.plain import LARGEST_CHARS, Unfit, kind

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST_BITS = 1024
_SHOWN_CHARS = 40
_DIGITS = re.compile(r"[-+]?[0-9]{1,100}(\.[0-9]{1,100})?([eE][-+]?[0-9]{1,5})?")
_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
}


def text_of(value: object) -> str:
    """
    Write a value into a text: numbers and booleans as in JSON. Raises Unfit for a list, a mapping and None.

    >>> text_of("a"), text_of(1.5), text_of(True)
    ('a', '1.5', 'true')
    """
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, dict | list):
        raise Unfit(f"is {kind(value)}, and stands inside of a text")
    return json.dumps(value)


def add(left: object, right: object) -> object:
    """Add numbers, texts or lists. Raises TypeError for others, and Unfit for what grows too large."""
    if _is_number(left) and _is_number(right):
        return arithmetic("+", left, right)
    if isinstance(left, str) and isinstance(right, str):
        return _bounded(left + right)
    if isinstance(left, list) and isinstance(right, list):
        return _bounded(left + right)
    raise TypeError(f"{kind(left)} and {kind(right)} cannot be added")


def arithmetic(sign: str, left: Any, right: Any) -> float:  # noqa: ANN401 - any values
    """Compute with numbers. Raises TypeError for others."""
    if not (_is_number(left) and _is_number(right)):
        raise TypeError(f"{sign!r} is for numbers, not for {kind(left)} and {kind(right)}")
    value: float = left + right if sign == "+" else _ARITHMETIC[sign](left, right)
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise OverflowError("the number is too large")
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _bounded(value: Any) -> Any:  # noqa: ANN401 - a text or a list
    if len(value) > LARGEST_CHARS:
        raise Unfit("makes more than fits into a recipe")
    return value


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} is for text, not for {kind(value)}")
    return value


def lower(value: object) -> str:
    """Write a text in small letters."""
    return _text("lower", value).lower()


def upper(value: object) -> str:
    """Write a text in capital letters."""
    return str(_bounded(_text("upper", value).upper()))


def trim(value: object) -> str:
    """Take white space from both ends of a text."""
    return _text("trim", value).strip()


def replace(value: object, old: object, new: object) -> str:
    """Put one text in the place of another, wherever it stands."""
    text, old, new = _text("replace", value), _text("replace", old), _text("replace", new)
    if not old:
        raise ValueError("replace needs a text to look for")
    if len(text) + text.count(old) * (len(new) - len(old)) > LARGEST_CHARS:
        raise Unfit("makes more than fits into a recipe")
    return text.replace(old, new)


def join(value: object, separator: object = "") -> str:
    """Make one text of a list's items."""
    if not isinstance(value, list):
        raise TypeError(f"join is for a list, not for {kind(value)}")
    texts, between = [text_of(item) for item in value], _text("join", separator)
    if sum(map(len, texts)) + len(between) * len(texts) > LARGEST_CHARS:
        raise Unfit("makes more than fits into a recipe")
    return between.join(texts)


def length(value: object) -> int:
    """Count characters, items or keys."""
    if not isinstance(value, str | list | dict):
        raise TypeError(f"length is for text, a list or a mapping, not for {kind(value)}")
    return len(value)


def to_int(value: object) -> int:
    """Read a whole number, from a number or a text."""
    if isinstance(value, float) and not value.is_integer():
        raise ValueError(f"{value} is no whole number")
    return int(_number_or_text("int", value))


def to_float(value: object) -> float:
    """Read a number, from a number or a text."""
    return float(_number_or_text("float", value))


def _number_or_text(name: str, value: object) -> Any:  # noqa: ANN401 - what int() and float() take
    if isinstance(value, str) and not _DIGITS.fullmatch(value):
        raise ValueError(f"{name} is for a text that is a number, not for {value[:_SHOWN_CHARS]!r}")
    if isinstance(value, str) or _is_number(value):
        return value
    raise TypeError(f"{name} is for a number or a text that is one, not for {kind(value)}")


def to_json(value: object) -> str:
    """Write a value as JSON."""
    kind(value)
    return str(_bounded(json.dumps(value, ensure_ascii=False, allow_nan=False)))


FILTERS: dict[str, Callable[..., Any]] = {
    "float": to_float,
    "int": to_int,
    "join": join,
    "length": length,
    "lower": lower,
    "replace": replace,
    "string": text_of,
    "tojson": to_json,
    "trim": trim,
    "upper": upper,
}
"""Beside these, jinja2's own ``default``."""
