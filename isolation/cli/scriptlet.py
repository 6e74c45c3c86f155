"""``isolation scriptlet``: which scriptlets there are, found by reading them, and the beginning of another."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from isolation.cli.session import print_json, say, takes_json
from isolation.cli.table import table
from isolation.cli.values import clip
from isolation.rules.escape import escape

if TYPE_CHECKING:
    from argparse import Namespace

    from isolation.cli.parser import Parser
    from isolation.packaging.scriptlets import Scriptlet, Unreadable


def register(parser: Parser) -> None:
    """Add the group of commands."""
    group = parser.add(
        "scriptlet",
        None,
        "Find scriptlets, or begin one.",
        examples=("isolation scriptlet list plugins", "isolation scriptlet new DataProcessor"),
    )
    new = group.add(
        "new",
        new_,
        "Write a scriptlet that works, and its test.",
        examples=("isolation scriptlet new DataProcessor", "isolation scriptlet new data_processor --folder plugins"),
        notes="It writes scriptlet_NAME.py and test_scriptlet_NAME.py, and nothing over a file that is there.",
    )
    new.add_argument("name", metavar="NAME", help="as in DataProcessor, or data_processor")
    new.add_argument("--folder", type=Path, default=Path(), metavar="DIR", help="where to (default: here)")
    added = group.add(
        "list",
        list_,
        "List the scriptlets in folders of scriptlet_*.py, and those of installed packages; nothing of them runs.",
        examples=("isolation scriptlet list plugins", "isolation scriptlet list --json"),
    )
    added.add_argument("folder", nargs="*", type=Path, metavar="FOLDER", help="where to look for scriptlet_*.py")
    takes_json(added)


def new_(given: Namespace) -> int:
    """Write a scriptlet and its test, and say what to do with them."""
    from isolation.packaging.new_scriptlet import new_scriptlet  # noqa: PLC0415 - few commands want it

    new = new_scriptlet(given.name)
    source, test = new.write(given.folder)
    say(f"{escape(str(source))}\n{escape(str(test))}")
    say(f"Test it with `pytest {escape(str(test))}`; in a recipe: module {new.module}, function {new.function}.")
    return 0


def list_(given: Namespace) -> int:
    """List what can be found; exits with 1 where something could not be read."""
    from isolation.packaging.scriptlets import scan, scan_installed  # noqa: PLC0415 - slow to import

    found: list[Scriptlet] = []
    unreadable: list[Unreadable] = []
    for offered, problems in (*map(scan, given.folder), scan_installed()):
        found += offered
        unreadable += problems
    if given.json:
        told = {"scriptlets": [asdict(one) for one in found], "unreadable": [asdict(one) for one in unreadable]}
        print_json(told)
    else:
        say("\n".join([*_scriptlets(found), *_unreadable(unreadable)]))
    return 1 if unreadable else 0


def _scriptlets(found: list[Scriptlet]) -> list[str]:
    if not found:
        return ["no scriptlets"]
    head = ["scriptlet", "version", "module", "function", "parameters", ""]
    rows = [
        [
            clip(told.name, 40),
            clip(told.version, 20) or "-",
            clip(told.module, 40),
            clip(told.function, 40),
            clip(", ".join(told.parameters), 40) or "-",
            clip(told.description, 60),
        ]
        for told in found
    ]
    return table([head, *rows], indent="")


def _unreadable(problems: list[Unreadable]) -> list[str]:
    if not problems:
        return []
    told = [f"  {escape(one.path)}: {escape(one.why)}{f'; {escape(one.hint)}' if one.hint else ''}" for one in problems]
    return ["", "not read:", *told]
