"""What the rules of the built-in transformer do with rows, and what they refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.runner.conftest import Load

    Rows = list[dict[str, Any]]
    Transform = Callable[..., Rows]

ORDERS: list[dict[str, Any]] = [
    {"id": 1, "who": "ada", "cents": 250, "state": "paid"},
    {"id": 2, "who": "bob", "cents": 100, "state": "open"},
    {"id": 3, "who": "ada", "cents": None, "state": "paid"},
    {"id": 4, "who": None, "cents": 50.5, "state": "paid"},
]


@pytest.fixture
def transform(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Transform:
    """Take rows through rules, as a step does."""
    monkeypatch.setattr(load("scriptlets._etl.rows"), "FOLDER", str(tmp_path))
    module, call = load("scriptlets.transformers"), load("scriptlets.framework").call

    def transforming(rows: Rows, *rules: object, **others: Rows) -> Rows:
        context = load("orchestrator.context").Context({"etl.rows": rows, **others})
        outputs, _ = call(module, "DataTransformerScriptlet", context, {"transformation_rules": [*rules]})
        made: Rows = context.get("etl.rows")
        assert outputs == {"rows_in": len(rows), "rows": len(made)}
        return made

    return transforming


def test_no_rules_change_nothing(transform: Transform) -> None:
    """A template without transformations has an empty list of them."""
    assert transform(ORDERS) == ORDERS


def test_select_keeps_fields_in_its_own_order(transform: Transform) -> None:
    """And their values as they are."""
    assert [list(row.items()) for row in transform(ORDERS[2:], {"select": ["cents", "id"]})] == [
        [("cents", None), ("id", 3)],
        [("cents", 50.5), ("id", 4)],
    ]


def test_rename_leaves_each_field_in_its_place(transform: Transform) -> None:
    """Also where two change their names for each other's."""
    (row,) = transform([{"a": 1, "b": 2, "c": 3}], {"rename": {"a": "b", "b": "a"}})
    assert list(row.items()) == [("b", 1), ("a", 2), ("c", 3)]


def test_fill_puts_a_value_where_there_is_none(transform: Transform) -> None:
    """Null, or no such field."""
    made = transform([{"a": None}, {"b": 0}, {"a": 5}], {"fill": {"a": 1, "b": 2}})
    assert made == [{"a": 1, "b": 2}, {"b": 0, "a": 1}, {"a": 5, "b": 2}]


@pytest.mark.parametrize(
    ("condition", "ids"),
    [
        ({"field": "who", "op": "==", "value": "ada"}, [1, 3]),
        ({"field": "who", "op": "==", "value": None}, [4]),
        ({"field": "who", "op": "!=", "value": "ada"}, [2, 4]),
        ({"field": "cents", "op": "<", "value": 100}, [4]),
        ({"field": "cents", "op": "<=", "value": 100}, [2, 4]),
        ({"field": "cents", "op": ">", "value": 100}, [1]),
        ({"field": "cents", "op": ">=", "value": 100.0}, [1, 2]),
        ({"field": "who", "op": ">", "value": "ada"}, [2]),
        ({"field": "id", "op": "in", "value": [1, 4.0, True]}, [1, 4]),
        ({"field": "who", "op": "not in", "value": ["ada", "bob"]}, [4]),
        ({"field": "who", "op": "contains", "value": "o"}, [2]),
        ({"field": "who", "op": "matches", "value": "[a-c]d?."}, [1, 3]),
        ({"field": "id", "op": "==", "value": True}, []),
        ({"not": {"field": "who", "op": "==", "value": "ada"}}, [2, 4]),
        ({"any": [{"field": "id", "op": "==", "value": 2}, {"field": "cents", "op": ">", "value": 200}]}, [1, 2]),
        ([{"field": "who", "op": "==", "value": "ada"}, {"field": "cents", "op": "!=", "value": None}], [1]),
    ],
    ids=str,
)
def test_filter_keeps_the_rows_that_meet_its_condition(transform: Transform, condition: object, ids: list[int]) -> None:
    """In their order; null is neither more nor less than anything."""
    assert [row["id"] for row in transform(ORDERS, {"filter": condition})] == ids


