"""
The transformer's rules against a naive reading of what they promise.

The oracle takes all rows at once, compares values by how JSON writes their kinds, and knows nothing of streams.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.runner.conftest import imported

if TYPE_CHECKING:
    from collections.abc import Callable

with imported() as load:
    RULES = load("scriptlets._etl.rules")
    ROWS = load("scriptlets._etl.rows")
    CONTEXT = load("orchestrator.context").Context

Row = dict[str, Any]
FIELDS = ("a", "b", "c")
NUMBERS = st.one_of(st.integers(-3, 3), st.sampled_from([0.5, 1.0, -2.0, 2.5]))
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, st.sampled_from(["", "x", "y", "1"]))
TABLES = st.lists(st.fixed_dictionaries(dict.fromkeys(FIELDS, SCALARS)), max_size=8)
NUMERIC = st.lists(st.fixed_dictionaries({"a": SCALARS, "b": SCALARS, "n": st.one_of(st.none(), NUMBERS)}), max_size=12)
SOME_FIELDS = st.lists(st.sampled_from(FIELDS), min_size=1, max_size=3, unique=True)


def applied(rows: list[Row], *rules: Row, **others: list[Row]) -> list[Row]:
    made, faults = RULES.read_rules([*rules], CONTEXT(dict(others)))
    assert faults == []
    found: Any = iter(rows)
    for rule in made:
        found = rule(found)
    return list(found)


def exact(rows: list[Row]) -> str:
    """Say rows so that 1, 1.0 and true differ, and so does the order of fields."""
    return json.dumps(rows)


def told_apart(value: object) -> str:
    """Say a value as equal ones are said: whole numbers without their point."""
    whole = isinstance(value, float) and value.is_integer()
    return json.dumps(int(value) if whole and isinstance(value, float) else value)


def kind(value: object) -> str:
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


@given(TABLES, SOME_FIELDS)
def test_select_is_a_projection(rows: list[Row], fields: list[str]) -> None:
    """Each row, each field, as it was."""
    wanted = [{field: row[field] for field in fields} for row in rows]
    assert exact(applied(rows, {"select": fields})) == exact(wanted)


@given(TABLES, st.permutations(FIELDS))
def test_renaming_back_changes_nothing(rows: list[Row], names: list[str]) -> None:
    """Whichever names go where."""
    there = dict(zip(FIELDS, names, strict=True))
    back = {new: old for old, new in there.items()}
    assert exact(applied(rows, {"rename": there}, {"rename": back})) == exact(rows)


ORDERED: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}


@given(TABLES, st.sampled_from(["==", "!="]), SCALARS)
def test_equal_is_equal_in_json(rows: list[Row], op: str, value: object) -> None:
    """And what is not equal is unequal: the two share the rows between them."""
    wanted = [row for row in rows if (told_apart(row["a"]) == told_apart(value)) == (op == "==")]
    assert exact(applied(rows, {"filter": {"field": "a", "op": op, "value": value}})) == exact(wanted)


@given(TABLES, st.lists(SCALARS, max_size=4))
def test_in_and_not_in_share_the_rows(rows: list[Row], values: list[object]) -> None:
    """Each row is in one of the two."""
    said = [told_apart(value) for value in values]
    for op in ("in", "not in"):
        wanted = [row for row in rows if (told_apart(row["b"]) in said) == (op == "in")]
        assert exact(applied(rows, {"filter": {"field": "b", "op": op, "value": values}})) == exact(wanted)


@given(TABLES, st.sampled_from(sorted(ORDERED)), st.one_of(NUMBERS, st.sampled_from(["", "x", "1"])))
def test_order_is_of_one_kind_or_an_error(rows: list[Row], op: str, value: object) -> None:
    """Null has no place in it; what is of another kind is told by its row, the first of them."""
    rule = {"filter": {"field": "a", "op": op, "value": value}}
    wrong = [number for number, row in enumerate(rows, 1) if row["a"] is not None and kind(row["a"]) != kind(value)]
    if wrong:
        with pytest.raises(ROWS.RowError, match=rf"^rule 1 \(filter\), row {wrong[0]}, field 'a': "):
            applied(rows, rule)
        return
    wanted = [row for row in rows if row["a"] is not None and ORDERED[op](row["a"], value)]
    assert exact(applied(rows, rule)) == exact(wanted)


@given(TABLES, TABLES, SOME_FIELDS, st.sampled_from(["inner", "left"]))
def test_a_join_is_a_filtered_product(rows: list[Row], others: list[Row], on: list[str], how: str) -> None:
    """In the order of the rows, then of the others."""
    rest = [field for other in others[:1] for field in other if field not in on]
    wanted = []
    for row in rows:
        found = [
            {**row, **{f"o_{field}": value for field, value in other.items() if field not in on}}
            for other in others
            if all(row[field] is not None and told_apart(row[field]) == told_apart(other[field]) for field in on)
        ]
        unmatched = [{**row, **{f"o_{field}": None for field in rest}}] if how == "left" else []
        wanted += found or unmatched
    rule = {"join": {"with": "others", "on": on, "type": how, "prefix": "o_"}}
    assert exact(applied(rows, rule, others=others)) == exact(wanted)


@given(NUMERIC, st.lists(st.sampled_from(["a", "b"]), max_size=2, unique=True))
def test_aggregates_are_those_of_each_group(rows: list[Row], group_by: list[str]) -> None:
    """Groups in the order of their first rows, with the values of these."""
    groups: dict[str, list[Row]] = {} if group_by else {"[]": []}
    for row in rows:
        groups.setdefault(str([told_apart(row[field]) for field in group_by]), []).append(row)
    wanted = []
    for members in groups.values():
        numbers = [row["n"] for row in members if row["n"] is not None]
        wanted.append(
            {
                **{field: members[0][field] for field in group_by},
                "rows": len(members),
                "count": len(numbers),
                "sum": sum(numbers[1:], numbers[0]) if numbers else None,
                "min": min(numbers) if numbers else None,
                "max": max(numbers) if numbers else None,
                "avg": sum(numbers) / len(numbers) if numbers else None,
            }
        )
    fields = {"rows": {"count": "*"}, **{how: {how: "n"} for how in ("count", "sum", "min", "max", "avg")}}
    rule = {"aggregate": {"fields": fields, **({"group_by": group_by} if group_by else {})}}
    assert exact(applied(rows, rule)) == exact(wanted)


@given(st.lists(st.one_of(st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False))))
def test_numbers_that_were_written_are_cast_back(values: list[float]) -> None:
    """What CSV makes of a number is made a number again, of the same type."""
    rows = [{"a": value} for value in values]
    assert exact(applied(rows, {"cast": {"a": "string"}}, {"cast": {"a": "number"}})) == exact(rows)


ANYTHING = st.recursive(
    st.one_of(SCALARS, st.sampled_from(["a", "*", "==", "count"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["a", "field", "op", "value", "with", "on", "fields", "group_by", "any", "not", "n", "sum"]
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*RULES._RULES, "join", "other"]), ANYTHING, max_size=2), TABLES)
def test_a_rule_is_refused_with_a_sentence_or_works(rule: Row, rows: list[Row]) -> None:
    """Whatever a recipe says there: no other error, and no rows that JSON cannot say."""
    made, faults = RULES.read_rules([rule], CONTEXT({"a": rows}))
    assert len(made) + len(faults) == 1
    if faults:
        assert faults[0].startswith("rule 1: ")
        return
    try:
        for number, row in enumerate(made[0](iter(rows)), 1):
            ROWS.check(row, number)
    except (ROWS.RowError, LookupError) as error:
        assert str(error)  # noqa: PT017 - either is right
