"""Rows joined with the rows under another key of the context: in their order, and for each in the other's order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from scriptlets._etl.aggregate import key_of
from scriptlets._etl.conditions import field_of
from scriptlets._etl.rows import RowError, fault
from scriptlets._etl.wants import RuleError, mapping, words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Join(NamedTuple):
    """``on`` names the fields of both sides: ours, theirs."""

    key: str
    on: dict[str, str]
    left: bool
    prefix: str


def read_join(wanted: object) -> Join:
    """Read ``{with: crm.customers, on: customer_id, type: left, prefix: customer_}``. Raises RuleError."""
    given = mapping(wanted, "join", "with, on, and perhaps type and prefix")
    words(given, "join", {"with", "on"}, {"type", "prefix"})
    on: Any = given["on"]
    if isinstance(on, str):
        on = [on]
    if isinstance(on, list) and all(isinstance(field, str) for field in on):
        on = {field: field for field in on}
    if not isinstance(on, dict) or not on or not all(isinstance(field, str) for both in on.items() for field in both):
        raise RuleError(f"on wants a field, a list of fields, or {{ours: theirs}}, not {given['on']!r:.80}")
    if given.get("type", "inner") not in {"inner", "left"}:
        raise RuleError(f"there is no type {given['type']!r} of join: inner or left")
    for word in ("with", "prefix"):
        if not isinstance(given.get(word, ""), str):
            raise RuleError(f"{word} is a text, not {given[word]!r:.80}")
    return Join(given["with"], on, given.get("type") == "left", given.get("prefix", ""))


def join(rows: Iterable[dict], others: Iterable[dict], how: Join) -> Iterator[dict]:
    """
    Yield each row with the fields of each of the others that match, but for the fields that they match by.

    Null matches nothing. A left join keeps a row that nothing matches, with null in the others' fields. The others
    are held in memory. Raises RowError where both sides have a field of one name.
    """
    matching: dict[tuple, list[dict]] = {}
    fields: dict[str, None] = {}
    try:
        for number, other in enumerate(others, 1):
            added = {how.prefix + field: value for field, value in other.items() if field not in how.on.values()}
            fields |= dict.fromkeys(added)
            key = tuple(key_of(field_of(other, field, number), field, number) for field in how.on.values())
            matching.setdefault(key, []).append(added)
    except RowError as error:
        raise RowError(f"of {how.key!r}, {error}") from None
    unmatched = [dict.fromkeys(fields)] if how.left else []
    for number, row in enumerate(rows, 1):
        key = tuple(key_of(field_of(row, field, number), field, number) for field in how.on)
        missing = any(kind == "null" for kind, _ in key)
        for added in unmatched if missing else matching.get(key, unmatched):
            both = next((field for field in added if field in row), None)
            if both is not None:
                raise fault(number, f"{how.key!r} has this field, too: give the join a prefix", both)
            yield row | added
