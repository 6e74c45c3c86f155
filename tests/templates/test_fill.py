"""Where values go, and where they cannot."""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest

from isolation.errors import RecipeError
from isolation.templates.plain import kind
from isolation.templates.render import render_recipe
from isolation.templates.template import parse_template
from tests.templates.conftest import STEPS, recipe

if TYPE_CHECKING:
    from tests.templates.conftest import Make, Told

HOSTILE = "x\"'\n  evil: {{ steps.a.outputs.secret }} &a *a !!python/object C:\\new\u2028# c\r\n- "
VALUES: list[Any] = [None, True, 0, -1.5, 10**15, "", "null", "1", HOSTILE, [], [1, ["a"]], {}, {"k": {"l": None}}]


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
@pytest.mark.parametrize("written", ["{{ x }}", '"{{ x }}"', "'{{ x }}'", "{{ parameters.x }}", '"{{x}}"'])
def test_a_value_that_stands_alone_keeps_its_type(tree: Make, written: str, value: object) -> None:
    """In quotes or without: quotes are how YAML tells text from structure, and the value is neither yet."""
    found = tree(f"config: {{deep: [0, {{a: {written}}}]}}\n{STEPS}      y: {written}\n", x=value)

    assert repr(found["config"]["deep"][1]["a"]) == repr(value)
    assert repr(found["steps"][1]["args"]) == repr({"y": value})


@pytest.mark.parametrize(
    ("value", "text"), [("a", "a"), (1, "1"), (1.0, "1.0"), (True, "true"), (HOSTILE, HOSTILE), ("", ""), ("1", "1")]
)
def test_inside_of_a_text_a_value_is_text(tree: Make, value: object, text: str) -> None:
    """And the whole is text, whatever it looks like then: it is not read again."""
    found = tree('config: {a: "<{{ x }}>", b: 1{{ x }}, c: "{{ x }}{{ x }}"}', x=value)["config"]

    assert found == {"a": f"<{text}>", "b": f"1{text}", "c": text + text}


def test_values_stand_in_block_scalars_too(tree: Make) -> None:
    """Whose line breaks are the template's."""
    text = "config:\n  a: |\n    one {{ x }}\n    two\n  b: >-\n    {{ x }}\n    {{ x }}\n"
    assert tree(text, x=HOSTILE)["config"] == {"a": f"one {HOSTILE}\ntwo\n", "b": f"{HOSTILE} {HOSTILE}"}


@pytest.mark.parametrize("value", [None, [], ["a"], {}])
def test_what_has_no_text_cannot_stand_in_one(told: Told, value: object) -> None:
    """Python's word for a list is nobody's text."""
    assert told("config:\n  a: '<{{ x }}>'\n", x=value) == (
        f"template:2: {{{{ x }}}} is {kind(value)}, and stands inside of a text\n"
        "Let it stand alone, with nothing beside the braces, or write it as text: | tojson."
    )


def test_what_the_seeds_template_needs_works(tree: Make) -> None:
    """Whole values without quotes, texts in quotes, a number in a name: of a recipe with three steps."""
    text = """\
        metadata:
          name: "load_{{ when }}"
          version: "1.0"
        steps:
          - name: get
            module: get
            function: "{{ kind }}Reader"
            args:
              from: "{{ where }}"
              options: {{ options }}
          - name: put
            module: put
            function: Put
            depends_on: ["get"]
            args:
              rules: {{ rules }}
    """
    values: dict[str, Any] = {"when": 1700000000, "kind": "Csv", "where": "postgres://u:p@h/d?a=1#b"}
    values |= {"options": {"a": None}, "rules": [{"drop": ["x"]}]}

    made = recipe(text, **values)

    assert (made.name, made.version, made.steps[0].function) == ("load_1700000000", "1.0", "CsvReader")
    assert made.steps[0].args == {"from": values["where"], "options": {"a": None}}
    assert made.steps[1].args == {"rules": [{"drop": ["x"]}]}
    assert tree(text, **values)["steps"][1]["args"] == {"rules": [{"drop": ["x"]}]}


def test_numbers_in_a_recipes_head_mean_what_is_written(tree: Make) -> None:
    """As in a recipe without braces; those that are filled in, too."""
    text = "metadata: {name: {{ n }}, version: 1.10, tags: {{ [1, 2.5] }}}\n"
    text += "steps: [{name: 1a, module: m, function: f, timeout: 1.50}]\n"

    assert tree(text, n=42)["metadata"] == {"name": "42", "version": "1.10", "tags": ["1", "2.5"]}
    assert (recipe(text, n=42).name, recipe(text, n=42).steps[0].timeout_s) == ("42", 1.5)


def test_all_names_that_are_not_given_are_told(told: Told) -> None:
    """Each once, with its first line; those that a default stands in for are not missed."""
    text = """\
        config:
          a: {{ one }}
          b: "{{ two }} and {{ three | upper }}"
          c: {{ one }}
          d: {{ four | default(1) }}
          e: [{{ [fiv] }}]
    """
    assert told(text, five=5) == (
        "template:2: 5 things are wrong\n"
        "  line 2: nothing is given for 'one'\n"
        "  line 3: nothing is given for 'three'\n"
        "  line 3: nothing is given for 'two'\n"
        "  line 4: nothing is given for 'one'\n"
        "  line 6: nothing is given for 'fiv'\n"
        "Given are: five."
    )
    assert told("config: {a: {{ fiv }}}", five=5) == "template:1: nothing is given for 'fiv'\nDid you mean 'five'?"


