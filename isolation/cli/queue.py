"""``isolation submit``, ``worker``, ``wait`` and ``cancel``: runs that somebody else carries out."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from contextlib import contextmanager
from dataclasses import asdict
from queue import SimpleQueue
from typing import TYPE_CHECKING

from isolation.cli.parser import names, positive, whole
from isolation.cli.run import adjustments_of, exit_code, takes_choices
from isolation.cli.runs import show_run
from isolation.cli.session import print_json, say, settings_of, takes_json, takes_recipe, takes_run
from isolation.cli.values import parse_assignments, seconds
from isolation.clock import SystemClock
from isolation.errors import EngineError
from isolation.rules.escape import escape, escape_json
from isolation.wiring import open_controller, open_stores

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

    from isolation.cli.parser import Parser
    from isolation.model.run import RunSummary
    from isolation.worker import Told, Worker


def register(parser: Parser) -> None:
    """Add the commands."""
    added = parser.add(
        "submit",
        submit,
        "Pack a recipe and put it into the queue, for a worker; returns at once, with the run's id.",
        examples=(
            "isolation submit recipes/etl",
            "isolation submit recipes/etl --set region=eu --priority 10",
            "isolation submit recipes/etl --key nightly-2026-01-31   # twice the same is one run",
        ),
    )
    takes_recipe(added)
    takes_choices(added)
    added.add_argument("--priority", type=whole, default=0, metavar="N", help="higher goes first in its namespace (0)")
    added.add_argument("--key", metavar="KEY", help="who submits the same with this key again gets the same run")
    takes_json(added)
    added = parser.add(
        "worker",
        worker,
        "Run what waits in the queue, of all namespaces, until it is told to stop.",
        examples=("isolation worker", "isolation worker --slots 4", "isolation worker --until-empty"),
        notes="SIGTERM or Ctrl-C: take no more, and end what is under way. Again: stop that, and leave it to others.",
    )
    added.add_argument("--slots", type=positive, default=os.cpu_count() or 1, metavar="N", help="runs at once (CPUs)")
    added.add_argument(
        "--idle", type=whole, metavar="N", help="keep up to N cells ready for runs to come (as many as slots; 0: none)"
    )
    added.add_argument("--until-empty", action="store_true", help="leave when nothing waits and nothing runs any more")
    added.add_argument("--secrets", metavar="FILE", help="take the secrets' values from here (TOML, chmod 600)")
    takes_json(added)
    _register_for_one(parser)


def _register_for_one(parser: Parser) -> None:
    added = parser.add(
        "wait",
        wait,
        "Wait until a run has ended, and show what came of it; exits as `isolation run` does.",
        examples=("isolation wait last", "isolation wait 20260131-1 --timeout 10m --json | jq .outcome"),
        notes="Exit code 124: it did not end in time, and goes on.",
    )
    takes_run(added)
    added.add_argument("--timeout", metavar="TIME", help="wait no longer than this, such as 90s or 10m")
    added.add_argument("--quiet", "-q", action="store_true", help="say nothing while it waits")
    takes_json(added)
    added = parser.add(
        "cancel",
        cancel,
        "End a run that waits or runs: once this returns, nothing of it is merged any more.",
        examples=("isolation cancel last", "isolation cancel 20260131-1 --no-wait"),
    )
    takes_run(added)
    added.add_argument("--no-wait", action="store_true", help="do not wait until its container is gone")
    takes_json(added)


def submit(given: Namespace) -> int:
    """Put a run into the queue."""
    settings = settings_of(given)
    from isolation.order import Wanted  # noqa: PLC0415 - slow to import
    from isolation.submission import submit as put  # noqa: PLC0415 - as above

    wanted = Wanted(
        recipe=given.recipe,
        policy=given.policy or settings.policy,
        context=parse_assignments(given.set or ()),
        only=names(given.only),
        skip=names(given.skip),
        adjustments=adjustments_of(given),
        paths=settings.paths,
        environment=settings.environment,
    )
    with open_stores(settings) as stores:
        run_id = put(stores, wanted, SystemClock(), priority=given.priority, key=given.key)
    if given.json:
        print_json({"run_id": run_id, "namespace": settings.namespace})
    else:
        say(run_id)
    return 0


def worker(given: Namespace) -> int:
    """Run the queue."""
    from isolation.wiring import open_worker  # noqa: PLC0415 - slow to import

    lock = threading.Lock()

    def tell(told: Told) -> None:
        with lock:
            say(escape_json(json.dumps(asdict(told))) if given.json else _line(told))
            sys.stdout.flush()

    settings = settings_of(given)
    idle = given.slots if given.idle is None else max(0, given.idle)
    with open_controller(settings, idle=idle) as controller:
        ours = open_worker(controller, slots=given.slots, tell=tell)
        with _stopped_by_signals(ours):
            ours.run(until_empty=given.until_empty)
    return 0


def wait(given: Namespace) -> int:
    """Wait for a run."""
    from isolation.submission import wait as wait_for  # noqa: PLC0415 - slow to import

    def tell(run: RunSummary) -> None:
        if not given.quiet and not given.json:
            attempts = f" after {run.attempts} attempts" if run.attempts and run.state != "finished" else ""
            sys.stderr.write(f"{escape(run.run_id)}: {run.state}{attempts}\n")

    timeout_s = seconds("--timeout", given.timeout)
    with open_stores(settings_of(given)) as stores:
        run = wait_for(stores, given.run_id, SystemClock(), timeout_s=timeout_s, tell=tell)
        result = show_run(stores, run, as_json=given.json)
    return exit_code(result) if result else EngineError.exit_code  # abandoned: lost, as far as anybody can tell


def cancel(given: Namespace) -> int:
    """End a run."""
    clock = SystemClock()
    from isolation.clock import timestamp  # noqa: PLC0415
    from isolation.submission import wait as wait_for  # noqa: PLC0415 - slow to import

    with open_stores(settings_of(given)) as stores:
        run_id = stores.ledger.resolve(given.run_id)
        ended = stores.ledger.cancel(run_id, timestamp(clock.now()))
        if not ended and not given.no_wait:
            wait_for(stores, run_id, clock)
            ended = True
        run = stores.ledger.summary(run_id)
    if given.json:
        print_json({"run_id": run_id, "ended": ended})
    elif not ended:
        say(f"{run_id} will end soon; nothing of it is merged any more")
    else:
        how = run.outcome.value if run.outcome else run.state
        say(f"{run_id} is cancelled" if how == "cancelled" else f"{run_id} ended as {how}; nothing of it was merged")
    return 0


def _line(told: Told) -> str:
    words = {"taken": "begins", "ended": "ended", "waits": "tries again in"}
    said = f"{words.get(told.what, told.what)} {escape(told.detail)}".rstrip()
    namespace = f" ({escape(told.namespace)})" if told.namespace not in {"", "default"} else ""
    return f"{escape(told.run_id)}{namespace} {said}".strip()


@contextmanager
def _stopped_by_signals(ours: Worker) -> Iterator[None]:
    """
    Stop gently at the first signal, and at the second put back what is under way.

    A thread does that: a handler interrupts this one anywhere, and would wait for ever for a lock that it holds.
    """
    asked: SimpleQueue[int | None] = SimpleQueue()  # the one queue that a handler may use
    thread = threading.Thread(target=_obey, args=(ours, asked), name="isolation-signals", daemon=True)
    thread.start()
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        if before[number] is not signal.SIG_IGN:
            signal.signal(number, lambda number, _: asked.put(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        asked.put(None)
        thread.join()


def _obey(ours: Worker, asked: SimpleQueue[int | None]) -> None:
    ask = ours.stop
    while asked.get() is not None:
        ask()
        ask = ours.release
