"""``isolation context``: the shared context of a state folder, by hand."""

from __future__ import annotations

import os
from dataclasses import asdict
from getpass import getuser
from typing import TYPE_CHECKING

from isolation.cli.escape import escape
from isolation.cli.parser import positive
from isolation.cli.runs import moment
from isolation.cli.session import print_json, say, settings_of, takes_json
from isolation.cli.table import table
from isolation.cli.values import clip, parse_value, shorten
from isolation.clock import SystemClock, timestamp
from isolation.errors import ContextError, did_you_mean
from isolation.wiring import open_stores

if TYPE_CHECKING:
    from argparse import Namespace

    from isolation.cli.parser import Parser
    from isolation.model.changes import Entry


class NoSuchKeyError(ContextError):
    """Asked for a key that is not there: an answer rather than a mistake, so its exit code is 1, as grep's is."""

    exit_code = 1


def register(parser: Parser) -> None:
    """Add the group of commands."""
    group = parser.add(
        "context",
        None,
        "Read and write the shared context.",
        examples=("isolation context list 'sales.*'", "isolation context set sales.limit 100"),
    )
    added = group.add(
        "get",
        get,
        "Print a value: a text as it is, all else as JSON.",
        examples=("isolation context get sales.total", "isolation context get sales.total --json"),
        notes="Exit code 1: there is no such key.",
    )
    _takes_key(added)
    added = group.add(
        "set",
        set_,
        "Write a value, whatever was there.",
        examples=(
            "isolation context set limits '{\"rows\": 100}'",
            "isolation context set zip 01234 --string --who alice",
            "isolation context set offset -3",
        ),
    )
    _takes_key(added)
    added.add_argument("value", metavar="VALUE", help="JSON if it is JSON, else a text")
    added.add_argument("--string", action="store_true", help="take it as a text, whatever it looks like")
    added.add_argument("--who", metavar="NAME", help="who writes (your user name)")
    added = group.add(
        "delete", delete, "Delete a key; its history stays.", examples=("isolation context delete old.key",)
    )
    _takes_key(added)
    added.add_argument("--who", metavar="NAME", help="who deletes (your user name)")
    added = group.add(
        "list", list_, "List keys and their values.", examples=("isolation context list 'sales.*' --json",)
    )
    added.add_argument("glob", metavar="GLOB", nargs="?", default="*", help="which keys, such as 'sales.*'")
    takes_json(added)
    added = group.add(
        "history",
        history,
        "List the writes, the newest first: who wrote what, when, in which run.",
        examples=("isolation context history sales.total --limit 5",),
    )
    added.add_argument("glob", metavar="KEY", nargs="?", default="*", help="whose history; a glob will do")
    added.add_argument("--limit", type=positive, default=100, metavar="N", help="show at most so many (100)")
    takes_json(added)


def get(given: Namespace) -> int:
    """Print a value."""
    with open_stores(settings_of(given)) as stores:
        entry = stores.contexts.get(given.key)
        near = "" if entry else did_you_mean(given.key, (known.key for known in stores.contexts.list()))
    if entry is None:
        raise NoSuchKeyError(
            f"the context has no key {given.key!r}", hint=near or "`isolation context list` shows all."
        )
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
        entry = stores.contexts.set(given.key, value, _writer(given.who), timestamp(SystemClock().now()))
    return _show_write(entry, as_json=given.json)


def delete(given: Namespace) -> int:
    """Delete a key."""
    with open_stores(settings_of(given)) as stores:
        entry = stores.contexts.delete(given.key, _writer(given.who), timestamp(SystemClock().now()))
    return _show_write(entry, as_json=given.json)


def list_(given: Namespace) -> int:
    """List keys and their values."""
    with open_stores(settings_of(given)) as stores:
        entries = stores.contexts.list(given.glob)
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
        entries = stores.contexts.history(given.glob, given.limit)
    if given.json:
        print_json([asdict(entry) for entry in entries])
    else:
        say(history_table(entries) if entries else "no history")
    return 0


def entries_table(entries: tuple[Entry, ...]) -> str:
    """Lay out keys and values."""
    return "\n".join(table([[clip(entry.key, 60), shorten(entry.value)] for entry in entries], indent=""))


def history_table(entries: tuple[Entry, ...]) -> str:
    """Lay out writes."""
    head = ["version", "at", "key", "value", "who", "run"]
    rows = [
        [
            str(entry.version),
            moment(entry.at),
            clip(entry.key, 60),
            "(deleted)" if entry.deleted else shorten(entry.value, 40),
            clip(entry.who, 40),
            clip(entry.run_id or "-", 64),
        ]
        for entry in entries
    ]
    return "\n".join(table([head, *rows], right=[0], indent=""))


def _takes_key(parser: Parser) -> None:
    parser.add_argument("key", metavar="KEY", help="such as sales.total")
    takes_json(parser)


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
