"""The one place that says what a context value may be: JSON that every reader understands alike (RFC 7493)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isolation.context.key import check_key
from isolation.contract import MAX_VALUE_BYTES, check_json
from isolation.errors import ContextError
from isolation.model.package import canonical

if TYPE_CHECKING:
    from pydantic import JsonValue


def check_value(key: str, value: JsonValue) -> str:
    """
    Write the value as canonical JSON; ContextError with a hint if it cannot be a context value.

    ``key`` is for the sentence only.

    >>> check_value("sizes", {"b": 1, "a": [2.5, None]})
    '{"a":[2.5,null],"b":1}'
    """
    try:
        check_json(value)
    except ValueError as error:
        raise ContextError(
            f"the value of the context key {key!r} cannot be kept: {error}",
            hint="A value is JSON: null, true, false, numbers, text, lists, and objects with text keys.",
        ) from error
    content = canonical(value)
    if len(content) > MAX_VALUE_BYTES:
        raise ContextError(
            f"the value of the context key {key!r} has {len(content)} bytes; {MAX_VALUE_BYTES} are allowed",
            hint="Keep large things as artifacts, and only their names in the context.",
        )
    return content.decode()


def check_entry(key: str, value: JsonValue) -> None:
    """Check a key and what it is to hold; ContextError with a hint if either cannot be."""
    check_value(check_key(key), value)
