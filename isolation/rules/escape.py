r"""
The one place that makes text from a recipe fit to be shown.

A log line, an error's message, a key or a value can hold sequences that move a terminal's cursor, hide text, retitle
the window, or reverse the order of what one reads. None of these reaches a terminal: every character that does not
print is shown by its number instead, ``ESC`` as ``\x1b``, an override of the writing direction as ``\u202e``.
"""

from __future__ import annotations

import re
from unicodedata import category

_ONE_BYTE, _TWO_BYTES = 0xFF, 0xFFFF
_SHORT = {"\t": "\\t", "\r": "\\r", "\n": "\\n"}
_UNUSUAL = re.compile(r"[^ -~]")
_UNUSUAL_OF_LINES = re.compile(r"[^ -~\n]")


def escape(text: str, *, lines: bool = False) -> str:
    r"""
    Show what does not print by its number; ``lines`` keeps line breaks, and nothing else, as they are.

    >>> print(escape("red \x1b[31m\r\n"), escape("naïve 文字 \u202egpj.exe"))
    red \x1b[31m\r\n naïve 文字 \u202egpj.exe
    """
    if text.isprintable():
        return text
    return (_UNUSUAL_OF_LINES if lines else _UNUSUAL).sub(lambda match: _shown(match[0]), text)


def escape_json(document: str) -> str:
    r"""
    Write JSON text so that it can be shown: the same document, what does not print as JSON's own ``\u`` escapes.

    >>> print(escape_json('["\u202e", "\U000e0041", "é"]'))
    ["\u202e", "\udb40\udc41", "é"]
    """
    return document if document.isprintable() else _UNUSUAL.sub(lambda match: _in_json(match[0]), document)


def _shown(character: str) -> str:
    if _prints(character):
        return character
    number = ord(character)
    if number <= _ONE_BYTE:
        return _SHORT.get(character) or f"\\x{number:02x}"
    return f"\\u{number:04x}" if number <= _TWO_BYTES else f"\\U{number:08x}"


def _in_json(character: str) -> str:
    if _prints(character) or character == "\n":
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def _prints(character: str) -> bool:
    # Python counts spaces other than U+0020 as not printable; they do no harm.
    return character.isprintable() or category(character) == "Zs"