def test_keys_of_data_can_be_filled_in_with_text(tree: Make, told: Told) -> None:
    """Each must differ from its siblings."""
    text = "config: {'{{ x }}': 1, k: 2}\n" + STEPS + "      a: {'n-{{ x }}': [{ {{ x }}: 3}]}\n"
    found = tree(text, x=HOSTILE)
    assert found["config"] == {HOSTILE: 1, "k": 2}
    assert found["steps"][1]["args"] == {"a": {f"n-{HOSTILE}": [{HOSTILE: 3}]}}

    assert told(text, x="k").startswith("template:1: the key 'k' stands here for the second time")
    for value in (1, None, ["a"]):
        assert "\n  line 1: a key must be text\n  line 9: a key must be text\n" in told(text, x=value)
    assert told("config: {'{{ x | upper }}': 1}", x=1).startswith("template:1: {{ x | upper }}: it cannot be computed")


@pytest.mark.parametrize(
    "text",
    [
        "{{ x }}: 1\n", "'a{{ x }}': 1\n", "metadata: { {{ x }}: a}\n", "steps: [{name: a, {{ x }}: b}]\n",
        "execution: { {{ x }}: 1}\n", "steps: [{name: a, success: {'{{ x }}': [a]}}]\n", "{{ x }}: {{ x }}\n",
    ],
)  # fmt: skip
def test_keys_that_a_recipe_means_something_by_are_the_templates_own(told: Told, text: str) -> None:
    """A value could name another thing than the template's author meant: ``secrets``, say."""
    assert "'{{' may stand in a key of args and config alone" in told(text, x="secrets")


@pytest.mark.parametrize(
    "text",
    [
        "steps: {{ x }}\n",
        "steps: [{{ x }}]\n",
        "execution: {{ x }}\n",
        "steps: [{name: {{ x }}}]\n",
        "context: {{ x }}\n",
    ],
)
def test_mappings_that_a_recipe_means_something_by_are_the_templates_own(told: Told, text: str) -> None:
    """Also in a list: nobody who gives values adds a step."""
    said = (
        "template:1: a mapping may be filled in in args and config alone\nWhat a recipe does is decided by its template"
    )
    assert told(text, x={"module": "os"}).startswith(said)
    assert told(text, x=[{"module": "os"}]).startswith(said)
    assert told(text, x=[["a"]]).startswith(said)


def test_lists_and_single_values_may_stand_anywhere(told: Told) -> None:
    """The recipe's own rules judge them, with the template's line."""
    text = STEPS.replace("[a]", "{{ after }}").replace("    args:\n", "") + "files: {{ files }}\nconfig: {{ config }}\n"
    made = recipe(text, after=["a"], files=["a.csv"], config={"k": 1})
    assert (made.steps[1].depends_on, made.files, made.config) == (("a",), ("a.csv",), {"k": 1})

    assert told(text, after="a", files=[], config={}) == (
        "template:6: 'depends_on' in step 'b' must be a list, not 'a'\n"
        "Write it as [a, b], or as lines below it that begin with a dash."
    )
    assert told(text, after=["c"], files=[], config={}).startswith(
        "template:6: step 'b' depends on 'c', which is no step"
    )
    assert told(text, after=["a"], files=[1], config={}).startswith("template:7: item 1 of 'files' must be text, not 1")


def test_outputs_become_references_that_no_value_can_be(tree: Make) -> None:
    """They stand apart from args, where all is data; a text around them stays one."""
    text = (
        STEPS
        + """\
      whole: {{ steps.a.outputs.rows }}
      deep: [0, {in: "{{ steps.a.outputs['k.l'][2] }}"}]
      said: "{{ x }}: {{ y }}{{ steps.a.outputs.n }}!"
      value: {{ x }}
"""
    )
    found = tree(text, x="{{ steps.a.outputs.rows }}", y=1)["steps"][1]

    assert found["args"] == {
        "whole": None, "deep": [0, {"in": None}], "said": None, "value": "{{ steps.a.outputs.rows }}"
    }  # fmt: skip
    assert found["args_from"] == [
        {"at": ["whole"], "parts": [{"step": "a", "output": ["rows"]}]},
        {"at": ["deep", 1, "in"], "parts": [{"step": "a", "output": ["k.l", 2]}]},
        {"at": ["said"], "parts": ["{{ steps.a.outputs.rows }}: 1", {"step": "a", "output": ["n"]}, "!"]},
    ]


