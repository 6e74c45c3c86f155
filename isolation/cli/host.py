"""``isolation doctor``, ``clean`` and ``schema``: the host, what is left on it, and what programs can rely on."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from isolation.cli.checks import checks_text
from isolation.cli.paint import Paint
from isolation.cli.session import print_json, say, settings_of, takes_json
from isolation.cli.table import table
from isolation.model.document import result_schema
from isolation.rules.escape import escape
from isolation.wiring import clean_up

if TYPE_CHECKING:
    from argparse import Namespace

    from isolation.cleaning import Cleaned
    from isolation.cli.parser import Parser

_MISSING = 3

_MOST_NAMED = 3


def register(parser: Parser) -> None:
    """Add the commands."""
    added = parser.add(
        "doctor",
        doctor,
        "Tell what this host gives and lacks, and what to do about it.",
        examples=("isolation doctor", "isolation doctor --engine unix:///run/user/1000/docker.sock"),
        notes="Exit code 3: something is missing without which no recipe runs.",
    )
    takes_json(added)
    added = parser.add(
        "clean",
        clean,
        "Take away what dead controllers left: containers, cgroups, uids, mounts, runs that nobody runs.",
        examples=("isolation clean --dry-run", "isolation clean"),
    )
    added.add_argument("--dry-run", "-n", action="store_true", help="only show what would be taken away")
    takes_json(added)
    parser.add(
        "schema",
        schema,
        "Print the JSON Schema of what `isolation run --json` prints.",
        examples=("isolation schema > result.schema.json",),
    )


def doctor(given: Namespace) -> int:
    """Examine this host."""
    from isolation.sandbox.doctor import examine  # noqa: PLC0415 - slow to import

    settings = settings_of(given)
    checks = examine(engine_address=settings.engine, image=settings.image, state=settings.state)
    if given.json:
        print_json([asdict(check) for check in checks])
    else:
        say(checks_text(checks, Paint.for_stream(sys.stdout)))
    return _MISSING if any(check.status == "missing" for check in checks) else 0


def clean(given: Namespace) -> int:
    """Take away what dead controllers left."""
    cleaned = clean_up(settings_of(given), dry_run=given.dry_run)
    if given.json:
        print_json({**asdict(cleaned), "dry_run": given.dry_run})
    else:
        say(cleaned_text(cleaned, dry_run=given.dry_run))
    return 0


def schema(_given: Namespace) -> int:
    """Print the schema."""
    print_json(result_schema())
    return 0


def cleaned_text(cleaned: Cleaned, *, dry_run: bool) -> str:
    """Say what was, or would be, taken away."""
    if not cleaned:
        return "nothing to clean"
    found = {
        "runs recorded as abandoned": cleaned.runs,
        "containers": tuple(name[:12] for name in cleaned.containers),
        "cgroups": cleaned.groups,
        "uids": tuple(map(str, cleaned.uids)),
        "folders of cells": tuple(map(str, cleaned.stages)),
        "blobs brought and not used": tuple(digest[:12] for digest in cleaned.uploads),
    }
    head = "would be taken away" if dry_run else "taken away"
    rows = [[title, str(len(names)), escape(_some(names))] for title, names in found.items() if names]
    return "\n".join([head, *table(rows, right=[1])])


def _some(names: tuple[str, ...]) -> str:
    """
    Name the first few; ``--json`` has all.

    >>> _some(("a", "b", "c", "d"))
    'a, b, c, ...'
    """
    return ", ".join(names[:_MOST_NAMED]) + (", ..." if len(names) > _MOST_NAMED else "")
