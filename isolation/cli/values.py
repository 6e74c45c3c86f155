"""Context values as people type them and as they are shown to people."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from isolation.errors import ContextError, InputError
from isolation.rules.escape import escape
from isolation.units import parse_seconds

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from pydantic import JsonValue

_SHOWN_CHARS = 60


def parse_value(text: str, *, as_string: bool = False) -> JsonValue:
    """
    Read a value: JSON if it is JSON, else the text itself; ContextError for the numbers that are not finite.

    >>> parse_value("3"), parse_value("[1, 2]"), parse_value("eu west"), parse_value("3", as_string=True)
    (3, [1, 2], 'eu west', '3')
    """
    if as_string:
        return text
    try:
        value: JsonValue = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text
    return value


def parse_assignments(texts: Iterable[str], as_strings: Container[str] = ()) -> dict[str, JsonValue]:
    """
    Read ``KEY=VALUE`` texts; ContextError for one without ``=``, or a key given twice.

    ``as_strings`` are keys whose value is text, whatever it looks like.
    """
    values: dict[str, JsonValue] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ContextError(f"{text!r} is not KEY=VALUE", hint="Write it as in `--set region=eu`.")
        if key in values:
            raise ContextError(f"the key {key!r} is given twice", hint="Give each key to --set once.")
        values[key] = parse_value(value, as_string=key in as_strings)
    return values


def seconds(option: str, text: str | None) -> float | None:
    """Read the time that an option was given, in seconds; InputError for what is none, None where it was not given."""
    try:
        return None if text is None else parse_seconds(text)
    except ValueError as error:
        raise InputError(f"{option} cannot be {text!r}", hint="Write it as in 90s or 10m.") from error


def shorten(value: JsonValue, chars: int = _SHOWN_CHARS) -> str:
    """
    Write a value on one line of at most ``chars`` characters, fit to be shown.

    >>> shorten({"a": [1, "x"]}), shorten("y" * 100, 12)
    ('{"a": [1, "x"]}', '"yyyyyyyy...')
    """
    text = json.dumps(value, ensure_ascii=False)
    return clip(text, chars)


def clip(text: str, chars: int) -> str:
    """Shorten a text to at most ``chars`` characters, fit to be shown."""
    shown = escape(text[: chars + 1])
    return shown if len(shown) <= chars else f"{shown[: chars - 3]}..."


def _refuse(name: str) -> None:
    # Python would read it, and no other JSON reader; as a text, it would pass for the number that somebody meant.
    raise ContextError(
        f"{name} is no value that the context can keep", hint='Write null, or "' + name + '" for the text.'
    )
