"""
In which forms a secret can show: as it is, and as the usual encodings write it.

A secret of several lines shows in each of them, too. What is said here is what is looked for; who has a secret and
wants to tell it can always find a form that nobody looks for.
"""

from __future__ import annotations

import base64
import html
import json
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterator

SHORTEST_CHARS = 6
"""What is shorter stands in too many innocent places."""
_WRAPS = (76, 64)
"""Columns at which base64 is usually cut into lines (RFC 2045, RFC 7468)."""


def pieces(value: str) -> frozenset[str]:
    r"""
    Return the parts of a value that must not show: the whole, and each of its lines, both without spaces around.

    >>> sorted(pieces("correct horse\n  battery\nok\n"))
    ['battery', 'correct horse', 'correct horse\n  battery\nok']
    """
    parts = {part.strip() for part in (value, *value.splitlines())}
    lines = {part for part in parts if len(part) >= SHORTEST_CHARS and len(part.splitlines()) == 1}
    return frozenset(lines | ({value.strip()} if lines else set()))


def forms(value: str) -> frozenset[bytes]:
    """
    Return every form of a value, each of at least six bytes.

    >>> {b"hunter22", b"68756e7465723232", b"aHVudGVyMj"} <= forms("hunter22")
    True
    """
    found = {form for piece in pieces(value) for form in _encoded(piece)}
    return frozenset(form for form in found if len(form) >= SHORTEST_CHARS)


def _encoded(piece: str) -> Iterator[bytes]:
    content = piece.encode()
    yield content
    yield content.hex().encode()
    yield content.hex().upper().encode()
    yield from _in_base64(content)
    for text in _escaped(piece):
        yield text.encode()


def _in_base64(content: bytes) -> Iterator[bytes]:
    """
    Write what is the same in the base64 of any text around the content: one form for each place modulo three.

    The digits at both ends that its neighbours share are left out; each holds four bits of it at most.
    """
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for before in range(3):
            encoded = encode(bytes(before) + content)
            yield encoded[-(-8 * before // 6) : 8 * (before + len(content)) // 6]
    whole = base64.b64encode(content)
    for columns in _WRAPS:
        lines = [whole[start : start + columns] for start in range(0, len(whole), columns)]
        yield b"\n".join(lines)
        yield from lines


def _escaped(piece: str) -> Iterator[str]:
    for quoted in (quote(piece), quote(piece, safe=""), quote_plus(piece)):
        yield quoted
        yield _with_small_digits(quoted)
    yield json.dumps(piece)[1:-1]
    yield json.dumps(piece, ensure_ascii=False)[1:-1]
    yield repr(piece)[1:-1]
    yield repr(piece.encode())[2:-1]
    yield html.escape(piece)
    yield html.escape(piece, quote=False)


def _with_small_digits(quoted: str) -> str:
    """
    Write the digits of %-escapes small, as some writers do.

    >>> _with_small_digits("A%3F%C3")
    'A%3f%c3'
    """
    first, *rest = quoted.split("%")
    return "%".join([first, *(part[:2].lower() + part[2:] for part in rest)])
