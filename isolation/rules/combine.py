"""
What becomes of two changes of one value that were made from the same base.

By these rules runs are merged into the context, and steps that ran at once into their run: ``ours`` is what merges,
``theirs`` what is there already. Those that make one value of both:

========== ================================= ===================================================
rule       for                               the new value
========== ================================= ===================================================
``add``    numbers; no base counts as 0      theirs, and what ours added to the base
``append`` lists; no base counts as empty    theirs, and what ours has behind the base
``union``  lists                             theirs, and the items of ours that theirs has not
``max``    numbers                           the larger of both
``min``    numbers                           the smaller of both
``deep``   objects; no base counts as empty  key by key: who changed it; objects within in the same way
========== ================================= ===================================================

What a rule is not for clashes: another kind of value, or one that somebody deleted.

Host and container share this file, as they share ``contract``. Standard library only, and imports stay cheap.
"""

from __future__ import annotations

import json
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Literal, TypeAlias

    from pydantic import JsonValue

    Value: TypeAlias = "JsonValue | Absent"
    Fate: TypeAlias = Literal["same", "combined", "ours", "theirs", "conflict"]


class Absent(Enum):
    """The one value of a key that is not there."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT


class ClashError(Exception):
    """Two changes that a rule cannot combine; says why."""


def settle(how: str, base: Value, theirs: Value, ours: Value, *, read: bool = False) -> tuple[Fate, Value]:
    """
    Decide what becomes of a key that both changed; returns how that was decided, and what the key holds then.

    ``read``: ours comes from what was read there, so that it is in conflict also where both came to the same value.
    Raises ClashError where ``how`` combines, and cannot.

    >>> settle("fail", 5, 6, 6), settle("fail", 5, 6, 6, read=True), settle("add", 5, 6, 6, read=True)
    (('same', 6), ('conflict', 6), ('combined', 7))
    """
    if how in COMBINING:
        return "combined", combine(how, base, theirs, ours)
    if same(theirs, ours) and not (read and stale(how, base, theirs)):
        return "same", theirs
    if how == "ours":
        return "ours", ours
    return ("theirs" if how == "theirs" else "conflict"), theirs


def stale(how: str, base: Value, theirs: Value) -> bool:
    """
    Tell whether what was read is not so any more, and ``how`` minds: those that let both changes stand do not.

    >>> stale("rerun", 5, 6), stale("rerun", 5, 5), stale("ours", 5, 6)
    (True, False, False)
    """
    return how in MINDING and not same(base, theirs)


def combine(rule: str, base: Value, theirs: Value, ours: Value) -> JsonValue:
    """
    Combine two changes of one key. Raises ClashError.

    >>> combine("add", 5, 7, 6), combine("append", [1], [1, 2], [1, 3]), combine("max", 1, 4, 3)
    (8, [1, 2, 3], 4)
    >>> combine("deep", {"a": 1, "b": 1}, {"a": 2, "b": 1}, {"a": 1, "b": 3})
    {'a': 2, 'b': 3}
    """
    return COMBINING[rule](base, theirs, ours)


def same(one: Value, another: Value) -> bool:
    """
    Tell whether two values are equal as JSON: ``1``, ``1.0`` and ``true`` are three values.

    >>> same(1, 1.0), same({"a": 1, "b": 2}, {"b": 2, "a": 1}), same(ABSENT, None)
    (False, True, False)
    """
    if one is ABSENT or another is ABSENT:
        return one is another
    return _said(one) == _said(another)


def _add(base: Value, theirs: Value, ours: Value) -> JsonValue:
    before = 0 if base is ABSENT else _number(base, "it began with")
    now, wanted = _number(theirs, "theirs is"), _number(ours, "ours is")
    if isinstance(before, int) and isinstance(now, int) and isinstance(wanted, int):
        return now + wanted - before
    from fractions import Fraction  # noqa: PLC0415 - its import costs more than most steps do

    try:
        return float(Fraction(now) + Fraction(wanted) - Fraction(before))  # rounded once
    except OverflowError as error:
        raise ClashError("the sum is too large for a number") from error


def _append(base: Value, theirs: Value, ours: Value) -> JsonValue:
    before = [] if base is ABSENT else _list(base, "it began with")
    now, wanted = _list(theirs, "theirs is"), _list(ours, "ours is")
    if not same(wanted[: len(before)], before):
        raise ClashError("ours does not begin with what was there, so it appends nothing")
    return [*now, *wanted[len(before) :]]


def _union(_base: Value, theirs: Value, ours: Value) -> JsonValue:
    now, wanted = _list(theirs, "theirs is"), _list(ours, "ours is")
    there = {_said(item) for item in now}
    new = {_said(item): item for item in wanted if _said(item) not in there}
    return [*now, *new.values()]


def _most(_base: Value, theirs: Value, ours: Value) -> JsonValue:
    now, wanted = _number(theirs, "theirs is"), _number(ours, "ours is")
    return max(now, wanted)


def _least(_base: Value, theirs: Value, ours: Value) -> JsonValue:
    now, wanted = _number(theirs, "theirs is"), _number(ours, "ours is")
    return min(now, wanted)


def _deep(base: Value, theirs: Value, ours: Value) -> JsonValue:
    before = {} if base is ABSENT else _object(base, "it began with")
    return _objects(before, _object(theirs, "theirs is"), _object(ours, "ours is"), "")


def _objects(
    base: Mapping[str, JsonValue], theirs: Mapping[str, JsonValue], ours: Mapping[str, JsonValue], path: str
) -> dict[str, JsonValue]:
    combined: dict[str, JsonValue] = {}
    for key in [*theirs, *(key for key in ours if key not in theirs)]:
        inside = f"{path}.{key}" if path else key
        value = _inside(base.get(key, ABSENT), theirs.get(key, ABSENT), ours.get(key, ABSENT), inside)
        if value is not ABSENT:
            combined[key] = value
    return combined


def _inside(base: Value, theirs: Value, ours: Value, path: str) -> Value:
    if same(ours, base) or same(ours, theirs):
        return theirs
    if same(theirs, base):
        return ours
    if isinstance(theirs, dict) and isinstance(ours, dict):
        return _objects(base if isinstance(base, dict) else {}, theirs, ours, path)
    raise ClashError(f"both changed {path!r} within it")


def _said(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def _number(value: Value, whose: str) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ClashError(f"{whose} {_kind(value)}, not a number")
    return value


def _list(value: Value, whose: str) -> list[JsonValue]:
    if not isinstance(value, list):
        raise ClashError(f"{whose} {_kind(value)}, not a list")
    return value


def _object(value: Value, whose: str) -> dict[str, JsonValue]:
    if not isinstance(value, dict):
        raise ClashError(f"{whose} {_kind(value)}, not an object")
    return value


def _kind(value: Value) -> str:
    kinds: dict[type, str] = {bool: "true or false", int: "a number", float: "a number", str: "a text"}
    kinds |= {list: "a list", dict: "an object", type(None): "null", Absent: "gone"}
    return kinds[type(value)]


COMBINING: Final[dict[str, Callable[[Value, Value, Value], JsonValue]]] = {
    "add": _add,
    "append": _append,
    "union": _union,
    "max": _most,
    "min": _least,
    "deep": _deep,
}
MINDING: Final = frozenset({"fail", "rerun"})
"""The rules under which it matters that somebody else changed a key."""
