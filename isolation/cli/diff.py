"""``isolation diff`` and ``replay``: what differs between two runs, and whether it counts."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING

from isolation.cli.paint import Paint
from isolation.cli.parser import names
from isolation.cli.progress import watching
from isolation.cli.run import stoppable
from isolation.cli.session import print_json, say, settings_of, takes_json, takes_run
from isolation.cli.table import table
from isolation.cli.values import clip, shorten
from isolation.rules.escape import escape
from isolation.wiring import engine_beside, open_controller, open_stores

if TYPE_CHECKING:
    from argparse import Namespace

    from isolation.cli.parser import Parser
    from isolation.model.difference import Comparison, Difference
    from isolation.model.recipe import Leeway
    from isolation.model.run import Result
    from isolation.stores import Stores

_SAYS = {
    "identical": "identical: both came out the same",
    "equivalent": "equivalent: they differ only in what does not count",
    "diverged": "diverged: they did not come out the same",
}
_STYLES = {"identical": "green", "equivalent": "green", "diverged": "red"}
_SHOWN_CHARS = 40
_VERDICTS = "Exit code 0: identical or equivalent; 1: diverged."


def register(parser: Parser) -> None:
    """Add the commands."""
    added = parser.add(
        "diff",
        diff,
        "Compare two recorded runs: origin, outcome, steps, outputs, changes, artifacts, logs, usage.",
        examples=(
            "isolation diff 20260131-1 last",
            "isolation diff 20260131-1 last --volatile 'report.at' --volatile 'load.seconds' --tolerance 0.01",
        ),
        notes=_VERDICTS,
    )
    added.add_argument("left", metavar="RUN", help="its id, the beginning of it, or 'last'")
    added.add_argument("right", metavar="RUN", help="the other")
    takes_leeway(added)
    added = parser.add(
        "replay",
        replay,
        "Run a recorded run again from what was kept, merge nothing, and compare.",
        examples=("isolation replay last", "isolation replay 20260131-1 --volatile 'report.at' --json"),
        notes=_VERDICTS,
    )
    takes_run(added)
    added.add_argument("--secrets", metavar="FILE", help="take the secrets' values from here (TOML, chmod 600)")
    added.add_argument("--quiet", "-q", action="store_true", help="show no progress, only what came of it")
    takes_leeway(added)


def leeway_asked(given: Namespace) -> Leeway:
    """Read what the command line lets pass."""
    from isolation.model.recipe import Leeway  # noqa: PLC0415 - slow to import

    return Leeway(volatile=names(given.volatile), tolerance=given.tolerance)


def takes_leeway(added: Parser) -> None:
    """Let a command take what does not count."""
    added.add_argument(
        "--volatile",
        action="append",
        metavar="GLOB",
        help="what does not count, beside what recipe and policy say: keys, names of artifacts, outputs as STEP.PATH",
    )
    added.add_argument(
        "--tolerance", type=_share, default=0.0, metavar="R", help="numbers may differ by this share of the larger (0)"
    )
    takes_json(added)


def diff(given: Namespace) -> int:
    """Compare two runs."""
    with open_stores(settings_of(given)) as stores:
        return _tell(given, stores, stores.ledger.get(given.left), stores.ledger.get(given.right))


def replay(given: Namespace) -> int:
    """Run a recorded run again, and compare."""
    settings = settings_of(given)
    with engine_beside(settings) as engine, stoppable(), open_controller(settings, engine) as controller:
        recorded = controller.stores.ledger.get(given.run_id)
        with watching(as_json=given.json, quiet=given.quiet) as watcher:
            result = controller.replay(recorded.run_id, watcher=watcher)
        return _tell(given, controller.stores, recorded, result)


def _tell(given: Namespace, stores: Stores, left: Result, right: Result) -> int:
    from isolation.comparison import compare  # noqa: PLC0415 - slow to import

    found = compare(stores, left, right, leeway_asked(given))
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
