"""
Transformation rules: each takes rows and gives rows, in a stable order, one after another.

A rule is a mapping of one name to what it wants: ``{select: [id, name]}``. All rules are checked before the first row.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from scriptlets._etl import rows as travel
from scriptlets._etl.aggregate import aggregate
from scriptlets._etl.conditions import condition, field_of
from scriptlets._etl.join import join, read_join
from scriptlets._etl.rows import RowError, fault, kind
from scriptlets._etl.wants import RuleError, mapping, names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from orchestrator.context import Context

    Rows = Iterable[dict]
    Rule = Callable[[Rows], Iterator[dict]]

_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def read_rules(given: list[Any], context: Context) -> tuple[list[Rule], list[str]]:
    """Make the rules, and a sentence for each that is wrong; what a join needs is read of the context."""
    makers = {**_RULES, "join": lambda wanted: _join(wanted, context)}
    rules: list[Rule] = []
    faults = []
    for number, one in enumerate(given, 1):
        try:
            rules.append(_read_rule(number, one, makers))
        except RuleError as error:
            faults.append(f"rule {number}: {error}")
    return rules, faults


def _read_rule(number: int, given: object, makers: dict[str, Callable[[Any], Rule]]) -> Rule:
    if not isinstance(given, dict) or len(given) != 1:
        raise RuleError(f"{given!r:.80} is no rule: write one of {', '.join(makers)}, and what it wants")
    ((name, wanted),) = given.items()
    if name not in makers:
        raise RuleError(f"there is no rule {name!r}: {', '.join(makers)}")
    rule = makers[name](wanted)
    return lambda rows: placed(rule(rows), f"rule {number} ({name}), ")


def placed(rows: Rows, where: str) -> Iterator[dict]:
    """Yield the rows, and have an error say where it arose: the first of several such is right, as rows are pulled."""
    try:
        yield from rows
    except RowError as error:
        error.where = error.where or where
        raise


def _select(wanted: object) -> Rule:
    fields = names(wanted, "select")
    return lambda rows: (
        {field: field_of(row, field, number) for field in fields} for number, row in enumerate(rows, 1)
    )


def _rename(wanted: object) -> Rule:
    new = mapping(wanted, "rename", "the new name of each field")
    if not all(isinstance(name, str) for name in new.values()):
        raise RuleError("rename wants texts as the new names of fields")

    def renamed(row: dict, number: int) -> dict:
        for field in new:
            field_of(row, field, number)
        made = {new.get(field, field): value for field, value in row.items()}
        if len(made) != len(row):
            raise fault(number, f"two fields would have one name among {', '.join(made)}")
        return made

    return lambda rows: (renamed(row, number) for number, row in enumerate(rows, 1))


def _fill(wanted: object) -> Rule:
    values = mapping(wanted, "fill", "a value for each field")

    def filled(row: dict) -> dict:
        return row | {field: value for field, value in values.items() if row.get(field) is None}

    return lambda rows: map(filled, rows)


def _filter(wanted: object) -> Rule:
    met = condition({"all": wanted} if isinstance(wanted, list) else wanted)
    return lambda rows: (row for number, row in enumerate(rows, 1) if met(row, number))


def _cast(wanted: object) -> Rule:
    casts = mapping(wanted, "cast", f"one of {', '.join(_CASTS)} for each field")
    for field, word in casts.items():
        if not isinstance(word, str) or word not in _CASTS:
            raise RuleError(f"{field!r} cannot be cast to {word!r}: {', '.join(_CASTS)}")

    def cast(row: dict, number: int) -> dict:
        made = dict(row)
        for field, word in casts.items():
            try:
                made[field] = _CASTS[word](field_of(row, field, number))
            except (ValueError, OverflowError) as error:
                if isinstance(error, RowError):
                    raise
                raise fault(number, f"{row[field]!r:.80} is no {word}", field) from None
        return made

    return lambda rows: (cast(row, number) for number, row in enumerate(rows, 1))


def _join(wanted: object, context: Context) -> Rule:
    how = read_join(wanted)
    return lambda rows: join(rows, travel.take(context, how.key), how)


def _integer(value: Any) -> int | None:  # noqa: ANN401 - any JSON value
    if value is None or value == "":
        return None
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        return int(value)
    if kind(value) == "number" and int(value) == value:
        return int(value)
    raise ValueError


def _number(value: Any) -> float | None:  # noqa: ANN401 - as above
    if value is None or value == "":
        return None
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        return int(value) if _INTEGER.fullmatch(value.strip()) else float(value)
    if kind(value) == "number":
        return value  # type: ignore[no-any-return]
    raise ValueError


def _boolean(value: Any) -> bool | None:  # noqa: ANN401 - as above
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return value
    try:
        return _BOOLEANS[str(value).strip().lower()]
    except KeyError:
        raise ValueError from None


def _string(value: Any) -> str | None:  # noqa: ANN401 - as above
    return value if isinstance(value, str | None) else travel.dumps(value)


_CASTS: dict[str, Callable[[Any], Any]] = {
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "string": _string,
}
_RULES: dict[str, Callable[[Any], Rule]] = {
    "select": _select,
    "rename": _rename,
    "filter": _filter,
    "cast": _cast,
    "fill": _fill,
    "aggregate": aggregate,
}
