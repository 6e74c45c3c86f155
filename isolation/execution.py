"""
One run from its order to its result: attempts, and after each the decision what follows.

    attempt ─▶ judged ─▶ merged and recorded, in one transaction ─▶ result
        ▲                   └─▶ worth another try: waits here, or in the queue
        └───────────────────────────┘
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from isolation.attempt import Attempting, Laid
from isolation.clock import timestamp
from isolation.context.freezing import apart
from isolation.errors import DatabaseLostError, EngineError, InterruptedRunError
from isolation.model.changes import Merge
from isolation.model.event import Retrying, RunStarted
from isolation.model.outcome import Outcome
from isolation.model.run import Attempt, Result, StepError
from isolation.packaging.requirements import Layers
from isolation.packaging.tree import materialise
from isolation.rules.observe import observe
from isolation.rules.order import order
from isolation.rules.redaction import Redaction
from isolation.rules.retry import escalated, is_wanted, next_delay, rule_for
from isolation.stopwatch import Stopwatch

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping, Sequence

    from isolation.clock import Clock
    from isolation.keeper import Keeper
    from isolation.model.event import Event
    from isolation.model.evidence import Evidence
    from isolation.model.key import Key
    from isolation.model.run import Digests, Engine
    from isolation.model.secret import Secret
    from isolation.model.snapshot import Base, Snapshot
    from isolation.model.step_result import StepResult
    from isolation.order import Order
    from isolation.sandbox.cells import Cells
    from isolation.sandbox.engine import Engine as ContainerEngine
    from isolation.storage.moves import Settling
    from isolation.stores import Stores

T = TypeVar("T")

_DATABASE_BACK_S = 30.0
_MOST_RECALLED_BYTES = 4 * 2**20
_MEMORY_FOR_RECALLED = 1 / 32
"""How much of its memory a cell may be sent in results of earlier runs: it reads them all before its first step."""


@dataclass(frozen=True, kw_only=True)
class Means:
    """What a run is carried out with. ``stores`` are those of its namespace."""

    stores: Stores
    engine: ContainerEngine
    cells: Cells
    clock: Clock
    keeper: Keeper


@dataclass
class Taken:
    """
    A run as whoever carries it out holds it: by its epoch.

    ``epoch`` 0: it is not recorded yet, and will be with its ``key``, if it has one. ``queued``: it came from the
    queue, where it waits for its next attempt.
    ``released``: its attempt is stopped for our sake, not for its own, and another may make it again.
    """

    run_id: str
    _: KW_ONLY
    epoch: int = 0
    key: Key | None = None
    queued: bool = False
    attempts: list[Attempt] = field(default_factory=list)
    cancel: threading.Event
    released: threading.Event | None = None


@dataclass(frozen=True, kw_only=True)
class Hindrance:
    """Why a run never came to a cell of ours: it is refused, or ``times`` attempts died with whoever made them."""

    outcome: Outcome
    cause: str
    evidence: Evidence
    times: int = 1


class Execution:
    """Carries out one run."""

    def __init__(
        self,
        means: Means,
        wanted: Order,
        taken: Taken,
        *,
        secrets: Mapping[str, Secret],
        watch: Stopwatch,
        tell: Callable[[Event], None],
    ) -> None:
        self._means = means
        self._stores = means.stores
        self._clock = means.clock
        self._wanted = wanted
        self._taken = taken
        self._watch = watch
        self._tell = tell
        self._secrets = secrets
        self._snapshot = wanted.snapshot
        self._digests: Digests | None = None

    @cached_property
    def _laid(self) -> Laid:
        with self._watch.phase("pack"):
            return self._lay_out()

    def _lay_out(self) -> Laid:
        package, policy = self._wanted.package, self._wanted.policy
        return Laid(
            run_id=self._taken.run_id,
            recipe=package.recipe,
            steps=order(package.recipe.steps),
            policy=policy,
            image_id=self._wanted.image_id,
            tree=materialise(package, self._stores.packages, self._stores.blobs),
            layer=Layers(self._stores.layers).build(package.lock) if package.lock else None,
            secrets=self._secrets,
            redaction=Redaction(self._secrets.values()),
        )

    def to_its_end(self) -> Result:
        """Attempt until there is nothing more to try; waits between attempts. Raises InterruptedRunError."""
        self._announce()
        while True:
            ended = self._attempt()
            if isinstance(ended, Result):
                return ended
            self._taken.cancel.wait(ended)
            self._watch = Stopwatch(self._clock)

    def attempt(self) -> Result | float:
        """Make one attempt and settle it; returns the result, or the seconds until another."""
        self._announce()
        return self._attempt()

    def _announce(self) -> None:
        names = tuple(step.name for step in self._laid.steps)
        self._tell(RunStarted(run_id=self._taken.run_id, recipe=self._laid.recipe.name, steps=names))

    def _attempt(self) -> Result | float:
        run_id, number = self._taken.run_id, len(self._taken.attempts) + 1
        names, progress = [step.name for step in self._laid.steps], self._stores.progress
        began_s = self._watch.began_s
        with progress.telling(run_id, number, names, self._tell, clock=self._clock, began_s=began_s) as tell:
            attempting = self._attempting(tell)
            attempt, evidence = attempting.make(self._prepare)
            ended = self._settled([attempt], evidence)
        if not isinstance(ended, Result):
            last = self._taken.attempts[-1]
            outcome, wait_s = last.outcome.value, round(ended, 3)
            self._tell(Retrying(attempt=last.number, outcome=outcome, cause=last.cause, wait_s=wait_s))
        elif attempting.interrupted and not ended.succeeded:  # an end that came first stands, and is merged
            hint = f"Its container is gone, nothing was merged; `isolation show {run_id}` shows how far it came."
            raise InterruptedRunError(f"the run {run_id} was interrupted", hint=hint)
        return ended

    def _attempting(self, tell: Callable[[Event], None]) -> Attempting:
        policy = escalated(self._laid.policy, (attempt.outcome for attempt in self._taken.attempts))
        return Attempting(
            replace(self._laid, policy=policy, kept=self._recall()),
            len(self._taken.attempts) + 1,
            stores=self._stores,
            cells=self._means.cells,
            engine=self._means.engine,
            clock=self._clock,
            watch=self._watch,
            tell=tell,
            cancel=self._taken.cancel,
            base=self._choose_base(),
        )

    @cached_property
    def _keys(self) -> Mapping[str, str]:
        return self._wanted.result_keys()

    def _recall(self) -> Mapping[str, Sequence[StepResult]]:
        if self._wanted.runs_all or not self._keys:
            return {}
        room_bytes = int(self._wanted.policy.limits.memory_bytes * _MEMORY_FOR_RECALLED)
        return _patiently(lambda: self._stores.results.recall(self._keys, min(room_bytes, _MOST_RECALLED_BYTES)))

    def _choose_base(self) -> Base | None:
        """Return what the snapshot stands on, which is taken where there is none yet, or after a conflict."""
        if self._snapshot is None:
            with self._watch.phase("freeze"):
                self._snapshot = self._freeze()
        return self._snapshot.base

    def _prepare(self) -> Snapshot:
        """Have the run recorded as begun, and its snapshot with it."""
        assert self._snapshot is not None, "an attempt without a snapshot"  # noqa: S101 - _choose_base() came first
        with self._watch.phase("freeze"):
            wanted = replace(self._wanted, snapshot=self._snapshot)
            before, (digests, inputs_digest) = self._digests, wanted.record(self._stores)
            self._digests = digests
            if self._taken.epoch == 0:
                self._taken.epoch = self._stores.ledger.start(
                    self._taken.run_id,
                    self._laid.recipe.name,
                    self._laid.policy.name,
                    digests,
                    timestamp(self._clock.now()),
                    inputs_digest=inputs_digest,
                    key=self._taken.key,
                    replay_of=wanted.replay_of,
                )
            elif self._taken.queued and before is None:
                _patiently(lambda: self._stores.ledger.begin(self._taken.run_id, self._taken.epoch, digests))
        return self._snapshot

    def _freeze(self) -> Snapshot:
        declared, allowed = self._laid.recipe.context.reads, self._laid.policy.context.reads
        inputs, take = self._wanted.inputs, self._stores.contexts.take
        if self._wanted.apart:
            return apart(declared, allowed, inputs)
        return _patiently(lambda: take(declared, allowed, inputs))

    def end_without_a_cell(self, hindrance: Hindrance) -> Result | float:
        """Settle what never came to a cell of ours; returns as ``attempt`` does."""
        first = len(self._taken.attempts) + 1
        at = timestamp(self._clock.now())
        made = [
            Attempt(number=number, outcome=hindrance.outcome, cause=hindrance.cause, started_at=at)
            for number in range(first, first + hindrance.times)
        ]
        return self._settled(made, hindrance.evidence)

    def _settled(self, made: Sequence[Attempt], evidence: Evidence) -> Result | float:
        """
        Settle, and again where the database went away meanwhile: nobody can say then whether it has kept it.

        If it has, that is found recorded, and is the answer.
        """
        return _patiently(lambda: self._settle(made, evidence), lambda: self._settle_again(made, evidence))

    def _settle_again(self, made: Sequence[Attempt], evidence: Evidence) -> Result | float:
        ledger, taken = self._stores.ledger, self._taken
        kept = ledger.attempts(taken.run_id)
        ours = kept[made[-1].number - 1 : made[-1].number]
        if not ours or ours[0].started_at != made[-1].started_at:  # then it is another's, and we are fenced
            return self._settle(made, evidence)
        taken.attempts = [*kept]
        if ours[0].outcome is Outcome.CONFLICT:
            self._snapshot = None
        finished = ledger.summary(taken.run_id).state == "finished"
        return ledger.get(taken.run_id) if finished else 0.0

    def _settle(self, made: Sequence[Attempt], evidence: Evidence) -> Result | float:
        """
        Merge and record in one transaction; returns the result, or the seconds until the next attempt.

        What the bill says of the merge begins with the wait for other writers, and ends where its commit begins: the
        commit writes the bill.
        """
        taken, now = self._taken, self._clock.now()
        at = timestamp(now)
        asked_s = self._clock.monotonic_s()
        ended: Result | float
        with self._stores.ledger.settling(taken.run_id, taken.epoch) as settling:
            for attempt in made[:-1]:
                settling.keep(attempt)
            attempt, merge = self._merged(settling, made[-1], evidence, at, asked_s)
            attempts = [*taken.attempts, *made[:-1], attempt]
            delay_s = self._delay(settling, attempts, merge)
            if delay_s is None:
                ended = self._result(attempts, evidence, merge)
                settling.finish(ended, at)
            else:
                ended = delay_s
                due_at = timestamp(now + timedelta(seconds=delay_s))
                if taken.queued:
                    settling.park(attempt, at, due_at, afresh=merge.status == "conflict")
                else:
                    settling.go_on(attempt, at, due_at)
        taken.attempts = attempts
        if merge.status == "conflict":
            self._snapshot = None
        return ended

    def _merged(
        self, settling: Settling, attempt: Attempt, evidence: Evidence, at: str, asked_s: float
    ) -> tuple[Attempt, Merge]:
        if attempt.outcome is not Outcome.SUCCEEDED:
            return attempt, Merge()
        if settling.cancelled:
            return replace(attempt, outcome=Outcome.CANCELLED, cause="cancelled"), Merge()
        if not self._wanted.keeps:
            return attempt, Merge()
        assert self._snapshot is not None, "an attempt without a snapshot"  # noqa: S101 - prepare() came first
        with self._watch.phase("merge", asked_s):
            merge = self._stores.contexts.merge(
                settling.connection,
                self._snapshot,
                evidence.changes,
                self._wanted.policy.merge,
                reads=evidence.reads,
                who=self._wanted.package.recipe.name,
                run_id=self._taken.run_id,
                at=at,
            )
            if self._keys and merge.status != "conflict":
                made = [(self._keys[result.step], result) for result in evidence.results]
                self._stores.results.keep(settling.connection, made, self._taken.run_id, at)
        watch = self._watch
        attempt = replace(attempt, phases_ms=dict(watch.phases_ms), phases_at_ms=dict(watch.phases_at_ms))
        if merge.status == "conflict":
            attempt = replace(attempt, outcome=Outcome.CONFLICT, cause="merge")
        return attempt, merge

    def _delay(self, settling: Settling, attempts: Sequence[Attempt], merge: Merge) -> float | None:
        """Return the seconds until another attempt, or None if none follows."""
        taken, last = self._taken, attempts[-1]
        if settling.cancelled:
            return None
        released = taken.released is not None and taken.released.is_set()
        if released and last.outcome is Outcome.CANCELLED:
            return 0.0
        if taken.cancel.is_set() and not released:
            return None
        rule = rule_for(last.outcome, self._wanted.policy, self._wanted.package.recipe, rerun=merge.rerun)
        if not is_wanted(rule, [step.error.type for step in last.steps if step.error is not None]):
            return None
        return next_delay(rule, [attempt.outcome for attempt in attempts])

    def _result(self, attempts: Sequence[Attempt], evidence: Evidence, merge: Merge) -> Result:
        return Result(
            run_id=self._taken.run_id,
            recipe=self._wanted.package.recipe.name,
            outcome=attempts[-1].outcome,
            attempts=tuple(attempts),
            usage=attempts[-1].usage,
            changes=evidence.changes,
            merge=merge,
            errors=_errors(evidence),
            artifacts=evidence.artifacts,
            digests=self._digests or self._wanted.record(self._stores)[0],
            engine=self._engine(),
            context=observe(self._wanted.package.recipe.context, self._wanted.policy.context.reads, attempts[-1].steps),
            replay_of=self._wanted.replay_of,
        )

    def _engine(self) -> Engine | None:
        try:
            return self._means.cells.whereabouts(self._wanted.policy.runtime)
        except EngineError:  # it never answered, which the attempts say
            return None


def _patiently(ask: Callable[[], T], again: Callable[[], T] | None = None) -> T:
    """Ask the database, and ``again`` where it went away meanwhile, until it is back, and not for ever."""
    try:
        return ask()
    except DatabaseLostError:
        import tenacity  # noqa: PLC0415 - slow to import, rarely needed

        tries = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(DatabaseLostError),
            stop=tenacity.stop_after_delay(_DATABASE_BACK_S),
            wait=tenacity.wait_exponential(multiplier=0.1, max=2),
            reraise=True,
        )
        return tries(again or ask)


def _errors(evidence: Evidence) -> tuple[StepError, ...]:
    found = [step.error for step in evidence.steps if step.error is not None]
    ours = (
        ("Lost", evidence.lost),
        ("Refused", evidence.refused),
        ("BadAnswer", evidence.answer_problem),
        ("Runner", evidence.diagnostics.strip()),
    )
    return (*found, *(StepError(step="", type=kind, message=said) for kind, said in ours if said))
