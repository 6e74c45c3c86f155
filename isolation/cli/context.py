"""``isolation context``: the shared context of a state folder, by hand."""

from __future__ import annotations

import os
from argparse import ArgumentTypeError
from dataclasses import asdict
from datetime import UTC, datetime
from getpass import getuser
from typing import TYPE_CHECKING

from isolation.cli.parser import positive
from isolation.cli.runs import moment
from isolation.cli.session import print_json, say, settings_of, takes_json
from isolation.cli.table import table
from isolation.cli.values import clip, parse_assignments, parse_value, shorten
from isolation.clock import SystemClock, timestamp
from isolation.errors import ContextError, NoSuchKeyError, did_you_mean
from isolation.model.changes import Changes, HistoryFilter
from isolation.rules.escape import escape
from isolation.wiring import open_stores

if TYPE_CHECKING:
    from argparse import Namespace

    from isolation.cli.parser import Parser
    from isolation.model.changes import Entry
    from isolation.stores import Stores

_ONLY_IF = "only if the key's newest version is this; 0: if it is not there"
_CHANGED = "Exit code 1: the key is not at the version that was asked for; nothing was written."


def register(parser: Parser) -> None:
    """Add the group of commands."""
    group = parser.add(
        "context",
        None,
        "Read and write the shared context.",
        examples=("isolation context list 'sales.*'", "isolation context set sales.limit 100"),
    )
    _register_looking(group)
    _register_writing(group)
    _register_change(group)
    _register_history(group)


def _register_looking(group: Parser) -> None:
    added = group.add(
        "get",
        get,
        "Print a value: a text as it is, all else as JSON.",
        examples=("isolation context get sales.total", "isolation context get sales.total --json"),
        notes="Exit code 1: there is no such key.",
    )
    _takes_key(added)
    _takes_version(added)
    added = group.add(
        "list", list_, "List keys and their values.", examples=("isolation context list 'sales.*' --json",)
    )
    added.add_argument("glob", metavar="GLOB", nargs="?", default="*", help="which keys, such as 'sales.*'")
    _takes_version(added)
    takes_json(added)


def _register_writing(group: Parser) -> None:
    added = group.add(
        "set",
        set_,
        "Write a value, whatever was there.",
        examples=(
            "isolation context set limits '{\"rows\": 100}'",
            "isolation context set zip 01234 --string --who alice",
            "isolation context set offset -3",
            "isolation context set owner alice --if-version 0",
        ),
        notes=_CHANGED,
    )
    _takes_key(added)
    added.add_argument("value", metavar="VALUE", help="JSON if it is JSON, else a text")
    added.add_argument("--string", action="store_true", help="take it as a text, whatever it looks like")
    _writes(added)
    added = group.add(
        "delete",
        delete,
        "Delete a key; its history stays.",
        examples=("isolation context delete old.key",),
        notes="Exit code 1: there is no such key, or not at the version that was asked for; nothing was written.",
    )
    _takes_key(added)
    _writes(added)


def _register_change(group: Parser) -> None:
    added = group.add(
        "change",
        change,
        "Write and delete several keys at once: all of it, or none.",
        examples=(
            "isolation context change --set sales.limit=100 --set sales.owner=alice --delete sales.old",
            "isolation context change --set sales.limit=100 --if sales.limit=7",
        ),
        notes=_CHANGED,
    )
    added.add_argument("--set", action="append", metavar="KEY=VALUE", help="write a value, JSON or a text")
    added.add_argument("--delete", action="append", metavar="KEY", help="delete a key")
    added.add_argument("--if", dest="if_", action="append", metavar="KEY=N", help=f"{_ONLY_IF}; any key")
    added.add_argument("--who", metavar="NAME", help="who writes (your user name)")
    takes_json(added)


def _register_history(group: Parser) -> None:
    added = group.add(
        "history",
        history,
        "List the writes, the newest first: who wrote what, when, in which run.",
        examples=(
            "isolation context history sales.total --limit 5",
            "isolation context history 'sales.*' --who alice --since 2026-01-31",
        ),
    )
    added.add_argument("glob", metavar="KEY", nargs="?", default="*", help="whose history; a glob will do")
    added.add_argument("--limit", type=positive, default=100, metavar="N", help="show at most so many (100)")
    added.add_argument("--who", metavar="NAME", help="only what this one wrote")
    added.add_argument("--run", dest="by_run", metavar="RUN", help="only what this run merged")
    added.add_argument(
        "--since", type=_moment, metavar="TIME", help="only from this day or moment on, such as 2026-01-31"
    )
    added.add_argument("--until", type=_moment, metavar="TIME", help="only before this day or moment")
    added.add_argument("--before", type=positive, metavar="N", help="only before version N: the next page")
    takes_json(added)


def get(given: Namespace) -> int:
    """Print a value."""
    with open_stores(settings_of(given)) as stores:
        entry = stores.contexts.get(given.key, given.version)
        near = "" if entry else did_you_mean(given.key, (known.key for known in stores.contexts.list()))
    if entry is None:
        raise NoSuchKeyError(given.key, near or "`isolation context list` shows all.")
    if given.json:
        print_json(asdict(entry))
    elif isinstance(entry.value, str):
        say(escape(entry.value, lines=True))
    else:
        print_json(entry.value)
    return 0


