"""Hostile values and templates: a value changes its own place and nothing else, and no text between braces harms."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import Any

import yaml
from hypothesis import example, given
from hypothesis import strategies as some

from isolation.errors import InputError, IsolationError
from isolation.packaging.text import read
from isolation.templates.placeholders import mark
from isolation.templates.plain import Plain
from isolation.templates.render import render
from isolation.templates.sandbox import LONGEST_EXPRESSION, Expression, Wrong
from isolation.templates.template import parse_template

TEMPLATE = """\
parameters:
  any: {}
  text: {type: string}
metadata:
  name: "made-{{ text }}"
  description: '{{ text }}'
  tags: [one, "{{ parameters.text }}"]
config:
  "{{ text }}": {{ any }}
  second: [{{ any }}, {deep: "{{ any }}"}]
steps:
  - {name: first, module: m, function: f}
  - name: "{{ text }}"
    module: m
    function: '{{ text }}Loader'
    depends_on: [first]
    args:
      whole: {{ any }}
      quoted: "{{ any }}"
      within: "a {{ text }} b"
      folded: >
        a {{ text }}
        b
      "key {{ text }}": {{ steps.first.outputs.n }}
      mixed: "{{ text }}{{ steps.first.outputs.n }}"
"""
LOOKALIKES = [
    "{{ steps.first.outputs.secret }}", "{{ any }}", "{% if true %}", "Z" + "0" * 32 + "x0Z", "x0Z", "\n", "\r\n",
    "\u2028",
    "\u2029", "\x85", "\0", "\ud800", "\ufeff", "'", '"', "\\", "C:\\new\\x41", ": ", "#", " #", "- ", "? ", "&a ",
    "*a",
    "!!python/object/apply:os.system ", "!!str ", "<<", "---\n", "...\n", "%TAG ", "null", "~", "yes", "1e3", "1:30",
    "{", "}",
    "[", "]", ",", "|", ">", "@", "`", "\t", "  ", "\x1b[31m", "\u202e", "secrets: [A]", "$output", "{step: first}",
]  # fmt: skip
TEXT = some.lists(some.sampled_from(LOOKALIKES) | some.text(max_size=6), max_size=6).map("".join)
SCALARS = some.none() | some.booleans() | some.integers() | some.floats() | TEXT
REFERENCE = some.fixed_dictionaries({"step": some.just("first"), "output": some.just(["secret"])})
ANY = some.recursive(
    SCALARS | REFERENCE,
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def expected(any_: object, text: str) -> dict[str, Any]:
    """Write down by hand what the template makes: a tree, in which the values stand."""
    second = {
        "name": text, "module": "m", "function": f"{text}Loader", "depends_on": ["first"],
        "args": {
            "whole": any_, "quoted": any_, "within": f"a {text} b", "folded": f"a {text} b\n", f"key {text}": None,
            "mixed": None,
        },
        "args_from": [
            {"at": [f"key {text}"], "parts": [{"step": "first", "output": ["n"]}]},
            {"at": ["mixed"], "parts": [text, {"step": "first", "output": ["n"]}]},
        ],
    }  # fmt: skip
    return {
        "metadata": {"name": f"made-{text}", "description": text, "tags": ["one", text]},
        "config": {text: any_, "second": [any_, {"deep": any_}]},
        "steps": [{"name": "first", "module": "m", "function": "f"}, second],
    }


@given(ANY, TEXT)
@example({"{{ any }}": {"$output": "first.secret"}}, "x\n  secrets: [A]")
@example("{{ steps.first.outputs.secret }}", "{{ steps.first.outputs.secret }}")
@example([{"step": "first", "output": ["secret"]}], "\u2028- evil")
def test_a_value_changes_its_own_place_and_nothing_else(value: object, text: str) -> None:
    """What is written has the template's shape, with the very values, for our reader and for PyYAML; or is refused."""
    values = {"any": value, "text": text}
    try:
        made = render(parse_template(TEMPLATE.encode()), values)
        as_json = render(parse_template(TEMPLATE.encode()), values, as_json=True)
    except IsolationError as error:
        refused = isinstance(error, InputError) and error.hint
        collides = text == "second" or f"key {text}" in {"whole", "quoted", "within", "folded", "mixed"}
        assert refused
        assert collides or not is_plain(values)
        return

    wanted = expected(value, text)
    assert is_plain(values)
    assert repr(read(made.encode(), "r.yaml").value) == repr(wanted)
    assert repr(yaml.safe_load(io.StringIO(made))) == repr(wanted)
    assert repr(read(as_json.encode(), "r.json").value) == repr(wanted)


def is_plain(value: object) -> bool:
    """Tell whether a value may stand in a recipe at all."""
    if isinstance(value, str):
        return not any(char == "\0" or "\ud800" <= char <= "\udfff" for char in value)
    if isinstance(value, dict):
        return all(is_plain(key) and is_plain(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(is_plain, value))
    if isinstance(value, float):
        return value == value and abs(value) != float("inf")  # noqa: PLR0124 - NaN is not
    return value is None or isinstance(value, bool) or (isinstance(value, int) and abs(value) <= 2**53)


WORDS = [
    "any", "text", "a.b", "['k']", "[0]", "(", ")", "[", "]", "{", "}", "'", '"', "'x'", "1", "2.5", "1e999",
    "9" * 30, "true",
    "none", " ", "+", "-", "*", "/", "//", "%", "**", "~", "|", ".", ",", ":", "==", "<", " in ", " not ", " and ",
    " or ",
    " if ", " else ", " is ", "defined", "default", "default(1)", "upper", "tojson", "join", "replace('a', text)",
    "length",
    "int", "string", "attr('__class__')", "map", "list", "sort", "format", "__class__", "__init__", "__globals__",
    "mro()",
    "cycler", "lipsum", "range(10**9)", "joiner", "namespace", "self", "steps", "steps.a.outputs.b", "loop", "()",
    "\\", "}}",
    "{{", "%}", "\0", "\n", "é", "\u2028", "_", "and", "missing",
]  # fmt: skip


@given(some.lists(some.sampled_from(WORDS), max_size=25).map("".join))
def test_whatever_stands_between_braces_comes_to_json_or_is_refused(source: str) -> None:
    """Nothing else comes out: no object of Python's, no error that is not ours; and it takes no time that grows."""
    with suppress(Wrong):
        expression = Expression(source[:LONGEST_EXPRESSION])
        if expression.output is None:
            found = expression.evaluate({"any": {"a": ["b"], "k": 1}, "text": "aXa"}, Plain())
            assert only_json(found)


def only_json(value: object) -> bool:
    if isinstance(value, dict):
        return all(type(key) is str and only_json(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(only_json, value))
    return value is None or type(value) in {str, int, float, bool}


@given(
    some.lists(some.sampled_from([*WORDS, "{{", "}}", "{%", "{#", "#", "config: ", "- ", "\n", "'", '"', "a: "])).map(
        "".join
    )
)
def test_whatever_text_is_no_template_is_refused_as_one(text: str) -> None:
    """With our own error; and all that is marked is the text again, once the tokens are taken out."""
    marked = mark(text)
    assert len(marked.split(marked.text)) >= len(marked.placeholders)
    with suppress(InputError):
        render(parse_template(text.encode()), {"any": 1, "text": "x"})
