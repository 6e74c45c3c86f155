"""Rows as text: CSV, JSON lines and JSON; read and written one row at a time."""

from __future__ import annotations

import csv
import io
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

from scriptlets._etl.rows import RowError, check, dumps, fault, kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

_LONGEST_FIELD = 65_536
"""The longest text that a context can hold."""


def read_csv(content: BinaryIO, options: Mapping[str, Any]) -> Iterator[dict]:
    """Yield the rows, all values as text. Raises RowError for one with more or fewer values than there are columns."""
    csv.field_size_limit(_LONGEST_FIELD)
    with _text(content, options["encoding"], newline="") as text:
        lines = _lines(text, options)
        columns = options.get("columns") or next(lines, None)
        if not columns:
            raise RowError("there is not even a line with the names of the columns")
        twice = {name for name in columns if columns.count(name) > 1}
        if twice:
            raise RowError(f"two columns have one name: {', '.join(sorted(twice))}")
        for number, values in enumerate(lines, 1):
            if len(values) != len(columns):
                raise fault(number, f"{len(values)} values for {len(columns)} columns")
            yield dict(zip(columns, values, strict=True))


def read_json_lines(content: BinaryIO, options: Mapping[str, Any]) -> Iterator[dict]:
    """Yield the object of each line; empty lines are skipped. Raises RowError for what is none."""
    with _text(content, options["encoding"]) as text:
        number = 0
        for line in _decoded(text, options["encoding"]):
            if line.strip():
                number += 1
                yield check(_parsed(line, lambda said: fault(number, said)), number)  # noqa: B023 - called at once


def read_json(content: BinaryIO, options: Mapping[str, Any]) -> Iterator[dict]:
    """Yield the objects of a JSON array; ``records`` leads to it by names of members, with dots between."""
    with _text(content, options["encoding"]) as text:
        found = _parsed("".join(_decoded(text, options["encoding"])), RowError)
    for name in options["records"].split(".") if options.get("records") else []:
        if not isinstance(found, dict) or name not in found:
            raise RowError(f"records leads nowhere: there is no member {name!r} in {kind(found)} {dumps(found):.80}")
        found = found[name]
    if not isinstance(found, list):
        raise RowError(f"an array of objects is wanted, not {kind(found)} {dumps(found):.80}: records leads to it")
    for number, row in enumerate(found, 1):
        yield check(row, number)


READERS: dict[str, Callable[[BinaryIO, Mapping[str, Any]], Iterator[dict]]] = {
    "csv": read_csv,
    "jsonl": read_json_lines,
    "json": read_json,
}


def write_csv(rows: Iterable[dict], text: TextIO, options: Mapping[str, Any]) -> int:
    """
    Write rows under the names of their columns, those of the first row if none are given; returns how many.

    Line ends are those of RFC 4180. Null is empty, true and false are those words, arrays and objects are JSON. A field
    that a row lacks is empty; one that is no column raises RowError.
    """
    columns: list[str] | None = options.get("columns")
    writer = csv.writer(text, delimiter=options["delimiter"])
    count = 0
    for count, row in enumerate(rows, 1):
        if count == 1:
            columns = columns or list(row)
            writer.writerow(columns)
        for field in row:
            if field not in (columns or []):
                raise fault(count, "there is no such column: name all of them as columns", field)
        writer.writerow([_cell(row.get(field)) for field in columns or []])
    if count == 0 and columns:
        writer.writerow(columns)
    return count


def write_json_lines(rows: Iterable[dict], text: TextIO, _: Mapping[str, Any]) -> int:
    """Write each row as a line; returns how many."""
    count = 0
    for count, row in enumerate(rows, 1):  # noqa: B007 - it is the number of the last one
        text.write(dumps(row) + "\n")
    return count


def write_json(rows: Iterable[dict], text: TextIO, _: Mapping[str, Any]) -> int:
    """Write the rows as an array, each on a line; returns how many."""
    count = 0
    for count, row in enumerate(rows, 1):
        text.write(("[\n" if count == 1 else ",\n") + dumps(row))
    text.write("\n]\n" if count else "[]\n")
    return count


WRITERS: dict[str, Callable[[Iterable[dict], TextIO, Mapping[str, Any]], int]] = {
    "csv": write_csv,
    "jsonl": write_json_lines,
    "json": write_json,
}
CONTENT_TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson", "json": "application/json"}


@contextmanager
def _text(content: BinaryIO, encoding: str, newline: str | None = None) -> Iterator[TextIO]:
    """Read bytes as text; a byte order mark is none of it."""
    try:
        codec = "utf-8-sig" if encoding.lower() in {"utf-8", "utf8"} else encoding
        text = io.TextIOWrapper(content, codec, newline=newline)
    except LookupError as error:
        raise RowError(str(error)) from None
    try:
        yield text
    finally:
        text.detach()


def _decoded(lines: Iterable[str], encoding: str) -> Iterator[str]:
    try:
        for line in lines:  # noqa: UP028 - who stops early would have `yield from` close the file
            yield line
    except UnicodeDecodeError as error:
        raise RowError(f"the text is not {encoding}: {error.reason}; encoding names another") from None


def _lines(text: TextIO, options: Mapping[str, Any]) -> Iterator[list[str]]:
    reader = csv.reader(_decoded(text, options["encoding"]), delimiter=options["delimiter"], strict=True)
    try:
        yield from (values for values in reader if values)  # an empty line is no row
    except csv.Error as error:
        raise RowError(f"line {reader.line_num}: {error}") from None


def _parsed(text: str, wrong: Callable[[str], RowError]) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise wrong(f"not JSON: {error}") from None


def _no_constant(word: str) -> object:
    raise ValueError(f"{word} is not JSON")


def _cell(value: object) -> object:
    if value is None or isinstance(value, str):
        return value
    return dumps(value)
