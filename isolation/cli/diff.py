"""``isolation diff``: what differs between two recorded runs, and whether it counts."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING

from isolation.cli.escape import escape
from isolation.cli.paint import Paint
from isolation.cli.parser import names
from isolation.cli.session import print_json, say, settings_of, takes_json
from isolation.cli.table import table
from isolation.cli.values import clip, shorten
from isolation.rules.compare import Comparing
from isolation.wiring import open_stores

if TYPE_CHECKING:
    from argparse import Namespace

    from isolation.cli.parser import Parser
    from isolation.model.difference import Comparison, Difference

_SAYS = {
    "identical": "identical: both came out the same",
    "equivalent": "equivalent: they differ only in what does not count",
    "diverged": "diverged: they did not come out the same",
}
_STYLES = {"identical": "green", "equivalent": "green", "diverged": "red"}
_SHOWN_CHARS = 40


def register(parser: Parser) -> None:
    """Add the command."""
    added = parser.add(
        "diff",
        diff,
        "Compare two recorded runs: origin, outcome, steps, outputs, changes, artifacts, usage.",
        examples=(
            "isolation diff 20260131-1 last",
            "isolation diff 20260131-1 last --volatile 'report.at' --volatile 'load.seconds' --tolerance 0.01",
        ),
        notes="Exit code 0: identical or equivalent; 1: diverged.",
    )
    added.add_argument("left", metavar="RUN", help="its id, the beginning of it, or 'last'")
    added.add_argument("right", metavar="RUN", help="the other")
    added.add_argument(
        "--volatile",
        action="append",
        metavar="GLOB",
        help="what does not count: keys, names of artifacts, outputs as STEP.PATH",
    )
    added.add_argument(
        "--tolerance", type=_share, default=0.0, metavar="R", help="numbers may differ by this share of the larger (0)"
    )
    takes_json(added)


def diff(given: Namespace) -> int:
    """Compare two runs."""
    with open_stores(settings_of(given)) as stores:
        left, right = stores.ledger.get(given.left), stores.ledger.get(given.right)
    found = Comparing(volatile=names(given.volatile), tolerance=given.tolerance).compare(left, right)
    if given.json:
        print_json(asdict(found))
    else:
        say(comparison_text(found, Paint.for_stream(sys.stdout)))
    return 1 if found.verdict == "diverged" else 0


def comparison_text(found: Comparison, paint: Paint) -> str:
    """Lay out a comparison."""
    first = f"; the first step that differs is {clip(found.first_step, _SHOWN_CHARS)}" if found.first_step else ""
    head = paint(_STYLES[found.verdict], f"{_SAYS[found.verdict]}{first}")
    sections = [[f"{escape(found.left)}  {escape(found.right)}", head]]
    for area, group in groupby(found.differences, key=lambda one: one.area):
        rows = [[clip(one.what, 60), *_values(one), "" if one.counts else "does not count"] for one in group]
        sections.append([area, *table(rows)])
    return "\n\n".join("\n".join(lines) for lines in sections)


def _values(one: Difference) -> list[str]:
    shown = {"left": one.left, "right": one.right}
    return ["-" if side == one.missing else shorten(value, _SHOWN_CHARS) for side, value in shown.items()]


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share from 0 to 1, such as 0.01")
    return share
