"""
One attempt: a cell is claimed, attested, takes the plan, is listened to, and is gone again, whatever became of it.

    claim ─▶ attest ──┐
                      ├─▶ deliver ─▶ run ─▶ collect ─▶ remove ─▶ evidence, judged
    prepare (record) ─┘     └─▶ not confined as asked: refused, nothing is delivered
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from isolation.clock import timestamp
from isolation.context.value import check_entry
from isolation.errors import EngineUnreachableError
from isolation.later import Later
from isolation.model.event import PhaseStarted
from isolation.model.evidence import Evidence
from isolation.model.run import Attempt
from isolation.model.traffic import Traffic
from isolation.model.usage import Usage
from isolation.rules.judge import judge
from isolation.sandbox.artifacts import ArtifactIntake
from isolation.sandbox.cell import cell_labels, cell_name
from isolation.sandbox.egress.discretion import hide
from isolation.sandbox.listener import Listener
from isolation.sandbox.plan import deadlines, plan_document, read_scope, secrets_payload, write_scope
from isolation.sandbox.recall import Recall
from isolation.sandbox.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from concurrent.futures import Executor
    from pathlib import Path

    from isolation.clock import Clock
    from isolation.model.attestation import Attestation
    from isolation.model.event import Event
    from isolation.model.policy import Policy
    from isolation.model.recipe import Recipe, Step
    from isolation.model.secret import Secret
    from isolation.model.snapshot import Base, Snapshot
    from isolation.model.step_result import StepResult
    from isolation.rules.redaction import Redaction
    from isolation.sandbox.cell import Cell
    from isolation.sandbox.cells import Cells
    from isolation.sandbox.engine import Engine
    from isolation.stopwatch import Stopwatch
    from isolation.storage.logs import LogWriter
    from isolation.stores import Stores

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Laid:
    """
    A run laid out to be attempted: what all its attempts share, but for ``kept``, which steps may take.

    ``steps`` are in the order of the run.
    """

    run_id: str
    recipe: Recipe
    steps: tuple[Step, ...]
    policy: Policy
    image_id: str
    tree: Path
    layer: Path | None
    secrets: Mapping[str, Secret]
    redaction: Redaction
    kept: Mapping[str, Sequence[StepResult]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Standing:
    """A cell that was attested, unless its runner never greeted, and who listens to it."""

    cell: Cell
    listener: Listener
    attestation: Attestation | None


class Attempting:
    """
    Makes one attempt. ``interrupted`` tells whether a person stopped it by a signal to this process.

    ``base`` is what the snapshot stands on: the cell is made with it.
    """

    def __init__(
        self,
        laid: Laid,
        number: int,
        *,
        stores: Stores,
        cells: Cells,
        engine: Engine,
        clock: Clock,
        watch: Stopwatch,
        tell: Callable[[Event], None],
        cancel: threading.Event,
        base: Base | None = None,
    ) -> None:
        self._laid = laid
        self._base = base
        self._number = number
        self._stores = stores
        self._cells = cells
        self._engine = engine
        self._clock = clock
        self._watch = watch
        self._tell = tell
        self._cancel = cancel
        self._traffic: Callable[[], Traffic] = Traffic
        self.interrupted = False
        watch.on_phase = lambda phase: tell(PhaseStarted(phase=phase, attempt=number))

    def make(self, prepare: Callable[[], Snapshot]) -> tuple[Attempt, Evidence]:
        """
        Have one container run the plan.

        ``prepare`` gives the snapshot; it is called while the engine makes the container, which takes longer.
        """
        started_at = timestamp(self._clock.now())
        laid, limits = self._laid, self._laid.policy.limits
        with self._stores.logs.open(
            laid.run_id, self._number, self._clock, limits.log_bytes, self._tell, redaction=laid.redaction
        ) as logs:
            evidence, usage, attestation = self._in_a_cell(logs, prepare)
        with self._watch.phase("judge"):
            outcome, cause = judge(evidence)
        attempt = Attempt(
            number=self._number,
            outcome=outcome,
            cause=cause,
            started_at=started_at,
            phases_ms=dict(self._watch.phases_ms),
            phases_at_ms=dict(self._watch.phases_at_ms),
            usage=usage,
            steps=evidence.steps,
            exit_code=evidence.exit_code,
            log_bytes=logs.kept_bytes,
            log_truncated=logs.truncated or evidence.stopped == "limits.log",
            network=hide(self._traffic(), laid.secrets.values()),
            attestation=attestation,
        )
        return attempt, evidence

    def _in_a_cell(
        self, logs: LogWriter, prepare: Callable[[], Snapshot]
    ) -> tuple[Evidence, Usage, Attestation | None]:
        watch = self._watch
        attestation = None
        try:
            with self._standing(logs, prepare) as standing:
                cell, listener, attestation = standing.cell, standing.listener, standing.attestation
                if listener.stands:
                    with watch.phase("deliver"):
                        self._deliver(listener)
                    with watch.phase("run"):
                        self._patiently(listener.listen)
                with watch.phase("collect"):
                    listener.finish(self._engine)
                with watch.phase("judge"):
                    usage = listener.usage()
                    evidence = listener.evidence(usage)
                self._bill_imports(evidence)
                lost = self._destroy(cell, stays=listener.left and not usage.oom_kills and not usage.forks_refused)
        except EngineUnreachableError as error:
            return Evidence(lost=str(error)), Usage(), attestation
        return replace(evidence, lost=evidence.lost or lost), usage, attestation

    def _bill_imports(self, evidence: Evidence) -> None:
        told = [step.import_s for step in evidence.steps if step.import_s is not None]
        if told:
            self._watch.add("import", sum(told))

    def _deliver(self, listener: Listener) -> None:
        laid = self._laid
        plan = plan_document(laid.recipe, laid.steps, laid.policy, laid.kept)
        listener.deliver(plan, secrets_payload(laid.secrets))

    @contextmanager
    def _standing(self, logs: LogWriter, prepare: Callable[[], Snapshot]) -> Iterator[_Standing]:
        """Hold an attested cell with its snapshot in place; an exception destroys it before it goes on."""
        aside = self._watch.aside()
        coming = self._beside().submit(self._stand_up, logs, aside)
        try:
            snapshot = prepare().content()
            self._tell(PhaseStarted(phase="claim", attempt=self._number))
            standing = self._patiently(coming.result)
            self._tell(PhaseStarted(phase="attest", attempt=self._number))  # here, since one thread tells of everything
            self._traffic = standing.cell.traffic
            standing.cell.put(snapshot)
            self._watch.take_in(aside)
            yield standing
        except BaseException as error:
            if not coming.cancel() and coming.exception() is None:  # it is waited for; what failed has cleaned up
                self._take_back(coming.result().cell, error)
            raise

    def _beside(self) -> Executor:
        """
        Choose how a cell is claimed while its run is prepared: in a thread, since the engine takes long.

        One that stayed for us takes less than a thread. But an interrupt must not meet a cell halfway between two
        owners; those come to the main thread alone.
        """
        stays = self._stays_for is not None and self._cells.keeps(self._stays_for)
        return Later() if stays and threading.current_thread() is not threading.main_thread() else self._cells.beside

    def _stand_up(self, logs: LogWriter, watch: Stopwatch) -> _Standing:
        """Have a cell, attested; mostly in a thread of its own, beside what this process does meanwhile."""
        cell = self._claim(watch)
        try:
            listener = self._listener(cell, logs)
            with watch.phase("attest"):
                return _Standing(cell, listener, self._attest(cell, listener))
        except BaseException as error:
            self._take_back(cell, error)
            raise

    def _attest(self, cell: Cell, listener: Listener) -> Attestation | None:
        """Have the cell attested once its runner stands; None if it never did."""
        listener.greet()
        if not listener.stands:
            return None
        policy = self._laid.policy
        attestation = self._cells.attest(cell, policy, listener.view)
        objection = attestation.objection(all_required=policy.require_attestation)
        if objection:
            listener.refuse(objection)
        return attestation

    def _claim(self, watch: Stopwatch) -> Cell:
        laid = self._laid
        return self._cells.claim(
            cell_name(laid.run_id, self._number),
            laid.policy,
            image_id=laid.image_id,
            package=laid.tree,
            layer=laid.layer,
            base=self._base.folder if self._base else None,
            labels=cell_labels(laid.run_id, self._number),
            stays_for=self._stays_for,
            watch=watch,
        )

    def _listener(self, cell: Cell, logs: LogWriter) -> Listener:
        laid = self._laid
        limits = laid.policy.limits
        artifacts = ArtifactIntake(
            self._stores.blobs,
            most_files=limits.artifact_count,
            most_bytes=limits.artifact_bytes,
            redaction=laid.redaction,
            warn=lambda said: logs.record("", "WARNING", said),
        )
        transcript = Transcript(
            [step.name for step in laid.steps],
            write_scope(laid.recipe, laid.policy),
            clock=self._clock,
            logs=logs,
            artifacts=artifacts,
            tell=self._tell,
            check_entry=check_entry,
            redaction=laid.redaction,
            read_scope=read_scope(laid.recipe, laid.policy),
            began_s=self._watch.began_s,
            recall=Recall([step.name for step in laid.steps if step.cache], laid.kept),
        )
        return Listener(
            cell,
            transcript,
            artifacts,
            limits=limits,
            deadlines=deadlines(laid.recipe, laid.steps, laid.policy),
            clock=self._clock,
            tell=self._tell,
            cancel=self._cancel,
            redaction=laid.redaction,
            stays=self._stays_for is not None,
        )

    @cached_property
    def _stays_for(self) -> tuple[object, ...] | None:
        """Name the runs that may share its cell; None where the policy lets none."""
        laid = self._laid
        if laid.policy.reuse == "never":
            return None
        held = self._base.held if self._base else None  # who keeps the cell keeps the base that is mounted in it
        return self._stores.namespace, laid.image_id, laid.tree, laid.layer, laid.policy.content(), held

    def _patiently(self, wait: Callable[[], T]) -> T:
        try:
            return wait()
        except KeyboardInterrupt:
            self.interrupted = True
            self._cancel.set()
            return wait()  # it sees the cancel and stops at once

    def _destroy(self, cell: Cell, *, stays: bool) -> str:
        """Take the cell back, or keep it; returns why that could not be, in which case nothing may be merged."""
        with self._watch.phase("remove"):
            return self._cells.let_go(cell, self._stays_for if stays else None)

    def _take_back(self, cell: Cell, because: BaseException) -> None:
        problem = self._cells.take_back(cell)
        if problem:  # what came first says more
            because.add_note(f"and its cell could not be taken back: {problem}")
