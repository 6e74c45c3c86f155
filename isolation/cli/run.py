"""``isolation run`` and ``isolation rerun``."""

from __future__ import annotations

import signal
import sys
from argparse import BooleanOptionalAction
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from isolation.cli.paint import Paint
from isolation.cli.parser import names, whole
from isolation.cli.progress import watching
from isolation.cli.session import say, settings_of, takes_json, takes_recipe, takes_run
from isolation.cli.values import parse_assignments, seconds
from isolation.errors import EngineError
from isolation.model.adjustments import Adjustments
from isolation.model.document import to_json
from isolation.model.outcome import Outcome
from isolation.rules.escape import escape_json
from isolation.wiring import engine_beside, open_controller

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from isolation.cli.artifacts import ArtifactFolder
    from isolation.cli.parser import Parser
    from isolation.controller import Controller
    from isolation.model.event import Watcher
    from isolation.model.policy import Limits
    from isolation.model.run import Artifact, Result
    from isolation.sandbox.engine_beside import EngineBeside
    from isolation.settings import Settings
    from isolation.stores import Stores


def register(parser: Parser) -> None:
    """Add the commands."""
    added = parser.add(
        "run",
        run,
        "Run a recipe, isolated, and show what came of it.",
        examples=(
            "isolation run recipes/etl",
            "isolation run report.yaml --policy strict --set region=eu --set 'days=[1, 2]'",
            "isolation run recipes/etl --only extract,load",
            "isolation run recipes/etl --json --artifacts out | jq .outcome",
        ),
        notes=_EXIT_CODES,
    )
    takes_recipe(added)
    takes_choices(added)
    _takes_output(added)
    added = parser.add(
        "rerun",
        rerun,
        "Run a recorded run again, from what was kept: the recipe's folder may be gone.",
        examples=("isolation rerun last", "isolation rerun 20260131-1 --fresh-context"),
        notes=_EXIT_CODES,
    )
    takes_run(added)
    added.add_argument("--fresh-context", action="store_true", help="see the context as it is now, not as it was")
    _takes_output(added)


_EXIT_CODES = """\
Exit codes: 0 succeeded; 1 the recipe failed, hit a limit or met a conflict; 2 bad input; 3 the engine;
4 the state folder, or the artifacts; 130 interrupted (and the container is gone)."""


def run(given: Namespace) -> int:
    """Run a recipe."""
    overlay = parse_assignments(given.set or ())
    settings = settings_of(given)
    with engine_beside(settings) as engine:
        from isolation.packaging.policy import load_policy  # noqa: PLC0415 - slow to import

        policy = load_policy(given.policy or settings.policy)

        def start(controller: Controller, watcher: Watcher | None) -> Result:
            return controller.run(
                given.recipe,
                policy=policy,
                context=overlay,
                only=names(given.only),
                skip=names(given.skip),
                adjustments=adjustments_of(given),
                watcher=watcher,
            )

        return _watched(given, settings, engine, start, policy.limits)


def rerun(given: Namespace) -> int:
    """Run a recorded run again."""
    settings = settings_of(given)

    def start(controller: Controller, watcher: Watcher | None) -> Result:
        return controller.rerun(given.run_id, fresh_context=given.fresh_context, watcher=watcher)

    with engine_beside(settings) as engine:
        return _watched(given, settings, engine, start)


def exit_code(result: Result) -> int:
    """Return 0 for success, 3 where it was the engine's fault, 1 where it was the recipe's."""
    if result.succeeded:
        return 0
    return EngineError.exit_code if result.outcome in {Outcome.LOST, Outcome.REFUSED} else 1


def show_result(
    stores: Stores, result: Result, *, as_json: bool, folder: ArtifactFolder | None = None, bill: Sequence[str] = ()
) -> None:
    """Show a finished run: one JSON object, or the summary for people, which may have its bill."""
    if as_json:
        say(escape_json(to_json(result)))
        return
    from isolation.cli.records import policy_of  # noqa: PLC0415 - reads the policy with pydantic
    from isolation.cli.summary import summary  # noqa: PLC0415 - only for people

    def where(artifact: Artifact) -> str:
        return str(folder.place(artifact) if folder else stores.blobs.path(artifact.digest))

    say(summary(result, policy_of(stores, result), where, Paint.for_stream(sys.stdout), bill))


def takes_choices(parser: Parser) -> None:
    """Let a command take how a recipe is to be run."""
    parser.add_argument("--policy", metavar="NAME|FILE", help="what the run may use, see and do")
    parser.add_argument("--set", action="append", metavar="KEY=VALUE", help="a context value for this run only")
    parser.add_argument(
        "--only", action="append", metavar="A,B", help="run these steps alone; what they depend on counts as done"
    )
    parser.add_argument(
        "--skip", action="append", metavar="A,B", help="leave these steps out, and what depends on them"
    )

    parser.add_argument(
        "--environment",
        metavar="NAME",
        help="for a recipe that is otherwise there [environment: ISOLATION_ENVIRONMENT]",
    )
    parser.add_argument("--step-timeout", metavar="TIME", help="stop each step after that; its own, if it is shorter")
    parser.add_argument("--max-retries", type=whole, metavar="N", help="further tries of each step that fails")
    parser.add_argument("--retry-delay", metavar="TIME", help="wait that long before each of those")
    parser.add_argument("--no-cache", action="store_true", help="run every step, also one that need not run again")
    parser.add_argument(
        "--continue-on-error",
        action=BooleanOptionalAction,
        help="after a failure go on with the steps that do not depend on it, or begin no other",
    )


def adjustments_of(given: Namespace) -> Adjustments:
    """Return what is to be done otherwise than the recipe says; InputError for a time that is none."""
    return Adjustments(
        continue_on_error=given.continue_on_error,
        step_timeout_s=seconds("--step-timeout", given.step_timeout),
        max_retries=given.max_retries,
        retry_delay_s=seconds("--retry-delay", given.retry_delay),
        no_cache=given.no_cache,
    )


def _takes_output(parser: Parser) -> None:
    takes_json(parser)
    parser.add_argument("--artifacts", type=Path, metavar="DIR", help="copy the files that the recipe leaves to here")
    parser.add_argument("--secrets", metavar="FILE", help="take the secrets' values from here (TOML, chmod 600)")
    parser.add_argument("--quiet", "-q", action="store_true", help="show no progress, only what came of it")


def _watched(
    given: Namespace,
    settings: Settings,
    engine: EngineBeside,
    start: Callable[[Controller, Watcher | None], Result],
    limits: Limits | None = None,
) -> int:
    """Run with whoever watches, and show what came of it."""
    folder = _prepare(given.artifacts)
    with stoppable(), open_controller(settings, engine) as controller:
        with watching(as_json=given.json, quiet=given.quiet, limits=limits) as watcher:
            result = start(controller, watcher)
        refused = folder.copy(result.artifacts, controller.stores.blobs) if folder else None
        show_result(controller.stores, result, as_json=given.json, folder=folder)
    if refused is not None:
        sys.stdout.flush()
        raise refused
    return exit_code(result)


def _prepare(folder: Path | None) -> ArtifactFolder | None:
    if folder is None:
        return None
    from isolation.cli.artifacts import ArtifactFolder  # noqa: PLC0415 - only where it is asked for

    return ArtifactFolder.prepare(folder)


@contextmanager
def stoppable() -> Iterator[None]:
    """Treat SIGTERM and SIGHUP like Ctrl-C: whoever ends us must not leave a container behind."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGTERM, signal.SIGHUP)
    # A process started with `nohup` ignores SIGHUP, and goes on doing so.
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        if before[number] is not signal.SIG_IGN:
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