def test_a_list_contains_its_members(transform: Transform) -> None:
    """True is not the number one in there, either."""
    tags = {"filter": {"field": "tags", "op": "contains", "value": 1}}
    assert transform([{"tags": [True]}, {"tags": [0, 1]}, {"tags": None}], tags) == [{"tags": [0, 1]}]


@pytest.mark.parametrize(
    ("kind", "pairs"),
    [
        ("integer", [("7", 7), (" -7 ", -7), (7.0, 7), ("", None), (None, None), (3, 3)]),
        ("number", [("7", 7), ("7.5", 7.5), ("1e3", 1000.0), (".5", 0.5), ("", None), (2, 2)]),
        ("boolean", [("true", True), ("FALSE", False), (1, True), ("0", False), (True, True), ("", None)]),
        ("string", [("a", "a"), (7, "7"), (True, "true"), (None, None), ([1], "[1]"), ("", "")]),
    ],
)
def test_cast_makes_values_of_a_kind(transform: Transform, kind: str, pairs: list[tuple[Any, Any]]) -> None:
    """What CSV leaves empty is null, unless a text is wanted."""
    made = transform([{"a": given} for given, _ in pairs], {"cast": {"a": kind}})
    assert [(type(row["a"]), row["a"]) for row in made] == [(type(value), value) for _, value in pairs]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("integer", "7.5"), ("integer", "1_000"), ("integer", 7.5), ("integer", True), ("integer", "x"),
        ("number", "nan"), ("number", "1,5"), ("number", False), ("boolean", "yes"), ("boolean", 2),
    ],
)  # fmt: skip
def test_what_cannot_be_cast_is_named(transform: Transform, kind: str, value: object) -> None:
    """By its row and its field, not guessed at."""
    with pytest.raises(ValueError, match=rf"^rule 1 \(cast\), row 2, field 'a': .* is no {kind}$"):
        transform([{"a": ""}, {"a": value}], {"cast": {"a": kind}})


PEOPLE = [
    {"name": "ada", "city": "London", "age": 36},
    {"name": "ada", "city": "Paris"},
    {"name": "cy", "city": "Rome"},
]


def test_an_inner_join_gives_each_row_with_each_that_matches(transform: Transform) -> None:
    """In the order of both sides; null matches nothing, not even null."""
    join = {"join": {"with": "people", "on": {"who": "name"}}}
    made = transform(ORDERS, join, {"select": ["id", "city"]}, people=[*PEOPLE, {"name": None, "city": "Nowhere"}])
    assert made == [
        {"id": 1, "city": "London"},
        {"id": 1, "city": "Paris"},
        {"id": 3, "city": "London"},
        {"id": 3, "city": "Paris"},
    ]


def test_a_left_join_keeps_the_rows_that_nothing_matches(transform: Transform) -> None:
    """With null in every field that the other side has anywhere."""
    rule = {"join": {"with": "people", "on": {"who": "name"}, "type": "left", "prefix": "p_"}}
    made = transform(ORDERS[1:2], rule, people=PEOPLE)
    assert made == [{**ORDERS[1], "p_city": None, "p_age": None}]


def test_a_join_may_be_on_several_fields(transform: Transform) -> None:
    """All of them must match; one is 1.0, and not true."""
    others = [{"a": 1.0, "b": "x", "c": "yes"}, {"a": True, "b": "x", "c": "no"}]
    made = transform([{"a": 1, "b": "x"}, {"a": 1, "b": "y"}], {"join": {"with": "o", "on": ["a", "b"]}}, o=others)
    assert made == [{"a": 1, "b": "x", "c": "yes"}]


