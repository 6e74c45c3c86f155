from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isolation.errors import PolicyError, RecipeError
from isolation.packaging.text import read

HOSTILE = {
    "tags make objects (row 120)": ("!!python/object/apply:os.system [id]", "tags are not allowed"),
    "a tag on a scalar": ("a: !!str 1", "tags are not allowed"),
    "aliases multiply (row 121)": ("a: &a [x]\nb: *a", "anchors and aliases are not allowed: '&a'"),
    "an alias can hold itself (row 123)": ("&a [*a]", "anchors and aliases are not allowed"),
    "merge keys": ("a: {<<: {b: 1}}", "merge keys"),
    "numbers of 5000 digits (row 124)": ("a: " + "9" * 5000, "is too large"),
    "nesting (row 124)": ("[" * 1000, "nested deeper than 32"),
    "nested blocks": ("- " * 1000, "nested deeper than 32"),
    "duplicate keys (row 126)": ("limits: 1\nlimits: 2", "the key 'limits' stands here for the second time"),
    "duplicate keys, spelled differently": ('a: 1\n"a": 2', "for the second time"),
    "a NUL (row 133)": ("a: \0", "NUL"),
    "an escaped NUL": ('a: "\\0"', "not allowed"),
    "half of a pair": ('a: "\\ud800"', ""),
    "infinity": ("a: -.inf", "not finite"),
    "no number": ("a: .NaN", "not finite"),
    "a float past all floats": ("a: 1e999", "too large"),
    "an integer past JavaScript's": ("a: 9007199254740993", "too large"),
    "two documents": ("a: 1\n---\nb: 2", "a second document"),
    "a mapping as a key": ("? {a: 1}\n: 2", "cannot be a key"),
    "unfinished": ("a: [1, 2", "not YAML"),
    "many values": ("[" + "1," * 100_001 + "]", "more than 100000 values"),
}


@pytest.mark.parametrize(("text", "sentence"), HOSTILE.values(), ids=HOSTILE)
def test_what_is_not_plain_data_is_refused(text: str, sentence: str) -> None:
    """Each of these makes objects, exhausts the host, or means two things."""
    with pytest.raises(RecipeError) as raised:
        read(text.encode(), "recipe.yaml")
    assert sentence in raised.value.sentence


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("on", "on"),
        ("2001-99-99", "2001-99-99"),
        ("2024-01-31", "2024-01-31"),
        ("1:59:59", "1:59:59"),
        ("010", "010"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("=", "="),
        ("-12", -12),
        ("1.5e3", 1500.0),
        ("~", None),
        ("True", True),
        ("'1'", "1"),
        ("1.", 1.0),
    ],
)
def test_a_scalar_means_what_it_looks_like(text: str, value: object) -> None:
    """YAML 1.1 finds dates, base-60 numbers, octals and a Norway that is False; people do not mean them."""
    found = read(f"a: {text}".encode(), "recipe.yaml").value["a"]
    assert (found, type(found)) == (value, type(value))


def test_quadratic_scalars_cost_nothing() -> None:
    """PyYAML's base-60 numbers take quadratic time (row 125)."""
    started = time.monotonic()
    read(b"v: " + b"1:59" * 200_000, "recipe.yaml")
    assert time.monotonic() - started < 2


def test_every_place_has_its_line() -> None:
    """Later errors name the line of what they are about."""
    document = read(b"a: 1\nsteps:\n  - name: x\n    args:\n      deep: [1,\n        2]\n", "recipe.yaml")
    assert document.line(("a",)) == 1
    assert document.line(("steps", 0, "name")) == 3
    assert document.line(("steps", 0, "args", "deep", 1)) == 6
    assert document.line(("steps", 0, "args", "nowhere", 3)) == 4


def test_json_has_lines_and_the_same_rules() -> None:
    """The dialect of the file must not decide what is allowed."""
    document = read(b'{"a": 1,\n "b": ["x", {"c":\n  null}], "s": "\\ud83d\\ude00 {["}', "recipe.json")
    assert document.value == {"a": 1, "b": ["x", {"c": None}], "s": "😀 {["}
    assert document.line(("b", 1, "c")) == 2
    for text, sentence in {
        '{"a": 1, "a": 2}': "for the second time",
        '{"a": NaN}': "not finite",
        '{"a": 1e999}': "too large",
        "[" * 100_000: "",
        "{'a': 1}": "recipe.json:1: the text is not JSON",
        '{"a": "\\ud800"}': "not allowed",
        "[" * 40 + "]" * 40: "nested deeper than 32",
    }.items():
        with pytest.raises(RecipeError) as raised:
            read(text.encode(), "recipe.json")
        assert sentence in raised.value.sentence


def test_the_error_is_the_callers_and_tells_the_place() -> None:
    """Policies are read by the same reader, and their errors are policies' errors."""
    with pytest.raises(PolicyError) as raised:
        read(b"a: 1\nb: *x\n", "policies/p.yaml", PolicyError)
    assert raised.value.sentence == "policies/p.yaml:2: anchors and aliases are not allowed: '*x'"
    assert raised.value.hint == "Write the value out, or put it in quotes if it is text."
    assert (raised.value.path, raised.value.line) == ("policies/p.yaml", 2)


@pytest.mark.parametrize("content", ["a: é".encode("latin-1"), "a: 1".encode("utf-16"), b"x" * (2**20 + 1)])
def test_odd_and_oversized_files_are_refused(content: bytes) -> None:
    """Before any parser sees them (row 133)."""
    with pytest.raises(RecipeError):
        read(content, "recipe.yaml")


@settings(deadline=None)
@given(st.text(alphabet="[]{}:,-?&*!|>'\"%#@ \n\tab01.~<=\\u", max_size=60) | st.text(max_size=60))
def test_whatever_the_text_only_our_error_comes_out(text: str) -> None:
    """PyYAML itself raises ValueError, RecursionError and more (row 124)."""
    for name in ("recipe.yaml", "recipe.json"):
        with suppress(RecipeError):
            read(text.encode("utf-8", "surrogatepass"), name)
