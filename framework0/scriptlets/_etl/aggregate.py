"""Groups of rows, and one row for each: in the order in which the groups were first seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scriptlets._etl.conditions import field_of
from scriptlets._etl.rows import fault, kind
from scriptlets._etl.wants import RuleError, mapping, names, words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_HOW = ("count", "sum", "min", "max", "avg")


def aggregate(wanted: object) -> Callable[[Iterable[dict]], Iterator[dict]]:
    """
    Make the rule ``{group_by: [region], fields: {total: {sum: amount}, orders: {count: "*"}}}``.

    Null is left out, of counts as well, but for ``count: "*"``; what is made of nothing but null is null, a sum too.
    Without ``group_by`` all rows are one group, be there none. Raises RuleError.
    """
    given = mapping(wanted, "aggregate", "fields, and perhaps group_by")
    words(given, "aggregate", {"fields"}, {"group_by"})
    group_by = names(given["group_by"], "group_by") if given.get("group_by") else []
    made = mapping(given["fields"], "fields", "for each new field its {sum: field}, or the like")
    for name, how in made.items():
        if not isinstance(how, dict) or len(how) != 1 or not {*how} <= {*_HOW}:
            raise RuleError(f"{name!r} wants one of {', '.join(_HOW)}, with its field: not {how!r:.80}")
        if not all(isinstance(field, str) for field in how.values()) or ("*" in how.values() and "count" not in how):
            raise RuleError(f"{name!r} wants the name of a field, not {next(iter(how.values()))!r:.80}")
        if name in group_by:
            raise RuleError(f"{name!r} is the name of a group_by already")
    return lambda rows: _aggregated(rows, group_by, made)


def _aggregated(rows: Iterable[dict], group_by: list[str], made: dict[str, dict[str, str]]) -> Iterator[dict]:
    groups: dict[tuple, tuple[dict, list[_Total]]] = {}
    if not group_by:
        groups[()] = ({}, [_Total(how) for how in made.values()])
    for number, row in enumerate(rows, 1):
        key = tuple(key_of(field_of(row, field, number), field, number) for field in group_by)
        if key not in groups:
            groups[key] = ({field: row[field] for field in group_by}, [_Total(how) for how in made.values()])
        for total in groups[key][1]:
            total.add(row, number)
    for head, totals in groups.values():
        yield head | {name: total.value() for name, total in zip(made, totals, strict=True)}


def key_of(value: Any, field: str, number: int) -> tuple[str, Any]:  # noqa: ANN401 - any JSON value
    """Return what tells values apart as JSON does: 1 is 1.0, not true. Raises RowError for arrays and objects."""
    if isinstance(value, list | dict):
        raise fault(number, f"{kind(value)}s cannot be compared", field)
    return kind(value), value


class _Total:
    """One new field of one group."""

    def __init__(self, how: dict[str, str]) -> None:
        ((self._how, self._field),) = how.items()
        self._count = 0
        self._value: Any = None

    def add(self, row: dict, number: int) -> None:
        value = 1 if self._field == "*" else field_of(row, self._field, number)
        if value is None:
            return
        self._count += 1
        if self._how == "count":
            return
        wanted = ("number",) if self._how in {"sum", "avg"} else ("number", "string")
        if kind(value) not in wanted or (self._value is not None and kind(value) != kind(self._value)):
            before = "" if self._value is None else f", after {self._value!r:.80}"
            raise fault(number, f"{value!r:.80} has no {self._how}{before}: cast it before", self._field)
        if self._value is None:
            self._value = value
        elif self._how in {"sum", "avg"}:
            self._value += value
        else:
            self._value = min(self._value, value) if self._how == "min" else max(self._value, value)

    def value(self) -> Any:  # noqa: ANN401 - any JSON value
        if self._how == "count":
            return self._count
        return self._value / self._count if self._how == "avg" and self._count else self._value