def set_(given: Namespace) -> int:
    """Write a value."""
    value = parse_value(given.value, as_string=given.string)
    with open_stores(settings_of(given)) as stores:
        (entry,) = _change(stores, given, Changes(set={given.key: value}), _expected(given))
    return _show_write(entry, as_json=given.json)


def delete(given: Namespace) -> int:
    """Delete a key."""
    with open_stores(settings_of(given)) as stores:
        (entry,) = _change(stores, given, Changes(deleted=(given.key,)), _expected(given))
    return _show_write(entry, as_json=given.json)


def change(given: Namespace) -> int:
    """Write and delete several keys at once."""
    changes = Changes(set=parse_assignments(given.set or ()), deleted=tuple(sorted({*(given.delete or ())})))
    twice = sorted({*changes.set} & {*changes.deleted})
    if twice:
        raise ContextError(f"the key {twice[0]!r} is both set and deleted", hint="Say one of both.")
    if not changes:
        raise ContextError("there is nothing to change", hint="Say what: `--set KEY=VALUE`, `--delete KEY`.")
    expected = dict(_key_and_version(text) for text in given.if_ or ())
    with open_stores(settings_of(given)) as stores:
        entries = _change(stores, given, changes, expected)
    if given.json:
        print_json([asdict(entry) for entry in entries])
        return 0
    for entry in entries:
        _show_write(entry, as_json=False)
    return 0


def list_(given: Namespace) -> int:
    """List keys and their values."""
    with open_stores(settings_of(given)) as stores:
        entries = stores.contexts.list(given.glob, given.version)
    if given.json:
        print_json({entry.key: entry.value for entry in entries})
    elif entries:
        say(entries_table(entries))
    else:
        say("no keys" if given.glob == "*" else f"no keys match {escape(given.glob)}")
    return 0


def history(given: Namespace) -> int:
    """List the writes."""
    with open_stores(settings_of(given)) as stores:
        filters = HistoryFilter(
            who=given.who,
            run_id=stores.ledger.resolve(given.by_run) if given.by_run else None,
            since=given.since,
            until=given.until,
            before=given.before,
        )
        entries = stores.contexts.history(given.glob, given.limit, filters)
        before = stores.contexts.before(entries)
    if given.json:
        print_json([_write_document(entry, held) for entry, held in zip(entries, before, strict=True)])
    else:
        say(history_table(entries, before) if entries else "no history")
    return 0


def entries_table(entries: tuple[Entry, ...]) -> str:
    """Lay out keys and values."""
    return "\n".join(table([[clip(entry.key, 60), shorten(entry.value)] for entry in entries], indent=""))


def _write_document(entry: Entry, before: Entry | None) -> dict[str, object]:
    """Write one entry as JSON values, with what its key held before (null, and ``existed`` false, for nothing)."""
    return {**asdict(entry), "existed": before is not None, "before": before.value if before else None}


def history_table(entries: tuple[Entry, ...], before: tuple[Entry | None, ...]) -> str:
    """Lay out writes, each with what its key held before."""
    head = ["version", "at", "key", "before", "value", "who", "run"]
    rows = [
        [
            str(entry.version),
            moment(entry.at),
            clip(entry.key, 60),
            shorten(held.value, 30) if held else "-",
            "(deleted)" if entry.deleted else shorten(entry.value, 40),
            clip(entry.who, 40),
            clip(entry.run_id or "-", 64),
        ]
        for entry, held in zip(entries, before, strict=True)
    ]
    return "\n".join(table([head, *rows], right=[0], indent=""))


def _takes_key(parser: Parser) -> None:
    parser.add_argument("key", metavar="KEY", help="such as sales.total")
    takes_json(parser)


def _takes_version(parser: Parser) -> None:
    parser.add_argument("--version", type=positive, metavar="N", help="as it was when the context had this version")


def _writes(parser: Parser) -> None:
    parser.add_argument("--who", metavar="NAME", help="who writes (your user name)")
    parser.add_argument("--if-version", type=_version, metavar="N", help=_ONLY_IF)


def _change(stores: Stores, given: Namespace, changes: Changes, expected: dict[str, int] | None) -> tuple[Entry, ...]:
    return stores.contexts.change(changes, _writer(given.who), timestamp(SystemClock().now()), expected=expected)


def _expected(given: Namespace) -> dict[str, int] | None:
    return None if given.if_version is None else {given.key: given.if_version}


def _version(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ArgumentTypeError(f"{text!r} is no version; 0 means that the key is not there")
    return int(text)


def _key_and_version(text: str) -> tuple[str, int]:
    key, equals, version = text.rpartition("=")
    if not equals or not key or not (version.isascii() and version.isdigit()):
        raise ContextError(f"{text!r} is not KEY=VERSION", hint="Write it as in `--if sales.limit=7`.")
    return key, int(version)


def _moment(text: str) -> str:
    """Read a day or a moment; without a zone it is UTC, as everything that is recorded."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is no day and no moment, such as 2026-01-31T08:30Z") from error
    return timestamp(found if found.tzinfo else found.replace(tzinfo=UTC))


def _show_write(entry: Entry, *, as_json: bool) -> int:
    if as_json:
        print_json(asdict(entry))
        return 0
    what = "deleted" if entry.deleted else f"= {shorten(entry.value)}"
    say(f"{clip(entry.key, 60)} {what}  (version {entry.version})")
    return 0


def _writer(who: str | None) -> str:
    if who:
        return who
    try:
        return getuser()
    except (KeyError, OSError):  # a uid without a name
        return f"uid {os.getuid()}"
