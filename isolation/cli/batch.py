"""``isolation batch``: one recipe, many inputs."""

from __future__ import annotations

import json
import os
import sys
from contextlib import closing
from typing import TYPE_CHECKING

from isolation.cli.paint import Paint
from isolation.cli.parser import names, positive
from isolation.cli.progress import counting
from isolation.cli.run import adjustments_of, stoppable, takes_choices
from isolation.cli.session import say, settings_of, takes_json, takes_recipe
from isolation.cli.tally import Tally
from isolation.cli.values import parse_assignments
from isolation.errors import EngineError, InputError, InterruptedRunError, IsolationError
from isolation.model.outcome import Outcome
from isolation.rules.escape import escape_json
from isolation.wiring import engine_beside, open_controller

if TYPE_CHECKING:
    from argparse import Namespace

    from isolation.batches import Batch, Done
    from isolation.cli.parser import Parser
    from isolation.controller import Controller


def register(parser: Parser) -> None:
    """Add the command."""
    added = parser.add(
        "batch",
        batch,
        "Run one recipe on many inputs, some at once.",
        examples=(
            "isolation batch recipes/etl --inputs days.jsonl",
            "isolation batch recipes/etl --inputs days.jsonl --workers 4 --json > results.jsonl",
            "isolation batch recipes/etl --inputs days.jsonl --resume last",
            "generate | isolation batch recipes/etl --inputs - --json --as-completed | jq .outcome",
        ),
        notes=_NOTES,
    )
    takes_recipe(added)
    added.add_argument(
        "--inputs", required=True, metavar="FILE", help="a JSON object of context values a line; - is standard input"
    )
    added.add_argument("--workers", type=positive, default=os.cpu_count() or 1, metavar="N", help="runs at once (CPUs)")
    takes_choices(added)
    added.add_argument("--as-completed", action="store_true", help="give results as they come, not in order")
    added.add_argument("--key", metavar="KEY", help="name the batch; who gives the same again with it goes on with it")
    added.add_argument("--resume", metavar="KEY", help="go on with a batch that was begun; `last` is the last one")
    added.add_argument("--retry-failed", action="store_true", help="going on, run again what did not succeed")
    added.add_argument("--secrets", metavar="FILE", help="take the secrets' values from here (TOML, chmod 600)")
    added.add_argument("--quiet", "-q", action="store_true", help="show no progress, only what came of it")
    takes_json(added)


_NOTES = """\
Each line is for one run alone, over what --set gives to all. A file is checked whole before anything runs. With --json
there is one line of JSON an input: what changed, how it ended and what it used; `isolation show RUN` has all.
What was run is known from the record, by the batch's key. Going on, what ended stands, whether it succeeded or not;
what was cancelled, lost or refused is run again.

Exit codes: 0 all succeeded; 1 a recipe failed, hit a limit or met a conflict; 2 bad input; 3 the engine;
4 the state folder; 130 interrupted (and the containers are gone)."""


def batch(given: Namespace) -> int:
    """Run a batch."""
    if given.key and given.resume:
        raise InputError("--key and --resume both name the batch", hint="Give one of them.")
    if given.retry_failed and not (given.key or given.resume):
        raise InputError("--retry-failed is for a batch that was begun before", hint="Name it: --resume KEY.")
    settings = settings_of(given)
    with engine_beside(settings) as engine, stoppable(), open_controller(settings, engine) as controller:
        ours = _begin(given, controller)
        tally = Tally(ours.recipe, ours.inputs.count)
        if not given.quiet:
            sys.stderr.write(f"batch {ours.key}: {_how_many(ours)}\n")
        try:
            _carry_out(given, ours, tally)
        except KeyboardInterrupt:
            raise InterruptedRunError(f"the batch {ours.key} was interrupted", hint=_go_on(ours)) from None
        except IsolationError as error:
            if tally.done:
                error.hint = f"{error.hint}\n{_go_on(ours)}".strip()
            raise
        finally:
            if not given.json and tally.done:
                say("\n".join(tally.summary(Paint.for_stream(sys.stdout))))
    return _exit_code(tally)


def _begin(given: Namespace, controller: Controller) -> Batch:
    from isolation.batches import find_batch  # noqa: PLC0415 - slow to import

    key = find_batch(controller.stores.ledger, given.resume) if given.resume else given.key
    return controller.batch(
        given.recipe,
        given.inputs,
        policy=given.policy,
        context=parse_assignments(given.set or ()),
        only=names(given.only),
        skip=names(given.skip),
        adjustments=adjustments_of(given),
        workers=given.workers,
        ordered=given.json and not given.as_completed,
        key=key,
        retry_failed=given.retry_failed,
    )


def _carry_out(given: Namespace, ours: Batch, tally: Tally) -> None:
    # Closed before the controller is: a batch that is left early ends its runs first.
    with counting(tally, as_json=given.json, quiet=given.quiet) as tell, closing(iter(ours)) as results:
        for done in results:
            tally.add(done)
            tell()
            if given.json:
                say(_line(done))
                sys.stdout.flush()


def _line(done: Done) -> str:
    result = done.result
    shown = {
        "number": done.number,
        "run_id": result.run_id,
        "outcome": result.outcome.value,
        "cause": result.cause,
        "before": done.before,
        "changes": {"set": result.changes.set, "deleted": result.changes.deleted},
        "merge": result.merge.status,
        "errors": [{"step": error.step, "type": error.type, "message": error.message} for error in result.errors],
        "attempts": len(result.attempts),
        "wall_s": result.usage.wall_s,
        "cpu_s": result.usage.cpu_s,
        "memory_peak_bytes": result.usage.memory_peak_bytes,
    }
    return escape_json(json.dumps(shown, ensure_ascii=False, allow_nan=False, separators=(",", ":")))


def _how_many(ours: Batch) -> str:
    count = ours.inputs.count
    many = "inputs as they come" if count is None else "1 input" if count == 1 else f"{count} inputs"
    return f"{many}, {ours.workers} at once"


def _go_on(ours: Batch) -> str:
    return f"The same command with `--resume {ours.key}` goes on with it."


def _exit_code(tally: Tally) -> int:
    if {Outcome.LOST, Outcome.REFUSED} & {*tally.outcomes}:
        return EngineError.exit_code
    return 1 if tally.failed else 0
