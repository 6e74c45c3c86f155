"""What is written reads back as it was, by our reader and by PyYAML, which understand plain words differently."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from isolation.packaging.text import read
from isolation.templates.write import to_json, to_yaml

WORDS = [
    "yes", "No", "on", "OFF", "y", "n", "true", "False", "null", "~", "", "Null", "<<", "=", "1", "-1", "+1", "010",
    "0o10",
    "0x1F", "1_000", "1e3", "1E3", "1.e5", ".1e5", ".5", "1.", "-.5e-3", "1:30", "12:30:45", "2001-01-01", "2001-99-99",
    ".inf", "-.INF", ".nan", "NaN", "inf", "0b1", "1e", "e3", "-", "- a", "? a", ": a", "a: b", "a #b", "#a", "&a",
    "*a",
    "!a", "%a", "@a", "`a", "|", ">", "[a", "{a", "a]", "a,b", "'", '"', "'a'", '"a"', "a'b", "\\", "C:\\new", "---",
    "...",
    " a", "a ", "a\n", "\na", "a\nb", "a\r\nb", "\t", "a\tb", "\x01", "\x1b[31m", "\x7f", "\x85", "\xa0", "\u2028",
    "\u2029", "\u202e", "\ufeff", "\ufeffa", "\ufffe", "\U0001f600", "\U0010ffff", "é", "文字", "{{ x }}",
    "a" * 5000, "a b " * 500,
]  # fmt: skip


@pytest.mark.parametrize("word", WORDS, ids=range(len(WORDS)))
def test_a_text_comes_back_whatever_it_looks_like(word: str) -> None:
    """As a value, as a key, and in a list; as text, and as nothing else."""
    value: Any = {word: word, "list": [word, {word: [word]}]}
    text = to_yaml(value)

    assert repr(read(text.encode(), "r.yaml").value) == repr(value)
    assert repr(yaml.safe_load(text)) == repr(value)
    assert repr(json.loads(to_json(value))) == repr(value)


@pytest.mark.parametrize(
    "number", [0, -1, 2**53, -(2**53), 0.0, -0.0, 1.5, 1e-7, 1e16, 1e300, 5e-324, True, False, None]
)
def test_a_number_comes_back_with_its_type(number: object) -> None:
    """A whole float stays one."""
    value: Any = {"n": number, "l": [number]}
    text = to_yaml(value)

    assert repr(read(text.encode(), "r.yaml").value) == repr(value)
    assert repr(yaml.safe_load(text)) == repr(value)


def test_what_does_not_print_stands_in_double_quotes() -> None:
    """So whoever shows the text may write it as an escape, and it is still the same document."""
    for word in WORDS:
        if not word.isprintable():
            assert to_yaml([word]).strip().startswith('["')


def test_a_value_that_stands_twice_is_written_twice() -> None:
    """Our reader knows no aliases."""
    shared: Any = {"a": ["b"]}
    assert to_yaml({"x": shared, "y": shared}) == "x:\n  a: [b]\ny:\n  a: [b]\n"


def test_what_is_written_is_as_people_write() -> None:
    """Mappings in lines, short lists in brackets, quotes where there is need."""
    value: Any = {
        "name": "two words",
        "depends_on": ["a", "b-c"],
        "url": "https://h/p",
        "n": [1, None, True],
        "e": [{}, []],
    }
    assert to_yaml(value) == (
        "name: two words\ndepends_on: [a, b-c]\nurl: 'https://h/p'\nn: [1, null, true]\ne:\n- {}\n- []\n"
    )


def test_no_text_is_folded() -> None:
    """A line of the recipe is a value's, however long it is."""
    assert to_yaml({"a": "b c " * 100 + "d", "e": "f"}).count("\n") == 2
