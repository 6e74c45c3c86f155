"""The one place that says what a context key may look like."""

from __future__ import annotations

from isolation.errors import ContextError

LARGEST_KEY_BYTES = 256


def check_key(key: str) -> str:
    """
    Return the key if it can be one; ContextError with a hint if not.

    A key is a flat text, by custom dotted: 1 to 256 bytes of UTF-8, printable, no space at either end.

    >>> check_key("sales.eu.total")
    'sales.eu.total'
    """
    if not key:
        raise ContextError("a context key is empty", hint="Name it, such as sales.total.")
    # Before anything measures it: a lone surrogate is not printable, and cannot be encoded.
    if not key.isprintable():
        raise ContextError(
            f"the context key {key[:LARGEST_KEY_BYTES]!a} has a character that cannot be printed",
            hint="Use letters, digits, dots, dashes and the like; no tab, no line break.",
        )
    if len(key.encode()) > LARGEST_KEY_BYTES:
        raise ContextError(
            f"the context key {key[:40]!r}... is longer than {LARGEST_KEY_BYTES} bytes",
            hint="Put what is long into the value.",
        )
    if key != key.strip():
        raise ContextError(f"the context key {key!r} begins or ends with a space", hint=f"Write {key.strip()!r}.")
    return key
