"""
The whole way of the data, in order, in one place.

    recipe ─load─▶ ─pack─▶ package        policy ─check─▶        context ─freeze─▶ snapshot
      ─claim─▶ cell ─deliver─▶ listen ─collect─▶ evidence ─judge─▶ outcome ─retry?─▶ … ─merge and record─▶ result
"""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from isolation.clock import timestamp
from isolation.context.key import check_key
from isolation.context.value import check_value
from isolation.errors import ContextError, EngineError, EngineUnreachableError, InterruptedRunError
from isolation.model.changes import Merge
from isolation.model.event import PhaseStarted, Retrying, RunStarted
from isolation.model.evidence import Evidence
from isolation.model.outcome import Outcome
from isolation.model.policy import Policy
from isolation.model.run import Attempt, Digests, Engine, Result, StepError
from isolation.model.snapshot import Snapshot
from isolation.model.usage import Usage
from isolation.packaging.load import load_recipe
from isolation.packaging.pack import pack
from isolation.packaging.policy import load_policy
from isolation.packaging.requirements import Layers
from isolation.packaging.tree import materialise, read_manifest
from isolation.rules.judge import judge
from isolation.rules.order import order, select
from isolation.rules.retry import next_delay, rule_for
from isolation.rules.scope import allows
from isolation.sandbox.artifacts import ArtifactIntake
from isolation.sandbox.cell import cell_labels, cell_name
from isolation.sandbox.hardening import Mounts
from isolation.sandbox.listener import Listener
from isolation.sandbox.plan import deadlines, plan_document, write_scope
from isolation.sandbox.transcript import Transcript
from isolation.stopwatch import Stopwatch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pydantic import JsonValue

    from isolation.clock import Clock
    from isolation.model.event import Event, Watcher
    from isolation.model.package import Package
    from isolation.model.recipe import Recipe
    from isolation.sandbox.cell import Cell, Cells
    from isolation.sandbox.engine import Engine as ContainerEngine
    from isolation.storage.logs import LogWriter
    from isolation.stores import Stores


@dataclass(frozen=True, kw_only=True)
class Order:
    """Everything that a run is made of, before it has an id; from a recipe's folder or from the record."""

    package: Package
    policy: Policy
    image_id: str
    inputs: Mapping[str, JsonValue]
    snapshot: Snapshot | None = None
    """None: take a fresh one."""


