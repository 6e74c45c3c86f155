"""
The whole way of the data, in order, in one place.

    recipe ─load─▶ ─pack─▶ package        policy ─check─▶        context ─freeze─▶ snapshot
      ─claim─▶ cell ─deliver─▶ listen ─collect─▶ evidence ─judge─▶ outcome ─retry?─▶ … ─merge and record─▶ result
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Self

from isolation.attempt import Attempting, Laid
from isolation.clock import timestamp
from isolation.context.value import check_entry
from isolation.errors import ContextError, InterruptedRunError
from isolation.model.changes import Merge
from isolation.model.event import Retrying, RunStarted
from isolation.model.outcome import Outcome
from isolation.model.policy import Policy
from isolation.model.run import Digests, Engine, Result, StepError
from isolation.model.snapshot import Snapshot
from isolation.packaging.load import load_recipe
from isolation.packaging.pack import pack
from isolation.packaging.policy import load_policy
from isolation.packaging.requirements import Layers
from isolation.packaging.tree import materialise, read_manifest
from isolation.rules.entitlement import secrets_of
from isolation.rules.order import order, select
from isolation.rules.redaction import Redaction
from isolation.rules.retry import escalated, is_wanted, next_delay, rule_for, widest
from isolation.rules.scope import allows
from isolation.stopwatch import Stopwatch
from isolation.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pydantic import JsonValue

    from isolation.clock import Clock
    from isolation.model.changes import Changes
    from isolation.model.event import Event, Watcher
    from isolation.model.evidence import Evidence
    from isolation.model.package import Package
    from isolation.model.recipe import Recipe
    from isolation.model.run import Attempt
    from isolation.model.secret import Secret
    from isolation.sandbox.cells import Cells
    from isolation.sandbox.engine import Engine as ContainerEngine
    from isolation.storage.ledger import Settling
    from isolation.stores import Stores


@dataclass(frozen=True, kw_only=True)
class Order:
    """Everything that a run is made of, before it has an id; from a recipe's folder or from the record."""

    package: Package
    policy: Policy
    image_id: str
    inputs: Mapping[str, JsonValue]
    secrets: Mapping[str, Secret]
    snapshot: Snapshot | None = None
    """None: take a fresh one."""
    replay_of: str = ""
    """The run that is repeated without a merge; empty for a run of its own."""


