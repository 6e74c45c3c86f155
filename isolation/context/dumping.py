"""
How a dump reads, in each of its formats; every one is made piece by piece, however much there is.

======  ===============================================================================================
json    one object: what the dump is of, ``context`` by key, and ``history`` (a list of writes) if wanted
pretty  the same, indented
csv     a row for each key and, if wanted, each write (RFC 4180); the value is JSON
txt     a line for each key and, if wanted, each write, for people
======  ===============================================================================================

A spreadsheet takes a cell that begins with ``=`` or the like for a formula, and does what it says. A value is JSON,
whose text begins with a quote; to a key or a name that begins so, or with ``'``, one ``'`` is put in front.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pydantic import JsonValue

    from isolation.model.changes import Entry

_FORMULA = tuple("=+-@'\t\r\n\uff1d\uff0b\uff0d\uff20")
_COLUMNS = ("part", "key", "value", "deleted", "version", "who", "run_id", "timestamp")


class Format(StrEnum):
    """How a dump is written; also what its file's name ends in."""

    JSON = "json"
    PRETTY = "pretty"
    CSV = "csv"
    TXT = "txt"


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """What a dump has: the context as it is at ``version``, and its history; None: that is not wanted."""

    namespace: str
    version: int
    who: str
    at: str
    held: Iterable[Entry]
    written: Iterable[Entry] | None


def lines(form: Format, content: Content) -> Iterator[str]:
    """Write a dump, piece by piece; reads ``held`` and then ``written``, each once."""
    match form:
        case Format.JSON:
            return _json(content, None)
        case Format.PRETTY:
            return _json(content, 2)
        case Format.CSV:
            return _csv(content)
        case Format.TXT:
            return _txt(content)


def _json(content: Content, indent: int | None) -> Iterator[str]:
    """Write members one by one; no line break of a text's own is touched, since JSON has those escaped."""
    newline, inner, deeper = ("\n", "\n  ", "\n    ") if indent else ("", "", "")
    colon = ": " if indent else ":"

    def one(value: object) -> str:
        return json.dumps(value, ensure_ascii=False, indent=indent, separators=(",", colon)).replace("\n", deeper)

    about = {"namespace": content.namespace, "version": content.version, "who": content.who, "timestamp": content.at}
    yield "{" + "".join(f"{inner}{one(name)}{colon}{one(value)}," for name, value in about.items())
    yield f'{inner}"context"{colon}{{'
    yield from _parted((f"{deeper}{one(entry.key)}{colon}{one(entry.value)}" for entry in content.held), inner + "}")
    if content.written is not None:
        yield f',{inner}"history"{colon}['
        yield from _parted((deeper + one(_write(entry)) for entry in content.written), inner + "]")
    yield newline + "}\n"


def _parted(members: Iterable[str], end: str) -> Iterator[str]:
    number = -1
    for number, member in enumerate(members):
        yield f",{member}" if number else member
    yield end if number >= 0 else end[-1]


def _write(entry: Entry) -> dict[str, object]:
    written = asdict(entry)
    return written | {"timestamp": written.pop("at")}


def _csv(content: Content) -> Iterator[str]:
    row = io.StringIO()
    writer = csv.writer(row)

    def one(cells: Iterable[object]) -> str:
        row.seek(0)
        row.truncate()
        writer.writerow(cells)
        return row.getvalue()

    yield one(_COLUMNS)
    for part, entries in (("context", content.held), ("history", content.written or ())):
        for entry in entries:
            value = "" if entry.deleted else _text(entry.value)
            who, run_id = _no_formula(entry.who), _no_formula(entry.run_id or "")
            deleted = "true" if entry.deleted else "false"
            yield one((part, _no_formula(entry.key), value, deleted, entry.version, who, run_id, entry.at))


def _no_formula(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _txt(content: Content) -> Iterator[str]:
    yield f"# the context of {content.namespace} at version {content.version}, {content.at}\n"
    for entry in content.held:
        yield f"{entry.key} = {_shown(entry.value)}\n"
    if content.written is None:
        return
    yield "\n# its history\n"
    for entry in content.written:
        done = f"{entry.key} deleted" if entry.deleted else f"{entry.key} = {_shown(entry.value)}"
        run = f" in run {entry.run_id}" if entry.run_id else ""
        yield f"{entry.version} {entry.at} {done} (by {_shown(entry.who)}{run})\n"


def _text(value: JsonValue) -> str:
    return json.dumps(value, ensure_ascii=False)


def _shown(value: JsonValue) -> str:
    """Write a value as JSON in which nothing can move a terminal's cursor, or turn its text around."""
    text = _text(value)
    return text if text.isprintable() else "".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in text)