class Controller:
    """
    Runs recipes on one engine, with one state folder. Safe to use from several threads.

    ``default_policy`` is a name or a file; ``image`` is the runner image's name on the engine.
    """

    def __init__(
        self,
        *,
        stores: Stores,
        engine: ContainerEngine,
        cells: Cells,
        clock: Clock,
        image: str,
        default_policy: str = "default",
        paths: Sequence[Path] = (),
    ) -> None:
        self.stores = stores
        self.engine = engine
        self.cells = cells
        self.clock = clock
        self.layers = Layers(stores.layers)
        self._image = image
        self._default_policy = default_policy
        self._paths = tuple(paths)

    def run(
        self,
        recipe: Path | str,
        *,
        policy: Policy | str | None = None,
        context: Mapping[str, JsonValue] | None = None,
        only: Sequence[str] = (),
        skip: Sequence[str] = (),
        paths: Sequence[Path] = (),
        watcher: Watcher | None = None,
        cancel: threading.Event | None = None,
    ) -> Result:
        """
        Run a recipe: a file, or a folder with ``recipe.yaml``.

        ``context`` holds values for this run only, over those of the shared context. Returns when the run has ended,
        however it ended: a recipe's failure is a result. Raises IsolationError for ours, before anything runs where
        that is possible.
        """
        watch = Stopwatch(self.clock)
        rules = policy if isinstance(policy, Policy) else load_policy(policy or self._default_policy)
        with watch.phase("pack"):
            loaded = load_recipe(Path(recipe))
            chosen = select(loaded.recipe, only, skip)
            _check_inputs(context or {}, chosen, rules)
            image_id = self._check(rules)
            package = pack(
                loaded, recipe=chosen, paths=[*paths, *self._paths], blobs=self.stores.blobs, layers=self.layers
            )
        wanted = Order(package=package, policy=rules, image_id=image_id, inputs=context or {})
        return self._execute(wanted, watch, watcher, cancel or threading.Event())

    def rerun(
        self,
        run: str,
        *,
        fresh_context: bool = False,
        watcher: Watcher | None = None,
        cancel: threading.Event | None = None,
    ) -> Result:
        """
        Run a recorded run again: same package, policy, image and snapshot, all from the record.

        ``fresh_context`` takes today's context instead of the recorded snapshot.
        """
        watch = Stopwatch(self.clock)
        digests = self.stores.ledger.summary(run).digests
        with watch.phase("pack"):
            policy = Policy.read(self.stores.blobs.get(digests.policy))
            package = read_manifest(self.stores.blobs.get(digests.package))
            snapshot = None if fresh_context else Snapshot.read(self.stores.blobs.get(digests.snapshot))
            self._check(policy)
        wanted = Order(package=package, policy=policy, image_id=digests.image, inputs={}, snapshot=snapshot)
        return self._execute(wanted, watch, watcher, cancel or threading.Event())

    def close(self) -> None:
        """Close the stores."""
        self.stores.close()

    def __enter__(self) -> Controller:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check(self, policy: Policy) -> str:
        self.cells.check(policy)
        return self.engine.image_id(self._image)

    def _execute(
        self, wanted: Order, watch: Stopwatch, watcher: Watcher | None, cancel: threading.Event
    ) -> Result:
        """Give the order an id, and take it through its attempts to a recorded end."""
        run = _Run(self, wanted, watch, watcher.on_event if watcher else _ignore, cancel)
        try:
            return run.to_its_end()
        except BaseException as error:
            run.abandon(f"error:{type(error).__name__}")
            raise