def test_aggregate_makes_a_row_of_each_group(transform: Transform) -> None:
    """In the order in which groups are first seen; null is left out, but of the count of rows."""
    fields = {
        "rows": {"count": "*"},
        "priced": {"count": "cents"},
        "total": {"sum": "cents"},
        "least": {"min": "cents"},
        "most": {"max": "cents"},
        "mean": {"avg": "cents"},
    }
    made = transform(ORDERS, {"aggregate": {"group_by": ["who"], "fields": fields}})
    assert made == [
        {"who": "ada", "rows": 2, "priced": 1, "total": 250, "least": 250, "most": 250, "mean": 250.0},
        {"who": "bob", "rows": 1, "priced": 1, "total": 100, "least": 100, "most": 100, "mean": 100.0},
        {"who": None, "rows": 1, "priced": 1, "total": 50.5, "least": 50.5, "most": 50.5, "mean": 50.5},
    ]
    assert type(made[0]["total"]) is int


def test_all_rows_are_one_group_without_group_by(transform: Transform) -> None:
    """Be there none: a sum of nothing is null."""
    fields = {"fields": {"n": {"count": "*"}, "total": {"sum": "cents"}, "mean": {"avg": "cents"}}}
    assert transform([], {"aggregate": fields}) == [{"n": 0, "total": None, "mean": None}]
    assert transform([], {"aggregate": {**fields, "group_by": ["who"]}}) == []


REFUSED: list[tuple[Any, str]] = [
    ("select", "'select' is no rule: write one of select, rename, filter, cast, fill, aggregate, join"),
    ({"select": ["a"], "rename": {}}, "is no rule"),
    ({"sort": ["a"]}, "there is no rule 'sort': select"),
    ({"select": "a"}, "select wants a list of fields, not 'a'"),
    ({"select": []}, "select wants a list of fields"),
    ({"select": ["a", "a"]}, "select names a field twice: a, a"),
    ({"rename": {}}, "rename wants the new name of each field"),
    ({"rename": {"a": 1}}, "rename wants texts as the new names"),
    ({"fill": ["a"]}, "fill wants a value for each field"),
    ({"cast": {"a": "int"}}, "'a' cannot be cast to 'int': integer, number, boolean, string"),
    ({"filter": {"field": "a"}}, "is no condition"),
    ({"filter": {"any": []}}, "is no condition"),
    ({"filter": "a == 1"}, "'a == 1' is no condition"),
    ({"filter": {"field": 1, "op": "==", "value": 1}}, "the field 1 is no name"),
    ({"filter": {"field": "a", "op": "=", "value": 1}}, "there is no op '=': ==, !=, <"),
    ({"filter": {"field": "a", "op": "<", "value": None}}, "< wants a number or a text, not None"),
    ({"filter": {"field": "a", "op": "in", "value": "x"}}, "in wants a list of values"),
    ({"filter": {"field": "a", "op": "matches", "value": "("}}, "'\\(' is no pattern"),
    ({"join": {"with": "o"}}, "join wants on, too"),
    ({"join": {"with": "o", "on": "a", "how": "left"}}, "join knows no 'how': on, prefix, type, with"),
    ({"join": {"with": "o", "on": []}}, "on wants a field"),
    ({"join": {"with": "o", "on": "a", "type": "outer"}}, "there is no type 'outer' of join"),
    ({"join": {"with": 1, "on": "a"}}, "with is a text, not 1"),
    ({"aggregate": {"group_by": ["a"]}}, "aggregate wants fields, too"),
    ({"aggregate": {"fields": {"n": "count"}}}, "'n' wants one of count, sum, min, max, avg"),
    ({"aggregate": {"fields": {"n": {"sum": "*"}}}}, "'n' wants the name of a field"),
    ({"aggregate": {"group_by": ["a"], "fields": {"a": {"count": "*"}}}}, "'a' is the name of a group_by already"),
]