class Controller:
    """
    Runs recipes on one engine, with one state folder. Safe to use from several threads.

    ``default_policy`` is a name or a file; ``image`` is the runner image's name on the engine. ``vault`` has the values
    of the secrets that recipes may ask for; without one there are none.
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
        vault: Vault | None = None,
    ) -> None:
        self.stores = stores
        self.engine = engine
        self.cells = cells
        self.clock = clock
        self.layers = Layers(stores.layers)
        self._image = image
        self._default_policy = default_policy
        self._paths = tuple(paths)
        self._vault = vault or Vault()

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
            secrets = self._vault.take(secrets_of(chosen, rules))
            image_id = self._check(rules)
            package = pack(
                loaded, recipe=chosen, paths=[*paths, *self._paths], blobs=self.stores.blobs, layers=self.layers
            )
        wanted = Order(package=package, policy=rules, image_id=image_id, inputs=context or {}, secrets=secrets)
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

        ``fresh_context`` takes today's context instead of the recorded snapshot, but for the values that were given
        for that run only.
        """
        watch = Stopwatch(self.clock)
        with watch.phase("pack"):
            wanted = self._recorded(run)
        if fresh_context:
            wanted = replace(wanted, snapshot=None)
        return self._execute(wanted, watch, watcher, cancel or threading.Event())

    def replay(self, run: str, *, watcher: Watcher | None = None, cancel: threading.Event | None = None) -> Result:
        """
        Run a finished run again from the record, and merge nothing: for ``rules.compare``.

        Raises InputError where the run has no result to be compared with.
        """
        watch = Stopwatch(self.clock)
        with watch.phase("pack"):
            wanted = replace(self._recorded(run), replay_of=self.stores.ledger.get(run).run_id)
        return self._execute(wanted, watch, watcher, cancel or threading.Event())

    def _recorded(self, run: str) -> Order:
        digests = self.stores.ledger.summary(run).digests
        policy = Policy.read(self.stores.blobs.get(digests.policy))
        package = read_manifest(self.stores.blobs.get(digests.package))
        snapshot = Snapshot.read(self.stores.blobs.get(digests.snapshot))
        secrets = self._vault.take(secrets_of(package.recipe, policy))  # no record has them
        self._check(policy)
        return Order(
            package=package,
            policy=policy,
            image_id=digests.image,
            inputs=snapshot.given(),
            secrets=secrets,
            snapshot=snapshot,
        )

    def close(self) -> None:
        """Take back what could not be before, and close the stores."""
        self.cells.take_back_what_is_left()
        self.stores.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check(self, policy: Policy) -> str:
        self.cells.check(widest(policy))
        return self.engine.image_id(self._image)

    def _execute(self, wanted: Order, watch: Stopwatch, watcher: Watcher | None, cancel: threading.Event) -> Result:
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
        self._watch = watch
        self._tell = tell
        self._cancel = cancel
        self._snapshot = wanted.snapshot
        self._digests: Digests | None = None
        self._recorded = False
        self.run_id = f"{self._clock.now():%Y%m%d-%H%M%S}-{token_hex(4)}"
        with watch.phase("pack"):
            self._laid = self._lay_out()

    def _lay_out(self) -> Laid:
        package, policy = self._wanted.package, self._wanted.policy
        return Laid(
            run_id=self.run_id,
            recipe=package.recipe,
            steps=order(package.recipe.steps),
            policy=policy,
            image_id=self._wanted.image_id,
            tree=materialise(package, self._stores.packages, self._stores.blobs),
            layer=self._controller.layers.build(package.lock) if package.lock else None,
            secrets=self._wanted.secrets,
            redaction=Redaction(self._wanted.secrets.values()),
        )

    def to_its_end(self) -> Result:
        """Attempt until there is nothing more to try, merge and record."""
        names = tuple(step.name for step in self._laid.steps)
        self._tell(RunStarted(run_id=self.run_id, recipe=self._laid.recipe.name, steps=names))
        attempts: list[Attempt] = []
        while True:
            attempting = self._attempting(attempts)
            attempt, evidence = attempting.make(self._prepare)
            result, delay_s = self._settle(attempt, evidence, attempts)
            if result is not None:
                break
            self._wait(attempts[-1], delay_s)
            self._watch = Stopwatch(self._clock)
        if attempting.interrupted and not result.succeeded:  # an end that came first stands, and is merged
            hint = f"Its container is gone, nothing was merged; `isolation show {self.run_id}` shows how far it came."
            raise InterruptedRunError(f"the run {self.run_id} was interrupted", hint=hint)
        return result

    def abandon(self, cause: str) -> None:
        """Record that nobody goes on with this run, if it is recorded that it began and not that it ended."""
        if self._recorded:
            self._stores.ledger.abandon(self.run_id, timestamp(self._clock.now()), cause)

    def _attempting(self, past: Sequence[Attempt]) -> Attempting:
        controller = self._controller
        policy = escalated(self._laid.policy, (attempt.outcome for attempt in past))
        return Attempting(
            replace(self._laid, policy=policy),
            len(past) + 1,
            stores=self._stores,
            cells=controller.cells,
            engine=controller.engine,
            clock=self._clock,
            watch=self._watch,
            tell=self._tell,
            cancel=self._cancel,
        )

    def _prepare(self) -> Snapshot:
        """Have a snapshot, and the run recorded as begun; after a conflict, a fresh one."""
        with self._watch.phase("freeze"):
            if self._snapshot is None:
                self._snapshot = self._stores.contexts.freeze(
                    self._laid.recipe.context.reads, self._laid.policy.context.reads, self._wanted.inputs
                )
            blobs = self._stores.blobs
            self._digests = Digests(
                package=blobs.put(self._wanted.package.manifest()),
                snapshot=blobs.put(self._snapshot.content()),
                policy=blobs.put(self._laid.policy.content()),
                image=self._laid.image_id,
            )
            if not self._recorded:
                at = timestamp(self._clock.now())
                ledger, recipe, policy = self._stores.ledger, self._laid.recipe.name, self._laid.policy.name
                ledger.start(self.run_id, recipe, policy, self._digests, at)
                self._recorded = True
        return self._snapshot

    def _settle(self, attempt: Attempt, evidence: Evidence, attempts: list[Attempt]) -> tuple[Result | None, float]:
        """
        Merge and record in one transaction, or return no result and the seconds until the next attempt.

        What the bill says of the merge ends where its commit begins: the commit writes the bill.
        """
        at = timestamp(self._clock.now())
        with self._stores.ledger.settling(self.run_id) as settling:
            merge = Merge()
            if attempt.outcome is Outcome.SUCCEEDED and not self._wanted.replay_of:
                with self._watch.phase("merge"):
                    merge = self._merge(settling, evidence.changes, at)
                attempt = replace(attempt, phases_ms=dict(self._watch.phases_ms))
            if merge.status == "conflict":
                attempt = replace(attempt, outcome=Outcome.CONFLICT, cause="merge")
                self._snapshot = None
            attempts.append(attempt)
            rule = rule_for(attempt.outcome, self._laid.policy, self._laid.recipe, rerun=merge.rerun)
            delay_s = next_delay(rule, [past.outcome for past in attempts])
            again = is_wanted(rule, [step.error.type for step in attempt.steps if step.error is not None])
            if delay_s is not None and again and not self._cancel.is_set():
                settling.go_on(attempt)
                return None, delay_s
            result = self._result(attempts, evidence, merge)
            settling.finish(result, at)
        self._recorded = False
        return result, 0.0

    def _merge(self, settling: Settling, changes: Changes, at: str) -> Merge:
        assert self._snapshot is not None, "an attempt without a snapshot"  # noqa: S101 - prepare() came first
        return self._stores.contexts.merge(
            settling.connection,
            self._snapshot,
            changes,
            self._laid.policy.merge,
            who=self._laid.recipe.name,
            run_id=self.run_id,
            at=at,
        )

    def _result(self, attempts: list[Attempt], evidence: Evidence, merge: Merge) -> Result:
        assert self._digests is not None, "an attempt without digests"  # noqa: S101 - prepare() came first
        facts = self._controller.engine.facts()
        return Result(
            run_id=self.run_id,
            recipe=self._laid.recipe.name,
            outcome=attempts[-1].outcome,
            attempts=tuple(attempts),
            usage=attempts[-1].usage,
            changes=evidence.changes,
            merge=merge,
            errors=_errors(evidence),
            artifacts=evidence.artifacts,
            digests=self._digests,
            engine=Engine(
                name=facts.name,
                version=facts.version,
                runtime=self._laid.policy.runtime,
                cgroup_version=facts.cgroup_version,
            ),
            replay_of=self._wanted.replay_of,
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
        check_entry(key, value)
        if not allows(key, recipe.context.reads, policy.context.reads):
            raise ContextError(
                f"the recipe {recipe.name!r} may not read {key!r}, so setting it for this run would change nothing",
                hint="It reads: " + (", ".join(recipe.context.reads or policy.context.reads) or "nothing") + ".",
            )


def _errors(evidence: Evidence) -> tuple[StepError, ...]:
    found = [step.error for step in evidence.steps if step.error is not None]
    ours = (
        ("Lost", evidence.lost),
        ("Refused", evidence.refused),
        ("BadAnswer", evidence.answer_problem),
        ("Runner", evidence.diagnostics.strip()),
    )
    return (*found, *(StepError(step="", type=kind, message=said) for kind, said in ours if said))
