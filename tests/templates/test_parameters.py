"""What a template declares of its values, and how it tells what is wrong with given ones: all of it at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.templates.conftest import Make, Told


def declare(declared: str) -> str:
    return f"parameters:\n  p: {{{declared}}}\nconfig: {{p: {{{{ parameters.p }}}}, bare: {{{{ p }}}}}}\n"


@pytest.mark.parametrize(
    ("declared", "good", "bad"),
    [
        ("type: string", ["", "x", "1"], [1, True, None, ["x"], {}]),
        ("type: integer", [0, -3], [1.0, "1", True, None, []]),
        ("type: number", [0, 1.5], ["1", False, None]),
        ("type: boolean", [True, False], [0, 1, "true", None]),
        ("type: list", [[], [1, "a"]], ["[]", {}, None]),
        ("type: mapping", [{}, {"a": [1]}], ["{}", [], None]),
        ("type: any", [1, "a", None, [], {}], []),
        ("", [1, "a", None, [], {}], []),
        ("enum: [a, 1, null]", ["a", 1, None], ["b", True, 1.5, "1"]),
        ("type: string, pattern: '^[a-z]+$'", ["a", "abc"], ["", "A", "a b", "a\n", "\na"]),
        ("type: string, pattern: b", ["abc"], ["ac"]),
        ("type: integer, min: 1, max: 3", [1, 3], [0, 4]),
        ("type: number, min: 0.5", [0.5, 1], [0.25]),
        ("type: string, min: 1, max: 2", ["a", "ab"], ["", "abc"]),
        ("type: list, max: 1", [[], [1]], [[1, 2]]),
        ("type: mapping, min: 1", [{"a": 1}], [{}]),
    ],
)
def test_values_are_what_they_are_declared_to_be(
    tree: Make, told: Told, declared: str, good: list[object], bad: list[object]
) -> None:
    """No value is turned into another to fit; true is no number, and 1.0 no whole one."""
    for value in good:
        assert repr(tree(declare(declared), p=value)["config"]) == repr({"p": value, "bare": value})
    for value in bad:
        assert told(declare(declared), p=value).startswith("template:2: 'p' must ")


@pytest.mark.parametrize(
    ("words", "good"),
    [
        (("str", "text"), "a"),
        (("int",), 1),
        (("float",), 1.5),
        (("bool",), True),
        (("array",), []),
        (("dict", "object"), {}),
    ],
)
def test_types_have_the_names_that_people_know(tree: Make, told: Told, words: tuple[str, ...], good: Any) -> None:  # noqa: ANN401 - any value
    """Those of JSON Schema and of Python."""
    for word in words:
        assert tree(declare(f"type: {word}"), p=good)["config"]["p"] == good
        assert "'p' must be" in told(declare(f"type: {word}"), p=None)


def test_what_is_not_given_is_taken_from_the_declaration(tree: Make, told: Told) -> None:
    """A default, or null where it is said to be dispensable; else it is missing."""
    assert tree(declare("default: [1]"))["config"]["p"] == [1]
    assert tree(declare("default: null"))["config"]["p"] is None
    assert tree(declare("required: false"))["config"]["p"] is None
    assert tree(declare("type: string, required: false"))["config"]["p"] is None
    for declared in ("", "type: string", "required: true"):
        assert told(declare(declared)) == "template:2: 'p' is missing\nThe parameters are: p."
    assert told(declare("description: Where to.")) == "template:2: 'p' is missing (Where to.)\nThe parameters are: p."


def test_everything_that_is_wrong_is_told_at_once(told: Told) -> None:
    """One round for all of it, each with the line of its declaration."""
    text = """\
        parameters:
          port: {type: integer, min: 1, max: 65535}
          mode: {type: string, enum: [append, replace], default: append}
          url:
            type: string
            pattern: ^https://
          table: {type: string, description: Where the rows go.}
        config: {}
    """
    assert told(text, port=0, mode="drop", url="file:///", tabel="t") == (
        "template:1: 5 things are wrong\n"
        "  line 1: 'tabel' is no parameter (did you mean 'table'?)\n"
        "  line 2: 'port' must be at least 1, not 0\n"
        "  line 3: 'mode' must be one of 'append', 'replace', not 'drop'\n"
        "  line 4: 'url' must match '^https://', and 'file:///' does not\n"
        "  line 7: 'table' is missing (Where the rows go.)\n"
        "The parameters are: port, mode, url, table."
    )


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ("type: strng", "'type' in 'parameters.p' must be"),
        ("typ: string", "unknown key 'typ' in 'parameters.p'\nDid you mean 'type'?"),
        ("required: true, default: 1", "'p' in 'parameters': it is required, and has a default\nKeep one of them."),
        ("pattern: a", "'p' in 'parameters': only text has a pattern\nWrite `type: string`."),
        ("min: 1", "'p' in 'parameters': min and max are for numbers, text, lists and mappings\nWrite its type."),
        ("type: boolean, max: 1", "'p' in 'parameters': min and max are for"),
        ("type: integer, default: a", "'p' in 'parameters': its default must be a whole number, not 'a'"),
        ("enum: [a], default: b", "'p' in 'parameters': its default must be one of 'a', not 'b'"),
        ("enum: []", "'enum' in 'parameters.p' must not be empty"),
        ("type: string, pattern: '('", "'p' in 'parameters': the pattern '(' cannot be used: unclosed group"),
        ("type: string, pattern: '(a)\\1'", "the pattern '(a)\\\\1' cannot be used: backreferences are not supported"),
        ("default: '{{ x }}'", "parameters hold no '{{'"),
        ("'{{ x }}': 1", "parameters hold no '{{'"),
    ],
)
def test_a_declaration_that_makes_no_sense_is_refused(told: Told, declared: str, said: str) -> None:
    """Whatever values are given."""
    assert told(declare(declared), p=1).startswith(f"template:2: {said}") or said in told(declare(declared), p=1)


def test_a_name_is_one_that_can_be_written_between_braces(told: Told, tree: Make) -> None:
    """Dashes too: in brackets."""
    assert tree("parameters: {a-b: {}}\nconfig: {x: {{ parameters['a-b'] }}}", **{"a-b": 1}) == {"config": {"x": 1}}
    assert "characters that are not allowed" in told("parameters: {'a b': {}}\nconfig: {}")
    assert told("parameters: [a]\nconfig: {}") == (
        "template:1: 'parameters' must be a mapping, not a list\nWrite it as {key: value}, or as lines below it."
    )


def test_a_pattern_is_matched_in_linear_time(tree: Make, told: Told) -> None:
    """One that takes Python's own regular expressions 2**200000 steps: this test would not end."""
    declared = declare("type: string, pattern: '^(a+)+$'")
    assert tree(declared, p="a" * 200_000)["config"]["p"] == "a" * 200_000
    assert told(declared, p="a" * 200_000 + "!").startswith("template:2: 'p' must match '^(a+)+$', and 'aaaa")
    assert "exceeds size limit" in told(declare("type: string, pattern: '((a{100}){100}){100}'"), p="a")
