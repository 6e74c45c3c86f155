"""
Finds ``{{ }}`` in a template's text, before YAML sees it, and puts a token in the place of each.

A token is a plain word that nobody can guess: it holds no character that means anything to YAML, and neither a
template's text nor a value can fake one. What stands in a comment of YAML's own gets a token, too, and is never looked
at again.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

from jinja2 import TemplateSyntaxError

from isolation.templates.sandbox import LEXER, LONGEST_EXPRESSION

MOST_PLACEHOLDERS = 1_000
MOST_CHARS = 32_768
"""Of all expressions of a template together: what evaluating them costs grows with it, and with the values' size."""
_OPENING = re.compile(r"\{[{%#]")
_LINE = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
"""What ends a line for YAML; so lines are counted as its parser counts them."""
_TOKEN_BYTES = 16


@dataclass(frozen=True, slots=True)
class Placeholder:
    """The text between the braces, and its line, from 1; ``problem`` and ``hint`` say why it is none."""

    source: str
    line: int
    problem: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Marked:
    """A text with tokens in it."""

    text: str
    placeholders: tuple[Placeholder, ...]
    _token: re.Pattern[str]

    def split(self, text: str) -> list[str | Placeholder]:
        """Take a text of the parsed template apart: what stands there, and what is to be filled in."""
        pieces = self._token.split(text)
        return [self.placeholders[int(piece)] if at % 2 else piece for at, piece in enumerate(pieces) if piece]


def mark(text: str) -> Marked:
    """Put a token in the place of each placeholder. What is wrong with one is told when it is filled in."""
    secret = f"Z{secrets.token_hex(_TOKEN_BYTES)}x"
    pieces: list[str] = []
    found: list[Placeholder] = []
    at, line = 0, 1
    while opening := _OPENING.search(text, at):
        pieces.append(text[at : opening.start()])
        line += len(_LINE.findall(pieces[-1]))
        placeholder, length = _read(text, opening.start(), line)
        pieces.append(f"{secret}{len(found)}Z")
        found.append(placeholder)
        at = opening.start() + length
        if len(found) > MOST_PLACEHOLDERS:
            break
    pieces.append(text[at:])
    return Marked("".join(pieces), tuple(found), re.compile(f"{secret}([0-9]+)Z"))


def lines_of(text: str) -> list[str]:
    """Return the lines of a text, as YAML counts them."""
    return _LINE.split(text)


def _read(text: str, start: int, line: int) -> tuple[Placeholder, int]:
    """Read the placeholder that begins here; returns it and how many characters it takes."""
    opening = text[start : start + 2]
    if opening != "{{":
        return Placeholder(opening, line, f"'{opening}' is not known here", _NO_STATEMENTS[opening]), len(opening)
    rest = lines_of(text[start : start + LONGEST_EXPRESSION + len("{{}}") + 1])[0]
    length, kinds = 0, ""
    try:
        for _, kind, value in LEXER.tokeniter(rest, None):
            length += len(value)
            kinds += value if kind in {"variable_begin", "variable_end"} else ""
            if kind == "variable_end":
                break
    except TemplateSyntaxError as error:
        return Placeholder("", line, f"what follows '{{{{' cannot be read: {error.message}", _QUOTES), len(opening)
    if not kinds.endswith("}}"):
        hint = f"Close it with '}}}}' on its line; between them are at most {LONGEST_EXPRESSION} characters."
        return Placeholder("", line, "'{{' is not closed", hint), len(opening)
    if kinds != "{{}}":
        hint = "Write it without: spaces around a placeholder are decided by the template alone."
        return Placeholder("", line, "'{{-', '{{+' and '-}}' are not known here", hint), length
    return Placeholder(rest[2 : length - 2].strip(), line), length


_QUOTES = 'Between the braces, text stands in quotes, without a backslash before them: {{ name | default("x") }}.'
_NO_STATEMENTS = {
    "{%": "There are no statements: what a recipe consists of is decided by its template. For the text: {{ '{%' }}.",
    "{#": "A comment of YAML begins with # alone. For the text: {{ '{#' }}.",
}
