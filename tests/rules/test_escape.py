"""Nothing that a recipe says reaches a terminal as anything but text."""

from __future__ import annotations

import json
import sys
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isolation.rules.escape import escape, escape_json

HOSTILE = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("a\rb\tc\nd", r"a\rb\tc\nd"),
        ("\x9b31m", r"\x9b31m"),
        ("photo\u202egpj.exe", r"photo\u202egpj.exe"),
        ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
        ("\U000e0041 tag", r"\U000e0041 tag"),
        ("\ud800 half", r"\ud800 half"),
        ("\u2028 line", r"\u2028 line"),
        ("naïve 文字 🙂 a b", "naïve 文字 🙂 a b"),
    ],
)
def test_what_does_not_print_is_shown_by_its_number(text: str, shown: str) -> None:
    """Escape sequences, overrides of direction and half characters are all ways to deceive a reader."""
    assert escape(text) == shown


def test_line_breaks_stay_only_where_lines_are_meant() -> None:
    """A traceback has lines; a key that had some could forge lines of ours."""
    assert escape("a\nb\r\nc", lines=True) == "a\nb\\r\nc"


@pytest.mark.slow
def test_no_hostile_character_survives() -> None:
    """All of Unicode, one by one."""
    for number in range(sys.maxunicode + 1):
        if category(chr(number)) in HOSTILE:
            assert escape(chr(number)).isascii(), hex(number)
            assert escape_json(chr(number)).isascii() or chr(number) == "\n"


@pytest.mark.slow
@given(st.recursive(st.text() | st.integers() | st.none(), lambda inner: st.dictionaries(st.text(), inner)))
def test_escaped_json_is_the_same_document(value: object) -> None:
    """A program reads what was meant, whatever a terminal would have made of it."""
    text = escape_json(json.dumps(value, ensure_ascii=False, indent=1))
    assert json.loads(text) == value
