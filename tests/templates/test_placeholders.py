"""Where placeholders are found, and what is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from isolation.errors import RecipeError
from isolation.templates.placeholders import MOST_CHARS, MOST_PLACEHOLDERS, Placeholder, mark
from isolation.templates.template import parse_template

if TYPE_CHECKING:
    from tests.templates.conftest import Make, Told


def sources(text: str) -> list[str]:
    return [placeholder.source for placeholder in mark(text).placeholders]


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("a: {{ x }}", "x"),
        ("a: {{x}}}", "x"),
        ("a: '{{ x }}'", "x"),
        ('a: "{{ x | default("}}") }}"', 'x | default("}}")'),
        ("a: {{ {'b': {'c': 1}} }}", "{'b': {'c': 1}}"),
        ("a: {{{'b': 1}}}", "{'b': 1}"),
        ("a: {b: {{ x }}, c: [1]}", "x"),
        ("{{ x }}: 1", "x"),
    ],
)
def test_a_placeholder_ends_where_jinja2_ends_it(text: str, source: str) -> None:
    """Its own lexer says so: braces and quotes inside belong to it."""
    assert sources(text) == [source]


def test_lines_are_counted_as_yaml_counts_them() -> None:
    """Whatever ends a line for its parser."""
    found = mark("{{ a }}\r\n{{ b }}\r{{ c }}\u2028{{ d }} {{ e }}\x85{{ f }}\x0b{{ g }}").placeholders

    assert [(placeholder.source, placeholder.line) for placeholder in found] == [
        ("a", 1), ("b", 2), ("c", 3), ("d", 4), ("e", 4), ("f", 5), ("g", 5),
    ]  # fmt: skip


def test_tokens_differ_each_time_and_stand_for_their_own_text_alone() -> None:
    """Nobody can write one beforehand: neither who writes a template, nor who gives a value."""
    one, another = mark("{{ x }}"), mark("{{ x }}")

    assert one.text != another.text
    assert one.split(f"<{one.text}>") == ["<", Placeholder("x", 1), ">"]
    assert one.split(another.text) == [another.text]
    assert one.split("") == []


def test_comments_are_left_alone(tree: Make) -> None:
    """Nothing in them is evaluated, and none of it need be right."""
    text = """\
        # {{ missing }} {{ 1 / 0 }} {% if %} {{ not closed
        config:  # {{ also missing
          a: 1  # {{ x.y.z }}
    """
    assert tree(text) == {"config": {"a": 1}}


def test_two_braces_can_be_written_as_text(tree: Make) -> None:
    """As the text that they are, between two others."""
    assert tree("config: {a: \"{{ '{{' }} x }}\", b: {{ '{%' }}}") == {"config": {"a": "{{ x }}", "b": "{%"}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("config: {a: '{% if x %}'}", "template:1: '{%' is not known here\nThere are no statements: what a recipe "),
        ("{% if x %}\nconfig: {}\n{% endif %}", "template:1: '{%' is not known here"),
        ("config: {}\n  {% for x in y %}", "template:2: '{%' is not known here"),
        ("config: {a: '{# b #}'}", "template:1: '{#' is not known here\nA comment of YAML begins with # alone."),
        ("config:\n  a: '{{ x'", "template:2: what follows '{{' cannot be read: unexpected char"),
        ("config: {a: '{{ x\n   }}'}", "template:1: '{{' is not closed\nClose it with '}}' on its line"),
        (f"config: {{a: '{{{{ {'x' * 501} }}}}'}}", "template:1: '{{' is not closed\nClose it with '}}' on its line"),
        ("config: {a: '{{- x }}'}", "template:1: '{{-', '{{+' and '-}}' are not known here"),
        ("config: {a: '{{ x -}}'}", "template:1: '{{-', '{{+' and '-}}' are not known here"),
        ('config: {a: "{{ x | default(\\"a\\") }}"}', "template:1: what follows '{{' cannot be read: unexpected char"),
        ("config: {a: '{{ }}'}", "template:1: {{  }}: it is empty\nWrite the name of a value between the braces."),
    ],
)
def test_what_is_no_placeholder_is_told(told: Told, text: str, said: str) -> None:
    """With its line, and before whatever YAML makes of it."""
    assert told(text, x=1).startswith(said)


@pytest.mark.parametrize(
    ("piece", "most"),
    [
        ("{{ x }}", MOST_PLACEHOLDERS),
        ("{{ x", MOST_PLACEHOLDERS),
        ("{%", MOST_PLACEHOLDERS),
        ("{{ " + "x" * 256 + " }}", MOST_CHARS // 256),
    ],
)
def test_a_template_holds_a_bounded_number_of_placeholders(piece: str, most: int) -> None:
    """Each costs time by its length, also one that is none, and one in a comment."""
    text = "config:\n" + "".join(f"  k{at}: 1  # {piece}\n" for at in range(most + 1))

    parse_template(text.rpartition("  k")[0].encode())
    with pytest.raises(RecipeError, match=f"template:{most + 2}: there are more than 1000 placeholders, or 32768 char"):
        parse_template(text.encode())


@pytest.mark.parametrize(
    "content", [b"config: {a: \xff{{ x }}}", "config: {a: \ud800}".encode("utf-8", "surrogatepass")]
)
def test_a_template_that_is_not_utf_8_is_refused(content: bytes) -> None:
    """By whoever reads all recipes, with the same words."""
    with pytest.raises(RecipeError, match="template:1: the text is not UTF-8"):
        parse_template(content)