class _Run:
    """One run from its order to its result."""

    def __init__(
        self,
        controller: Controller,
        wanted: Order,
        watch: Stopwatch,
        tell: Callable[[Event], None],
        cancel: threading.Event,
    ) -> None:
        self._controller = controller
        self._stores = controller.stores
        self._clock = controller.clock
        self._wanted = wanted
        self._recipe = wanted.package.recipe
        self._steps = order(self._recipe.steps)
        self._watch = watch
        self._tell = tell
        self._cancel = cancel
        self._interrupted = False
        self._recorded = False
        self.run_id = f"{self._clock.now():%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"

    def to_its_end(self) -> Result:
        """Freeze, attempt until there is nothing more to try, merge and record."""
        names = tuple(step.name for step in self._steps)
        self._tell(RunStarted(run_id=self.run_id, recipe=self._recipe.name, steps=names))
        with self._watch.phase("pack"):
            tree = materialise(self._wanted.package, self._stores.packages, self._stores.blobs)
            layer = self._controller.layers.build(self._wanted.package.lock) if self._wanted.package.lock else None
        snapshot, digests = self._freeze(self._wanted.snapshot)
        self._record_start(digests)
        attempts: list[Attempt] = []
        while True:
            attempt, evidence = self._attempt(len(attempts) + 1, tree, layer, snapshot)
            result, delay_s = self._settle(attempt, evidence, attempts, snapshot, digests)
            if result is not None:
                break
            self._wait(attempts[-1], delay_s)
            if attempts[-1].outcome is Outcome.CONFLICT:
                snapshot, digests = self._freeze(None)
            self._watch = Stopwatch(self._clock)
        if self._interrupted:
            hint = f"Its container is gone and nothing was merged; `isolation show {self.run_id}` shows how far it came."
            raise InterruptedRunError(f"the run {self.run_id} was interrupted", hint=hint)
        return result

    def abandon(self, cause: str) -> None:
        """Record that nobody goes on with this run, if it is recorded that it began and not that it ended."""
        if self._recorded:
            self._stores.ledger.abandon(self.run_id, timestamp(self._clock.now()), cause)

    def _record_start(self, digests: Digests) -> None:
        at = timestamp(self._clock.now())
        self._stores.ledger.start(self.run_id, self._recipe.name, self._wanted.policy.name, digests, at)
        self._recorded = True

    def _freeze(self, recorded: Snapshot | None) -> tuple[Snapshot, Digests]:
        with self._watch.phase("freeze"):
            policy = self._wanted.policy
            snapshot = recorded or self._stores.contexts.freeze(
                self._recipe.context.reads, policy.context.reads, self._wanted.inputs
            )
            digests = Digests(
                package=self._stores.blobs.put(self._wanted.package.manifest()),
                snapshot=self._stores.blobs.put(snapshot.content()),
                policy=self._stores.blobs.put(policy.content()),
                image=self._wanted.image_id,
            )
        return snapshot, digests

    def _attempt(
        self, number: int, tree: Path, layer: Path | None, snapshot: Snapshot
    ) -> tuple[Attempt, Evidence]:
        """Have one container run the plan; whatever became of it, it is gone when this returns."""
        self._watch.on_phase = lambda phase: self._tell(PhaseStarted(phase=phase, attempt=number))
        started_at = timestamp(self._clock.now())
        name = cell_name(self.run_id, number)
        most_bytes = self._wanted.policy.limits.log_bytes
        with (
            self._stores.logs.open(self.run_id, number, self._clock, most_bytes, self._tell) as logs,
            self._stores.slots.holding(name, snapshot.content()) as slot,
        ):
            evidence, usage = self._in_a_cell(name, number, Mounts(package=tree, snapshot=slot, layer=layer), logs)
        outcome, cause = judge(evidence)
        attempt = Attempt(
            number=number,
            outcome=outcome,
            cause=cause,
            started_at=started_at,
            phases_ms=dict(self._watch.phases_ms),
            usage=usage,
            steps=evidence.steps,
            exit_code=evidence.exit_code,
            log_bytes=logs.kept_bytes,
            log_truncated=logs.truncated,
        )
        return attempt, evidence

    def _in_a_cell(self, name: str, number: int, mounts: Mounts, logs: LogWriter) -> tuple[Evidence, Usage]:
        watch, controller = self._watch, self._controller
        try:
            cell = controller.cells.claim(
                name,
                self._wanted.policy,
                image_id=self._wanted.image_id,
                mounts=mounts,
                labels=cell_labels(self.run_id, number, self._stores.name),
                watch=watch,
            )
        except EngineUnreachableError as error:
            return Evidence(lost=str(error)), Usage()
        try:
            listener = self._listener(cell, logs)
            with watch.phase("deliver"):
                listener.deliver(plan_document(self._recipe, self._steps, self._wanted.policy))
            with watch.phase("run"):
                self._listen(listener)
            with watch.phase("collect"):
                listener.finish(controller.engine)
            usage = listener.usage()
            evidence = listener.evidence(usage)
        finally:
            lost = self._destroy(cell)
        return (replace(evidence, lost=evidence.lost or lost)), usage

    def _destroy(self, cell: Cell) -> str:
        """Take the cell back; returns why that could not be, in which case nothing may be merged."""
        with self._watch.phase("remove"):
            try:
                cell.destroy()
            except EngineError as error:
                return str(error)
        return ""

    def _listen(self, listener: Listener) -> None:
        try:
            listener.listen()
        except KeyboardInterrupt:
            self._interrupted = True
            self._cancel.set()
            listener.listen()  # it sees the cancel and stops at once

    def _listener(self, cell: Cell, logs: LogWriter) -> Listener:
        policy = self._wanted.policy
        limits = policy.limits
        artifacts = ArtifactIntake(
            self._stores.blobs, most_files=limits.artifact_count, most_bytes=limits.artifact_bytes
        )
        transcript = Transcript(
            [step.name for step in self._steps],
            write_scope(self._recipe, policy),
            clock=self._clock,
            logs=logs,
            artifacts=artifacts,
            tell=self._tell,
            check_key=check_key,
        )
        return Listener(
            cell,
            transcript,
            artifacts,
            limits=limits,
            deadlines=deadlines(self._recipe, self._steps, policy),
            clock=self._clock,
            tell=self._tell,
            cancel=self._cancel,
        )

    def _settle(
        self,
        attempt: Attempt,
        evidence: Evidence,
        attempts: list[Attempt],
        snapshot: Snapshot,
        digests: Digests,
    ) -> tuple[Result | None, float]:
        """
        Merge and record in one transaction, or return no result and the seconds until the next attempt.

        What the bill says of the merge ends where its commit begins: the commit writes the bill.
        """
        policy, at = self._wanted.policy, timestamp(self._clock.now())
        with self._stores.ledger.settling(self.run_id) as settling:
            merge = Merge()
            if attempt.outcome is Outcome.SUCCEEDED:
                with self._watch.phase("merge"):
                    merge = self._stores.contexts.merge(
                        settling.connection,
                        snapshot,
                        evidence.changes,
                        policy.merge,
                        who=self._recipe.name,
                        run_id=self.run_id,
                        at=at,
                    )
                attempt = replace(attempt, phases_ms=dict(self._watch.phases_ms))
                if merge.status == "conflict":
                    attempt = replace(attempt, outcome=Outcome.CONFLICT, cause="merge")
            attempts.append(attempt)
            rule = rule_for(attempt.outcome, policy, self._recipe)
            delay_s = next_delay(rule, [past.outcome for past in attempts])
            if delay_s is not None and not self._cancel.is_set():
                settling.go_on(attempt)
                return None, delay_s
            result = self._result(attempts, evidence, merge, digests)
            settling.finish(result, at)
        self._recorded = False
        return result, 0.0

    def _result(self, attempts: list[Attempt], evidence: Evidence, merge: Merge, digests: Digests) -> Result:
        facts = self._controller.engine.facts()
        return Result(
            run_id=self.run_id,
            recipe=self._recipe.name,
            outcome=attempts[-1].outcome,
            attempts=tuple(attempts),
            usage=attempts[-1].usage,
            changes=evidence.changes,
            merge=merge,
            errors=_errors(evidence),
            artifacts=evidence.artifacts,
            digests=digests,
            engine=Engine(
                name=facts.name,
                version=facts.version,
                runtime=self._wanted.policy.runtime,
                cgroup_version=facts.cgroup_version,
            ),
        )

    def _wait(self, last: Attempt, delay_s: float) -> None:
        self._tell(
            Retrying(attempt=last.number, outcome=last.outcome.value, cause=last.cause, wait_s=round(delay_s, 3))
        )
        self._cancel.wait(delay_s)


def _ignore(_: Event) -> None:
    return


def _check_inputs(inputs: Mapping[str, JsonValue], recipe: Recipe, policy: Policy) -> None:
    for key, value in inputs.items():
        check_value(check_key(key), value)
        if not allows(key, recipe.context.reads, policy.context.reads):
            raise ContextError(
                f"the recipe {recipe.name!r} may not read {key!r}, so setting it for this run would change nothing",
                hint="It reads: " + (", ".join(recipe.context.reads or policy.context.reads) or "nothing") + ".",
            )


def _errors(evidence: Evidence) -> tuple[StepError, ...]:
    found = [step.error for step in evidence.steps if step.error is not None]
    ours = (("Lost", evidence.lost), ("BadAnswer", evidence.answer_problem), ("Runner", evidence.diagnostics.strip()))
    return (*found, *(StepError(step="", type=kind, message=said) for kind, said in ours if said))
