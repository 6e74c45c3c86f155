"""``isolation runs``, ``show`` and ``logs``: what is recorded. None of them needs an engine."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from isolation.cli.paint import Paint
from isolation.cli.parser import positive
from isolation.cli.run import show_result
from isolation.cli.session import print_json, say, settings_of, takes_json, takes_run
from isolation.cli.table import table
from isolation.cli.values import clip
from isolation.clock import SystemClock, timestamp
from isolation.errors import InputError, did_you_mean
from isolation.model.document import to_document
from isolation.model.outcome import Outcome
from isolation.rules.escape import escape
from isolation.units import format_seconds
from isolation.wiring import open_stores

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

    from isolation.cli.parser import Parser
    from isolation.model.event import LogLine
    from isolation.model.run import Attempt, Result, RunState, RunSummary
    from isolation.stores import Stores


def register(parser: Parser) -> None:
    """Add the commands."""
    added = parser.add(
        "runs",
        runs,
        "List the recorded runs, the newest first.",
        examples=("isolation runs", "isolation runs --recipe etl --outcome out_of_memory --limit 5"),
    )
    added.add_argument("--limit", type=positive, default=20, metavar="N", help="show at most so many (20)")
    added.add_argument("--recipe", metavar="NAME", help="only runs of this recipe")
    added.add_argument("--outcome", metavar="OUTCOME", help="only runs that ended so")
    added.add_argument("--queued", action="store_true", help="only runs that wait in the queue")
    added.add_argument("--running", action="store_true", help="only runs that are under way")
    takes_json(added)
    added = parser.add(
        "show",
        show,
        "Show a recorded run: outcome, steps, usage, what its time went into, changes, errors, artifacts.",
        examples=("isolation show last", "isolation show last --attestation", "isolation show 20260131-1 --json"),
    )
    takes_run(added)
    added.add_argument(
        "--attestation", action="store_true", help="show what confined its cells, fact by fact, as it was read back"
    )
    takes_json(added)
    added = parser.add(
        "logs",
        logs,
        "Show what a run wrote, line by line; what does not print is shown by its number.",
        examples=(
            "isolation logs last --follow",
            "isolation logs 20260131-1 --step load --attempt 2",
            "isolation logs last --json | jq .text",
        ),
    )
    takes_run(added)
    added.add_argument("--follow", "-f", action="store_true", help="wait for more until the run has ended")
    added.add_argument("--attempt", type=positive, metavar="N", help="of this attempt (the last)")
    added.add_argument("--step", metavar="STEP", help="only what this step wrote")
    takes_json(added)


def runs(given: Namespace) -> int:
    """List the recorded runs."""
    outcome = None if given.outcome is None else _outcome(given.outcome)
    if given.queued and given.running:
        raise InputError("a run is queued or running, and not both", hint="Ask for one of both.")
    state: RunState | None = "queued" if given.queued else "running" if given.running else None
    with open_stores(settings_of(given)) as stores:
        found = stores.ledger.list(given.limit, recipe=given.recipe, outcome=outcome, state=state)
    if given.json:
        print_json([summary_document(run) for run in found])
    elif found:
        say(runs_table(found, Paint.for_stream(sys.stdout)))
    else:
        say("no such runs" if given.recipe or outcome or state else "no runs yet; begin one: isolation run RECIPE")
    return 0


def show(given: Namespace) -> int:
    """Show a recorded run."""
    with open_stores(settings_of(given)) as stores:
        run = stores.ledger.summary(given.run_id)
        if given.attestation:
            _show_attestation(stores.ledger.attempts(run.run_id), as_json=given.json)
            return 0
        show_run(stores, run, as_json=given.json, billed=True)
    return 0


def show_run(stores: Stores, run: RunSummary, *, as_json: bool, billed: bool = False) -> Result | None:
    """Show a run as far as it came, with the bills of its attempts if asked; return its result, if it has one."""
    result = stores.ledger.get(run.run_id) if run.state == "finished" else None
    attempts = result.attempts if result else stores.ledger.attempts(run.run_id)
    bill = _bill(attempts) if billed and not as_json else []
    if result:
        show_result(stores, result, as_json=as_json, bill=bill)
    elif as_json:
        print_json({**summary_document(run), "attempts": [to_document(attempt) for attempt in attempts]})
    else:
        say("\n".join([unfinished(run, attempts), *(["", *bill] if bill else [])]))
    return result


def _bill(attempts: tuple[Attempt, ...]) -> list[str]:
    from isolation.cli.bill import bill_lines, columns  # noqa: PLC0415 - only where it is asked for

    return bill_lines(attempts, Paint.for_stream(sys.stdout), columns())


def _show_attestation(attempts: tuple[Attempt, ...], *, as_json: bool) -> None:
    if as_json:
        print_json([{"attempt": attempt.number, **_attestation_document(attempt)} for attempt in attempts])
        return
    from isolation.cli.attestation import attestation_text  # noqa: PLC0415 - only where it is asked for

    say(attestation_text(attempts, Paint.for_stream(sys.stdout)))


def _attestation_document(attempt: Attempt) -> dict[str, object]:
    return {"outcome": attempt.outcome.value, "attestation": to_document(attempt)["attestation"]}


def logs(given: Namespace) -> int:
    """Show what a run wrote."""
    with open_stores(settings_of(given)) as stores:
        run_id = stores.ledger.resolve(given.run_id)
        _check_attempt(stores, run_id, given.attempt)
        paint = Paint.for_stream(sys.stdout)
        follow = _goes_on(stores, run_id) if given.follow else None
        for line in stores.logs.read(run_id, given.attempt, follow=follow):
            if given.step is None or line.step == given.step:
                say(json.dumps(asdict(line)) if given.json else line_text(line, paint))
                if follow:
                    sys.stdout.flush()
    return 0


def runs_table(found: tuple[RunSummary, ...], paint: Paint) -> str:
    """Lay out the list of runs."""
    head = ["run", "recipe", "outcome", "wall", "attempts", "policy", "started"]
    rows = [
        [
            clip(run.run_id, 64),
            clip(run.recipe, 40),
            run.outcome.value if run.outcome else run.state,
            format_seconds(run.wall_s),
            str(run.attempts),
            clip(run.policy, 40),
            moment(run.started_at or run.submitted_at),
        ]
        for run in found
    ]

    def painted(row: int, column: int, cell: str) -> str:
        if row == 0:
            return paint("dim", cell)
        outcome = found[row - 1].outcome
        style = "yellow" if outcome is None else "green" if outcome is Outcome.SUCCEEDED else "red"
        return paint(style, cell) if column == 2 else cell  # noqa: PLR2004 - the outcome's column

    return "\n".join(table([head, *rows], right=[3, 4], indent="", paint=painted))


def unfinished(run: RunSummary, attempts: tuple[Attempt, ...]) -> str:
    """Show a run that has no result, or none yet."""
    lines = [f"{clip(run.recipe, 100)}  {_WHY_NO_RESULT[run.state]}", "", f"run {run.run_id}, {_since(run)}"]
    rows = [
        [
            f"attempt {attempt.number}",
            attempt.outcome.value,
            escape(attempt.cause),
            format_seconds(attempt.usage.wall_s),
        ]
        for attempt in attempts
    ]
    follow = " --follow" if run.state == "running" else ""
    return "\n".join([*lines, *table(rows), f"  isolation logs {run.run_id}{follow}    what it wrote"])


def _since(run: RunSummary) -> str:
    said = f"submitted {moment(run.submitted_at)}" + (f", started {moment(run.started_at)}" if run.started_at else "")
    if run.due_at and run.due_at > timestamp(SystemClock().now()):  # the attempt under way was due before
        said += f", next attempt not before {moment(run.due_at)}"
    return said + (f", its end asked for {moment(run.cancelled_at)}" if run.cancelled_at else "")


_WHY_NO_RESULT = {
    "queued": "waits in the queue; `isolation worker` runs it",
    "running": "still running",
    "abandoned": "abandoned: whoever ran it died; nothing was merged",
}


def summary_document(run: RunSummary) -> dict[str, object]:
    """Write one line of the list as JSON values."""
    return {**asdict(run), "outcome": run.outcome.value if run.outcome else None}


def moment(at: str) -> str:
    """
    Show a recorded moment, to the second.

    >>> moment("2025-01-02T03:04:05.678Z")
    '2025-01-02 03:04:05Z'
    """
    return escape(f"{at[:10]} {at[11:19]}Z")


def line_text(line: LogLine, paint: Paint) -> str:
    """Write one log line for people: the step, then the text, errors in red."""
    level = f"{escape(line.level)} " if line.level else ""
    style = "red" if line.stream == "stderr" or line.level.upper() in {"ERROR", "CRITICAL"} else ""
    fields = "".join(f" {escape(name)}={escape(json.dumps(value))}" for name, value in line.fields.items())
    text = paint(style, level + escape(line.text)) + (paint("dim", fields) if fields else "")
    return f"{paint('dim', clip(line.step, 40) + ' |')} {text}"


def _outcome(name: str) -> Outcome:
    names = [outcome.value for outcome in Outcome]
    if name not in names:
        hint = did_you_mean(name, names) or f"Known: {', '.join(names)}."
        raise InputError(f"{name!r} is no outcome", hint=hint)
    return Outcome(name)


def _check_attempt(stores: Stores, run_id: str, attempt: int | None) -> None:
    known = stores.logs.attempts(run_id)
    if attempt is not None and attempt not in known:
        have = f"It has {', '.join(map(str, known))}." if known else "It has none yet."
        raise InputError(f"the run {run_id} has no log of an attempt {attempt}", hint=have)


def _goes_on(stores: Stores, run_id: str) -> Callable[[], bool]:
    return lambda: stores.ledger.summary(run_id).state == "running"
