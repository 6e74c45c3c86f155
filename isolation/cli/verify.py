"""``isolation verify``: runs a recipe several times, varies what should not matter, and says what moved."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING

from isolation.cli.diff import leeway_asked, takes_leeway
from isolation.cli.paint import Paint
from isolation.cli.parser import names
from isolation.cli.run import stoppable
from isolation.cli.session import print_json, say, settings_of, takes_recipe
from isolation.cli.table import table
from isolation.cli.values import clip, parse_assignments, shorten
from isolation.errors import InputError, did_you_mean
from isolation.rules.escape import escape
from isolation.units import format_seconds
from isolation.wiring import engine_beside, open_controller

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Sequence

    from isolation.cli.parser import Parser
    from isolation.model.run import Result
    from isolation.model.verification import Label, Varied, Verification

VARIATIONS = {
    "hash_seed": "hash seed",
    "directory_order": "directory order",
    "time_zone": "time zone",
    "clock": "start time",
    "seed": "random seed",
    "processors": "processors",
}
"""What people call them. The names stand here again, as who asks for help should not wait for pydantic."""
_STYLES = {"stable": "green", "volatile": "yellow", "unstable": "red"}
_MOST_TIMES = 100
_SHOWN_CHARS = 24
_LINE_CHARS = 90
_MOST_NAMED = 3


def register(parser: Parser) -> None:
    """Add the command."""
    added = parser.add(
        "verify",
        verify,
        "Run a recipe several times, vary what should not matter, merge nothing, and say what came out otherwise.",
        examples=(
            "isolation verify recipes/etl",
            "isolation verify report.yaml --times 8 --volatile 'report.at' --set region=eu",
            "isolation verify report.yaml --vary hash_seed,clock --json",
        ),
        notes=_NOTES,
    )
    takes_recipe(added)
    added.add_argument("--times", type=_times, default=5, metavar="N", help="run it so often; 8 varies each alone (5)")
    added.add_argument("--vary", action="append", metavar="A,B", help="vary only these (all)")
    added.add_argument("--policy", metavar="NAME|FILE", help="what the runs may use, see and do")
    added.add_argument("--set", action="append", metavar="KEY=VALUE", help="a context value for these runs only")
    added.add_argument("--secrets", metavar="FILE", help="take the secrets' values from here (TOML, chmod 600)")
    added.add_argument("--quiet", "-q", action="store_true", help="show no progress, only what came of it")
    takes_leeway(added)


_NOTES = f"""\
The first two runs vary nothing; the others share among them: {", ".join(VARIATIONS)}.
Exit code 0: all that counts came out the same; 1: something did not; 2 to 4 as for `isolation run`."""


def verify(given: Namespace) -> int:
    """Verify a recipe."""
    overlay, variations = parse_assignments(given.set or ()), _variations(given.vary)
    settings = settings_of(given)
    with engine_beside(settings) as engine:
        from isolation.packaging.policy import load_policy  # noqa: PLC0415 - slow to import
        from isolation.verification import verify as run_all  # noqa: PLC0415 - as above

        policy = load_policy(given.policy or settings.policy)
        with stoppable(), open_controller(settings, engine) as controller:
            found = run_all(
                controller,
                given.recipe,
                policy=policy,
                times=given.times,
                variations=variations,
                asked=leeway_asked(given),
                context=overlay,
                tell=_teller(given),
            )
    if given.json:
        print_json({**asdict(found), "stable": found.stable})
    else:
        say(verification_text(found, Paint.for_stream(sys.stdout)))
    return 0 if found.stable else 1


def verification_text(found: Verification, paint: Paint) -> str:
    """Lay out what came of it: first what moved, then what did not."""
    moved = [label for label in found.labels if label.stability == "unstable"]
    runs = f"{len(found.trials)} runs"
    head = f"stable: all came out the same in {runs}"
    if moved:
        head = f"unstable: {len(moved)} of {len(found.labels)} things came out otherwise in {runs}"
    sections = [[f"{clip(found.recipe, 100)}  {paint(_STYLES['unstable' if moved else 'stable'], head)}"]]
    for stability in ("unstable", "volatile"):
        labels = [label for label in found.labels if label.stability == stability]
        if labels:
            sections.append([paint(_STYLES[stability], stability), *table([_row(label) for label in labels])])
    sections.append([paint("green", "stable"), *table(_stable_rows(found))])
    sections.append(["runs", *table([[t.run_id, t.outcome, said(t.varied)] for t in found.trials])])
    if found.not_varied:
        rows = [[VARIATIONS[name], escape(why)] for name, why in found.not_varied.items()]
        sections.append(["not varied", *table(rows)])
    return "\n\n".join("\n".join(lines) for lines in sections)


def said(varied: Varied) -> str:
    """
    Say what was varied, in words.

    >>> said(("hash_seed", "clock")), said(())
    ('hash seed, start time varied', 'all held still')
    """
    return f"{', '.join(VARIATIONS[name] for name in varied)} varied" if varied else "all held still"


def _row(label: Label) -> list[str]:
    values = [shorten(value, _SHOWN_CHARS) for value in (label.first, label.other)]
    where = f"step {clip(label.step, 40)}" if label.step else ""
    return [label.area, clip(label.name, 60), where, _mover(label), *values]


def _stable_rows(found: Verification) -> list[list[str]]:
    stable = [label for label in found.labels if label.stability == "stable"]
    return [
        [area, clip(", ".join(label.name for label in labels), _LINE_CHARS)]
        for area, group in groupby(sorted(stable, key=lambda label: label.area), key=lambda label: label.area)
        if (labels := [*group])
    ]


def _mover(label: Label) -> str:
    if label.moved_still:
        return "moves with all held still"
    return "; ".join(
        " or ".join(VARIATIONS[name] for name in varied) if len(varied) <= _MOST_NAMED else f"one of {len(varied)}"
        for varied in label.moved_by
    )


def _teller(given: Namespace) -> Callable[[int, Varied, Result | None], None]:
    quiet = given.quiet or (given.json and not sys.stderr.isatty())

    def tell(number: int, varied: Varied, result: Result | None) -> None:
        if quiet:
            return
        if result is None:
            sys.stderr.write(f"run {number} of {given.times}, {said(varied)}\n")
        else:
            sys.stderr.write(f"  {result.outcome.value} in {format_seconds(result.usage.wall_s)}\n")
        sys.stderr.flush()

    return tell


def _variations(asked: Sequence[str] | None) -> list[str]:
    chosen = names(asked)
    for name in chosen:
        if name not in VARIATIONS:
            hint = did_you_mean(name, VARIATIONS) or f"Known: {', '.join(VARIATIONS)}."
            raise InputError(f"{name!r} cannot be varied", hint=hint)
    return [name for name in VARIATIONS if not chosen or name in chosen]


def _times(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else 0
    if not 2 <= number <= _MOST_TIMES:  # noqa: PLR2004 - one run shows no difference
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 2 to {_MOST_TIMES}")
    return number
