"""What a value may be that enters a recipe: plain JSON, copied, and no more of it than fits into one."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from jinja2 import Undefined

from isolation.errors import InputError

if TYPE_CHECKING:
    from pydantic import JsonValue

LARGEST_CHARS = 2**20
_DEEPEST = 32
_LARGEST_INT = 2**53
_FORBIDDEN = re.compile("[\0\ud800-\udfff]")
_NODE_CHARS = 8
"""What a value takes in a file beside its own characters, about."""


class Unfit(Exception):  # noqa: N818 - never leaves the templates
    """A value cannot stand in a recipe; its text says why, after the value's name."""


def kind(value: object) -> str:
    """
    Name the kind of a value, for a sentence. Raises UndefinedError for what is not there.

    >>> kind(None), kind(True), kind(1), kind("a"), kind({})
    ('null', 'a boolean', 'a number', 'text', 'a mapping')
    """
    if value is None:
        return "null"
    if isinstance(value, Undefined):
        str(value)  # raises, and says of what
    kinds = {bool: "a boolean", int: "a number", float: "a number", str: "text", list: "a list", dict: "a mapping"}
    return next((name for type_, name in kinds.items() if isinstance(value, type_)), f"a {type(value).__name__}")


class Plain:
    """Copies values, for as long as all of them together fit into one recipe."""

    def __init__(self) -> None:
        self._chars_left = LARGEST_CHARS

    def copy(self, value: object, depth: int = 0) -> JsonValue:
        """Copy a value, as plain dicts, lists, texts, numbers, booleans and None. Raises Unfit."""
        if depth > _DEEPEST:
            raise Unfit(f"is nested deeper than {_DEEPEST}")
        if isinstance(value, str):
            return self.text(value)
        self._take(_NODE_CHARS)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            return _number(value)
        if isinstance(value, Mapping):
            return {self._key(key): self.copy(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.copy(item, depth + 1) for item in value]
        raise Unfit(f"is or holds {kind(value)}; only JSON can stand in a recipe")

    def text(self, text: str) -> str:
        """Copy a text. Raises Unfit."""
        self._take(len(text))
        if _FORBIDDEN.search(text):
            raise Unfit("holds a character that cannot stand in a file (NUL, or half of a pair)")
        return str.__str__(text)

    def _key(self, key: object) -> str:
        if not isinstance(key, str):
            raise Unfit(f"has the key {key!r}; keys are text")
        return self.text(key)

    def _take(self, chars: int) -> None:
        self._chars_left -= chars
        if self._chars_left < 0:
            raise Unfit("is too large, by itself or with the rest: all of a recipe is less than 1 MiB")


def _number(value: float) -> float:
    if isinstance(value, int):
        if abs(value) > _LARGEST_INT:
            raise Unfit("is or holds a whole number beyond 2**53; write it as text")
        return int(value)
    if not math.isfinite(value):
        raise Unfit(f"is or holds {value}, which is not finite")
    return float(value)


def plain_values(values: Mapping[str, object]) -> dict[str, JsonValue]:
    """Copy the values that somebody gives for a template. Raises InputError that names the one that cannot be."""
    plain, copied = Plain(), {}
    for name, value in values.items():
        try:
            copied[name] = plain.copy(value)
        except Unfit as unfit:
            raise InputError(
                f"the value of {name!r} {unfit}",
                hint="Give text, a number, true, false, null, a list or a mapping.",
            ) from unfit
    return copied
