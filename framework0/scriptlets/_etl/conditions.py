"""
Conditions on rows, as data: ``{field, op, value}``, or ``{all: [...]}``, ``{any: [...]}``, ``{not: ...}`` of such.

Nothing is evaluated; what is of another type is an error, never silently less or more.
"""

from __future__ import annotations

import operator
import re
from typing import TYPE_CHECKING, Any

from scriptlets._etl.rows import fault, kind
from scriptlets._etl.wants import RuleError

if TYPE_CHECKING:
    from collections.abc import Callable

    Predicate = Callable[[dict, int], bool]

_ORDER = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
OPERATORS = ("==", "!=", *_ORDER, "in", "not in", "contains", "matches")


def condition(given: object) -> Predicate:
    """Make a function that tells whether a row, with its number, meets a condition. Raises RuleError."""
    if isinstance(given, dict) and len(given) == 1:
        ((word, inner),) = given.items()
        if word in {"all", "any"} and isinstance(inner, list) and inner:
            each = [condition(one) for one in inner]
            how = all if word == "all" else any
            return lambda row, number: how(one(row, number) for one in each)
        if word == "not":
            met = condition(inner)
            return lambda row, number: not met(row, number)
    if not isinstance(given, dict) or {*given} != {"field", "op", "value"}:
        raise RuleError(f"{given!r:.80} is no condition: write {{field, op, value}}, or all, any or not of such")
    return _comparison(given["field"], given["op"], given["value"])


def same(left: object, right: object) -> bool:
    """Tell whether two values are equal in JSON's eyes: 1 is 1.0, and not true."""
    return kind(left) == kind(right) and left == right


def field_of(row: dict, field: str, number: int) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value of a field. Raises RowError for a row that does not have it."""
    try:
        return row[field]
    except KeyError:
        raise fault(number, "the row has no such field", field) from None


def _comparison(field: object, op: object, value: Any) -> Predicate:  # noqa: ANN401 - any JSON value
    if not isinstance(field, str):
        raise RuleError(f"the field {field!r} is no name")
    if op not in OPERATORS:
        raise RuleError(f"there is no op {op!r}: {', '.join(OPERATORS)}")
    test = _test(str(op), value)

    def met(row: dict, number: int) -> bool:
        found = field_of(row, field, number)
        try:
            return test(found)
        except TypeError as error:
            raise fault(number, str(error), field) from None

    return met


def _test(op: str, value: Any) -> Callable[[Any], bool]:  # noqa: ANN401 - any JSON value
    """Return the test of a field's value; it raises TypeError for a value that cannot be tested so."""
    if op in {"==", "!="}:
        return lambda found: same(found, value) == (op == "==")
    if op in {"in", "not in"}:
        if not isinstance(value, list):
            raise RuleError(f"{op} wants a list of values, not {value!r:.80}")
        return lambda found: any(same(found, one) for one in value) == (op == "in")
    if op == "contains":
        return lambda found: _contains(found, value)
    if op == "matches":
        return _matching(value)
    if kind(value) not in {"number", "string"}:
        raise RuleError(f"{op} wants a number or a text, not {value!r:.80}")
    return lambda found: found is not None and _ordered(_ORDER[op], found, value)


def _ordered(less: Callable[[Any, Any], bool], left: Any, right: Any) -> bool:  # noqa: ANN401 - as above
    if kind(left) != kind(right):
        raise TypeError(f"{left!r:.80} is a {kind(left)}, {right!r:.80} a {kind(right)}: cast it before")
    return less(left, right)


def _contains(found: Any, value: Any) -> bool:  # noqa: ANN401 - as above
    if isinstance(found, list):
        return any(same(one, value) for one in found)
    if isinstance(found, str) and isinstance(value, str):
        return value in found
    if found is None:
        return False
    raise TypeError(f"{found!r:.80} is neither a text that could contain {value!r:.80}, nor a list")


def _matching(pattern: object) -> Callable[[Any], bool]:
    try:
        matches = re.compile(pattern).fullmatch  # type: ignore[call-overload]
    except (re.error, TypeError) as error:
        raise RuleError(f"{pattern!r:.80} is no pattern: {error}") from None

    def met(found: Any) -> bool:  # noqa: ANN401 - as above
        if not isinstance(found, str | None):
            raise TypeError(f"{found!r:.80} is a {kind(found)}, and only a text can match")
        return found is not None and matches(found) is not None

    return met