@pytest.mark.parametrize(("rule", "said"), REFUSED, ids=lambda value: str(value)[:40])
def test_a_rule_that_is_none_is_refused_before_any_row(
    load: Load, transform: Transform, rule: object, said: str
) -> None:
    """The rows are none either, and nobody has looked at them."""
    with pytest.raises(load("scriptlets.framework").ParamsError, match=f"transformation_rules: rule 1: .*{said}"):
        transform(["no row"], rule)


def test_all_rules_that_are_wrong_are_told_at_once(load: Load, transform: Transform) -> None:
    """With their numbers."""
    with pytest.raises(load("scriptlets.framework").ParamsError) as caught:
        transform(ORDERS, {"select": 1}, {"select": ["id"]}, {"rename": 2})
    assert str(caught.value) == (
        "transformation_rules: rule 1: select wants a list of fields, not 1; "
        "rule 3: rename wants the new name of each field, not 2"
    )


WRONG_ROWS: list[tuple[Any, str]] = [
    ({"select": ["id", "nme"]}, r"rule 2 \(select\), row 1, field 'nme': the row has no such field"),
    ({"rename": {"who": "id"}}, r"rule 2 \(rename\), row 1: two fields would have one name"),
    ({"filter": {"field": "who", "op": "<", "value": 3}}, r"rule 2 \(filter\), row 1, field 'who': 'ada' is a string"),
    ({"filter": {"field": "id", "op": "matches", "value": "x"}}, "row 1, field 'id': 1 is a number, and only a text"),
    ({"filter": {"field": "id", "op": "contains", "value": "x"}}, "row 1, field 'id': 1 is neither a text"),
    ({"join": {"with": "people", "on": {"who": "name"}}}, "row 1, field 'state': 'people' has this field, too"),
    ({"join": {"with": "people", "on": {"who": "nme"}}}, "of 'people', row 1, field 'nme': the row has no such"),
    ({"aggregate": {"fields": {"n": {"sum": "who"}}}}, "row 1, field 'who': 'ada' has no sum: cast it before"),
    ({"aggregate": {"group_by": ["list"], "fields": {"n": {"count": "*"}}}}, "row 1, field 'list': arrays cannot be"),
    (
        {"aggregate": {"fields": {"n": {"max": "mixed"}}}},
        "row 2, field 'mixed': 'x' has no max, after 1: cast it before",
    ),
]


@pytest.mark.parametrize(("rule", "said"), WRONG_ROWS, ids=lambda value: str(value)[:40])
def test_a_row_that_a_rule_cannot_take_is_named(transform: Transform, rule: object, said: str) -> None:
    """With the rule, the row as that rule counts, and the field; the rules after it are not to blame."""
    rows = [{"list": [], "mixed": mixed, **row} for row, mixed in zip(ORDERS, [0, 1, "x", 2], strict=True)]
    before = {"filter": {"field": "mixed", "op": "!=", "value": 0}} if "mixed" in str(rule) else {"fill": {"no": 1}}
    people = [{"name": "ada", "state": "London"}]
    with pytest.raises(ValueError, match=said):
        transform(rows, before, rule, {"fill": {"later": 1}}, {"fill": {"last": 1}}, people=people)


def test_a_row_of_the_input_is_told_as_such(transform: Transform) -> None:
    """No rule is to blame for it."""
    with pytest.raises(ValueError, match=r"^of the input, row 2: it is a number, not an object"):
        transform([{"a": 1}, 2], {"select": ["a"]})


def test_a_sum_that_json_cannot_say_is_refused(transform: Transform) -> None:
    """Rather than rounded."""
    with pytest.raises(ValueError, match="row 1, field 'total': 9007199254740994 is beyond"):
        transform([{"a": 2**53}, {"a": 2}], {"aggregate": {"fields": {"total": {"sum": "a"}}}})
