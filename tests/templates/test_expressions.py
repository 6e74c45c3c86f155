"""What may stand between the braces, what it comes to, and what gets nowhere."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from isolation.templates.plain import LARGEST_CHARS, Plain
from isolation.templates.sandbox import LONGEST_EXPRESSION, Expression, Wrong

VALUES: dict[str, Any] = {
    "n": 3, "t": "Ab", "yes": True, "nothing": None, "list": [1, "a"], "map": {"k": {"items": 5}, "keys": 1},
}  # fmt: skip


def value(source: str, values: dict[str, Any] = VALUES) -> Any:  # noqa: ANN401 - any value
    return Expression(source).evaluate(values, Plain())


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("n", 3), ("t", "Ab"), ("yes", True), ("nothing", None), ("list", [1, "a"]), ("map.k.items", 5),
        ("map['k'].items", 5), ("map.keys", 1), ("list[1]", "a"), ("list[-1]", "a"),
        ("[n, {'a': t}]", [3, {"a": "Ab"}]),
        ("n + 1", 4), ("n - 1.5", 1.5), ("n * 2", 6), ("n / 2", 1.5), ("n // 2", 1), ("n % 2", 1), ("-n", -3),
        ("t + '!'", "Ab!"), ("list + [2]", [1, "a", 2]), ("n > 2 and not nothing", True), ("'a' in list", True),
        ("'many' if n > 2 else 'few'", "many"), ("unknown | default('d')", "d"), ("map.unknown | default(0)", 0),
        ("unknown is defined", False), ("map.k is mapping", True), ("t | lower", "ab"), ("t | upper", "AB"),
        ("' x ' | trim", "x"), ("t | replace('b', 'c')", "Ac"), ("list | join('-')", "1-a"), ("list | length", 2),
        ("'12' | int + 1", 13), ("2.0 | int", 2), ("'1.5' | float", 1.5), ("n | string", "3"), ("yes | string", "true"),
        ("map.k | tojson", '{"items": 5}'), ("result | default(1)", 1), ("true", True), ("none", None),
    ],
)  # fmt: skip
def test_expressions_come_to_values_with_their_types(source: str, expected: object) -> None:
    """A dot is a key, whatever methods a Python object of that kind would have."""
    assert repr(value(source)) == repr(expected)


def test_a_value_can_have_any_name_that_jinja2_can_say() -> None:
    """Also those that it uses itself when it compiles."""
    for name in ("result", "context", "environment", "resolve", "undefined", "range", "dict", "l_0_x", "missing", "_"):
        assert value(f"{name} + 1", {name: 1}) == 2


@pytest.mark.parametrize(
    "source",
    [
        "''.__class__", "t.__class__.__mro__", "map.__init__.__globals__", "map['__class__']", "list.append", "map.get",
        "nothing.__class__", "n.real", "n.to_bytes", "t.format", "t['upper']", "yes.__doc__", "(n + 1).__class__",
    ],
)  # fmt: skip
def test_no_attribute_of_a_python_object_can_be_had(source: str) -> None:
    """Not refused by a list of names: a dot looks a key up, and there is none."""
    with pytest.raises(Wrong, match=r"there is no '.+' in what stands before it"):
        value(source)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("cycler", "'cycler' is undefined"), ("lipsum.__globals__", "'lipsum' is undefined"),
        ("joiner", "'joiner' is undefined"), ("namespace", "'namespace' is undefined"), ("dict", "'dict' is undefined"),
        ("range", "'range' is undefined"), ("__builtins__", "'__builtins__' is undefined"),
        ("self", "'self' is jinja2's own"), ("self.__init__", "'self' is jinja2's own"), ("loop", "jinja2's own"),
        ("cycler.__init__.__globals__.os.popen('id')", "nothing can be called"), ("t.upper()", "nothing can be called"),
        ("range(10**9)", "nothing can be called"), ("'{0.__class__}'.format(t)", "nothing can be called"),
        ("t | attr('__class__')", "no filter named 'attr'"), ("list | map(attribute='__class__')",
        "no filter named 'map'"),
        ("list | selectattr('x')", "no filter named 'selectattr'"), ("t | format(1)", "no filter named 'format'"),
        ("t | center(99)", "no filter named 'center'"), ("t | xmlattr", "no filter named 'xmlattr'"),
        ("n is divisibleby 3", "no test named 'divisibleby'"), ("t is filter", "no test named 'filter'"),
        ("t ~ t", "'~' is not known"), ("2 ** 3", "'**' is not known"), ("t[0:1]", "nothing can be sliced"),
        ("(1, 2)", "there are no tuples"), ("n, t", "there are no tuples"), ("n t", "expected token '}}', got 't'"),
        ("n if yes", "'if' has no 'else'"), ("n +", "cannot be read"), ("steps", "when the recipe runs"),
        ("steps.a", "when the recipe runs"), ("steps.a.outputs.x + 1", "when the recipe runs"),
        ("steps.a.outputs.x | default(1)", "when the recipe runs"), ("[steps.a.outputs]", "when the recipe runs"),
        ("steps is defined", "when the recipe runs"), ("steps.a.outputs[n]", "when the recipe runs"),
        ("steps.a.outputs[yes]", "when the recipe runs"), ("steps.a.results.x", "when the recipe runs"),
    ],
)  # fmt: skip
def test_what_else_jinja2_could_do_is_refused(source: str, said: str) -> None:
    """Calls, its globals, its own filters and tests, whatever takes apart what a value is."""
    with pytest.raises(Wrong) as raised:
        value(source)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("t * 1000000000", "'*' is for numbers, not for text and a number"),
        ("[0] * 1000000000", "'*' is for numbers, not for a list and a number"),
        ("'%1000000000d' % 1", "'%' is for numbers, not for text and a number"),
        ("t + n", "text and a number cannot be added"), ("yes + 1", "a boolean and a number cannot be added"),
        ("n / 0", "division by zero"), ("n % 0", "modulo by zero"), ("'x' | int",
        "a text that is a number, not for 'x'"),
        ("1.5 | int", "1.5 is no whole number"), ("t | length(1)", "length() takes"), ("n | upper", "not for a number"),
        ("[[]] | join", "is a list, and stands inside of a text"), ("map | string", "is a mapping"),
        ("nothing | string", "is null"), ("t | replace('', 'x')", "needs a text to look for"), ("n < t",
        "not supported"),
        ("1e999", "a number in it is not finite"),
        ("'1e999' | float", "is or holds inf"), ("1e308 * 10", "is or holds inf"), ("9007199254740993",
        "beyond 2**53"),
        ("'\\x00'", "a character that cannot stand in a file"), ("'\\ud800'",
        "a character that cannot stand in a file"),
        ("[unknown]", "'unknown' is undefined"), ("map.typo", "there is no 'typo'"), ("map.key",
        "Did you mean 'keys'?"),
        ("unknown | upper", "'unknown' is undefined"), ("unknown.k | default(1)", "'unknown' is undefined"),
    ],
)  # fmt: skip
def test_what_cannot_be_computed_is_told(source: str, said: str) -> None:
    """Nothing is guessed, and nothing is silently empty."""
    with pytest.raises(Wrong) as raised:
        value(source)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    "source",
    [
        "(" * 200 + "n" + ")" * 200,
        "[" * 200 + "]" * 200,
        "not " * 100 + "n",
        "-" * 400 + "n",
        "n" + ".k" * 100,
        "n" + "|string" * 60,
        "n if yes else " * 33 + "n",
        "n" + "+1" * 200,
    ],
)
def test_what_is_nested_deeply_is_refused(source: str) -> None:
    """Whatever it is made of: whoever reads or compiles it goes as deep."""
    with pytest.raises(Wrong, match="nested deeper than 32"):
        Expression(source)


def longest(piece: str, *, joint: str = "") -> str:
    """Write as many pieces as an expression may hold, and as its depth allows where each is one deeper."""
    count = 30 if joint in {" + ", "|"} else LONGEST_EXPRESSION // (len(piece) + len(joint)) - 2
    return joint.join([piece] * count)


@pytest.mark.parametrize(
    "source",
    [
        longest("big", joint=" + "),
        f"[{longest('big', joint=', ')}]",
        f"[{longest('big', joint=', ')}] | join",
        "'\"'|" + longest("tojson", joint="|"),
        "big | replace('x', big)",
        "[big] | join(big) | replace('x', 'xx')",
        "list | join(big) + big",
        "999999999" + "*999999999" * 30,
    ],
)
def test_an_expression_that_would_grow_is_refused_before_it_does(source: str) -> None:
    """However its parts are multiplied: the process never holds more than a few times what fits into a recipe."""
    values = {"big": "x" * LARGEST_CHARS, "list": ["a", "b"]}
    tracemalloc.start()
    try:
        with pytest.raises(Wrong):
            value(source, values)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak_bytes < 16 * LARGEST_CHARS


def test_what_must_be_given_is_known_without_evaluating() -> None:
    """Names that are asked for, not used, need not be."""
    source = "a + (b | default(c)) + d.e if f is defined else [g.h | default(1), i | upper]"
    assert Expression(source).needs == ("a", "c", "d", "i")


def test_an_output_of_a_step_is_known_by_its_place() -> None:
    """By dots or in brackets; a name with a space can only be said so."""
    assert Expression("steps.a.outputs.b").output == ("a", ("b",))
    assert Expression("steps['a b'].outputs['c.d'][0]").output == ("a b", ("c.d", 0))
    assert Expression("steps.a.outputs").output == ("a", ())
    assert Expression("parameters.steps").output is None
