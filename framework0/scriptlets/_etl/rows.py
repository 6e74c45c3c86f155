"""
How rows travel from step to step: under a key of the context, ``etl.rows`` if nothing else is said.

    up to 64 KiB as JSON    [{"id": 1}, {"id": 2}]
    more                    {"rows_file": "<SHA-256>.jsonl", "count": 250000}     the file lies in /scratch/rows

The file is shared by the steps of a run and vanishes with it. Its name comes from its content: a step that is tried
again writes the same file, and finds the one that it read before.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import tempfile
from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from orchestrator.context import Context

KEY = "etl.rows"
INLINE_BYTES = 65_536
"""Also the strictest policy lets this much of the context be changed by one step."""
FOLDER = "/scratch/rows"

_LARGEST_INTEGER = 2**53
_NAME = re.compile(r"[0-9a-f]{64}\.jsonl")


class RowError(ValueError):
    """A row is not what it must be; the text names it, counted from 1, and the field. ``where`` is put before that."""

    where = ""

    def __str__(self) -> str:
        return self.where + super().__str__()


def fault(number: int, said: str, field: str | None = None) -> RowError:
    """Make the error that names a row, and a field of it."""
    return RowError(f"row {number}{'' if field is None else f', field {field!r}'}: {said}")


def keep(context: Context, key: str, rows: Iterable[dict]) -> int:
    """Put rows under a key, and return how many they are. Raises RowError for one that JSON cannot say."""
    checked = (check(row, number) for number, row in enumerate(rows, 1))
    head: list[dict] = []
    size_bytes = 1
    for row in checked:
        head.append(row)
        size_bytes += len(dumps(row).encode()) + 1
        if size_bytes > INLINE_BYTES:
            break
    else:
        context.set(key, head)
        return len(head)
    name, count = _write(chain(head, checked))
    context.set(key, {"rows_file": name, "count": count})
    return count


def take(context: Context, key: str) -> Iterator[dict]:
    """Return the rows under a key. Raises LookupError where there are none, RowError for what is no row."""
    value = context.get(key)
    if isinstance(value, list):
        return (check(row, number) for number, row in enumerate(value, 1))
    name = value.get("rows_file") if isinstance(value, dict) else None
    if isinstance(name, str) and _NAME.fullmatch(name):
        return _read(name)
    there = "no such key" if value is None else f"a {type(value).__name__} there"
    raise LookupError(f"there are no rows under {key!r} ({there}): a step before puts them there, or name another key")


def check(row: object, number: int) -> dict:
    """Return the row. Raises RowError unless it is an object of JSON values that a context can hold."""
    if not isinstance(row, dict):
        raise fault(number, f"it is {_article(row)}, not an object")
    for field, value in row.items():
        if not isinstance(field, str):
            raise fault(number, f"the name {field!r} of a field is no text")
        said = _wrong_with(value)
        if said:
            raise fault(number, said, field)
    return row


def dumps(value: object) -> str:
    """Write a JSON value in one line."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def kind(value: object) -> str:
    """Name the JSON kind of a value: null, boolean, number, string, array or object."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else "boolean"
    kinds: dict[type, str] = {int: "number", float: "number", str: "string", list: "array", dict: "object"}
    return kinds.get(type(value), type(value).__name__)


def _wrong_with(value: Any) -> str:  # noqa: ANN401 - whatever a source gave
    if value is None or isinstance(value, bool):
        return ""
    if isinstance(value, int):
        return "" if abs(value) <= _LARGEST_INTEGER else f"{value} is beyond 2**53: make it a text"
    if isinstance(value, float):
        return "" if math.isfinite(value) else f"{value} is not a finite number"
    if isinstance(value, str):
        return "" if "\0" not in value and value.isascii() else _wrong_with_text(value)
    if isinstance(value, list | dict):
        items = value.values() if isinstance(value, dict) else value
        return next(filter(None, map(_wrong_with, items)), "")
    return f"JSON cannot say {_article(value)}: make it a text or a number"


def _wrong_with_text(text: str) -> str:
    if "\0" in text:
        return "the text holds NUL"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "the text holds a lone surrogate"
    return ""


def _article(value: object) -> str:
    word = kind(value)
    return word if word == "null" else f"an {word}" if word[0] in "aeio" else f"a {word}"


def _write(rows: Iterable[dict]) -> tuple[str, int]:
    os.makedirs(FOLDER, exist_ok=True)
    digest, count = hashlib.sha256(), 0
    with tempfile.NamedTemporaryFile(dir=FOLDER, delete=False) as file:
        try:
            for row in rows:
                line = dumps(row).encode() + b"\n"
                digest.update(line)
                file.write(line)
                count += 1
        except BaseException:
            os.unlink(file.name)  # a step that is tried again needs the room
            raise
    name = f"{digest.hexdigest()}.jsonl"
    os.replace(file.name, f"{FOLDER}/{name}")
    return name, count


def _read(name: str) -> Iterator[dict]:
    try:
        file = open(f"{FOLDER}/{name}", "rb")  # noqa: SIM115 - closed below, when it has been read
    except FileNotFoundError:
        raise LookupError(
            "the rows were too many for the context, and their file went with the run that made them: "
            "end such a recipe with a loader"
        ) from None

    def lines() -> Iterator[dict]:
        with file:
            for line in file:
                yield json.loads(line)

    return lines()