def test_outputs_that_a_template_names_itself_stay(tree: Make) -> None:
    """Those between braces come after them, in the place that is theirs."""
    text = STEPS.replace("    args:\n", "    args_from: [{at: [n], parts: [{step: a}]}]\n    args:\n      n: null\n")
    text += "      '{{ x }}': {{ steps.a.outputs }}\n"

    assert tree(text, x="k.l")["steps"][1]["args_from"] == [
        {"at": ["n"], "parts": [{"step": "a"}]},
        {"at": ["k.l"], "parts": [{"step": "a", "output": []}]},
    ]
    made = recipe(text, x="k.l").steps[1]
    assert [filled.at for filled in made.args_from] == [("n",), ("k.l",)]


@pytest.mark.parametrize(
    "text",
    [
        "config: {a: {{ steps.a.outputs.n }}}\n", "metadata: {name: 'x{{ steps.a.outputs.n }}'}\n",
        "steps: [{name: {{ steps.a.outputs.n }}}]\n", "steps: [{name: a, args: {{ steps.a.outputs }}}]\n",
        "steps: [{name: a, args: {'{{ steps.a.outputs.n }}': 1}}]\n", "files: [{{ steps.a.outputs.n }}]\n",
    ],
)  # fmt: skip
def test_outputs_stand_for_values_in_args_alone(told: Told, text: str) -> None:
    """All else must be known before the recipe runs."""
    assert "may stand for a value in a step's args alone" in told(text)


def test_outputs_come_from_steps_that_end_before(told: Told) -> None:
    """Checked when the recipe is read, with the line of the braces."""
    text = STEPS + "      m: 1\n      n: {{ steps.c.outputs.n }}\n"
    assert told(text) == (
        "template:9: step 'b' takes outputs of 'c', and does not come after it\nThere is no step of that name."
    )


class _Colour(StrEnum):
    RED = "red"


def test_values_are_plain_json_or_refused(tree: Make, told: Told) -> None:
    """What behaves like a mapping, a list or a text is copied into one; of anything else, the name is told."""
    given = {"a": OrderedDict(k=(1, 2)), "b": MappingProxyType({"k": _Colour.RED})}
    assert tree("config: {a: {{ a }}, b: {{ b }}}", **given)["config"] == {"a": {"k": [1, 2]}, "b": {"k": "red"}}

    loop: list[object] = []
    loop.append(loop)
    for value, said in [
        (dt.date(2026, 1, 1), "is or holds a date; only JSON can stand in a recipe"),
        ([{1}], "is or holds a set"),
        (b"x", "is or holds a bytes"),
        ({1: "a"}, "has the key 1; keys are text"),
        (float("nan"), "is or holds nan, which is not finite"),
        (2**53 + 1, "is or holds a whole number beyond 2**53"),
        ("a\0", "holds a character that cannot stand in a file"),
        ({"\ud800": 1}, "holds a character that cannot stand in a file"),
        (loop, "is nested deeper than 32"),
        ("x" * (2**20 + 1), "is too large"),
        ([[]] * 200_000, "is too large"),
    ]:
        assert told("config: {a: {{ a }}}", a=value).startswith(f"the value of 'a' {said}")
    for name in ("steps", "parameters"):
        assert told("config: {}", **{name: 1}).startswith(f"no value can be named {name!r}")


def test_what_is_filled_in_is_bounded_by_a_recipes_size(told: Told) -> None:
    """Each value fits, all together do not: refused before they are written out."""
    text = "config:\n" + "".join(f"  k{at}: '{{{{ big }}}}'\n" for at in range(900))

    assert "is too large, by itself or with the rest" in told(text, big="x" * 500_000)
    assert "is too large, by itself or with the rest" in told(text, big=[0] * 10_000)


def test_what_a_template_makes_is_no_larger_than_a_recipe(tree: Make) -> None:
    """Escapes take more room than what they stand for."""
    assert tree("config: {a: {{ big }}}", big="x" * 900_000)["config"]["a"] == "x" * 900_000
    with pytest.raises(Exception, match=r"what template makes: the file is larger than 1 MiB"):
        tree("config: {a: {{ big }}}", big="\x01" * 300_000)


def test_a_template_may_be_json() -> None:
    """Where placeholders stand in quotes, as whatever is no number; lines are told there, too."""
    text = b'{"config": {"a": "{{ x }}", "b": "<{{ x }}>"},\n'
    text += b' "steps": [{"name": "a", "module": "m", "function": "{{ f }}"}]}'
    template = parse_template(text, "t.json")

    assert render_recipe(template, {"x": 1, "f": "g"}).config == {"a": 1, "b": "<1>"}
    with pytest.raises(RecipeError, match=r"t\.json:2: nothing is given for 'f'"):
        render_recipe(template, {"x": 1})


def test_what_was_meant_is_looked_for_among_a_bounded_number_of_names(told: Told) -> None:
    """Whoever gives values decides how many there are, and a template how often it is looked for."""
    many = {f"x{at}": at for at in range(200)}
    for first, last, found in (({"needle": 1}, {}, True), ({}, {"needle": 1}, False)):
        names = {**first, **many, **last}
        assert ("Did you mean 'needle'?" in told("config: {a: {{ needl }}}", **names)) is found
        assert ("Did you mean 'needle'?" in told("config: {a: {{ m.needl }}}", m=names)) is found
    assert told("parameters: {needle: {}}\nconfig: {}", **many).startswith("template:1: 101 things are wrong\n")
