"""A run, its attempts and its result: what is recorded, and what people and programs get to see."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from isolation.model.attestation import Attestation  # noqa: TC001 - model.document reads the annotations
from isolation.model.changes import Changes, Merge  # noqa: TC001 - model.document reads the annotations
from isolation.model.outcome import Outcome, StepOutcome
from isolation.model.traffic import Traffic
from isolation.model.usage import Usage

if TYPE_CHECKING:
    from pydantic import JsonValue


@dataclass(frozen=True, kw_only=True, slots=True)
class StepError:
    """What a step died of, as the step itself told it: data, never to be trusted or interpreted."""

    step: str
    type: str
    message: str
    traceback: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepReport:
    """
    What became of one step.

    ``cause`` is machine-readable (``exception``, ``timeout``, ``missing_keys``, ...), empty where all went well;
    ``reason`` tells people why a step did not run, or why what it made is not kept for other runs though it asks for
    that. ``cached_from`` is the run that made what this one took instead of running; empty where it ran.

    ``began_s`` is when its last try began, from the beginning of the work on the attempt; ``wall_s`` and ``cpu_s`` are
    what that try took, and ``import_s`` how much of it went into importing its module: the step's own word, None where
    it gave none.

    What it read and wrote of the context is its runner's word. ``read_all``: it counts as having read all that it may
    see, beside the keys that it asked for by name. ``keys_combined`` are those written whose value comes from another
    step's as well, that ran at once; ``keys_dropped`` those that it wrote in vain, since they keep the other's.
    """

    name: str
    outcome: StepOutcome
    began_s: float | None = None
    wall_s: float | None = None
    cpu_s: float | None = None
    import_s: float | None = None
    tries: int = 0
    cause: str = ""
    reason: str = ""
    cached_from: str = ""
    error: StepError | None = None
    outputs: JsonValue = None
    keys_read: tuple[str, ...] = ()
    read_all: bool = False
    keys_written: tuple[str, ...] = ()
    keys_combined: tuple[str, ...] = ()
    keys_dropped: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact:
    """A file that the recipe left, kept as a blob."""

    name: str
    digest: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """
    One container's life.

    ``cause`` is machine-readable, such as ``limits.memory`` or ``step:load``. ``attestation`` is None where the
    container was gone before it could be looked at.

    ``phases_ms`` is its bill, and ``phases_at_ms`` when each phase began, from when the work on the attempt did. Phases
    may go on beside each other; ``import`` has no moment, since it is a part of the steps, as these are of ``run``.
    """

    number: int
    outcome: Outcome
    cause: str
    started_at: str
    phases_ms: dict[str, float] = field(default_factory=dict)
    phases_at_ms: dict[str, float] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    steps: tuple[StepReport, ...] = ()
    exit_code: int | None = None
    log_bytes: int = 0
    log_truncated: bool = False
    network: Traffic = field(default_factory=Traffic)
    attestation: Attestation | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Digests:
    """
    Everything that is needed to run it again, by content; ``image`` is the engine's image id.

    ``snapshot`` and ``image`` are empty while the run has not begun, and where it never did.
    """

    package: str
    snapshot: str
    policy: str
    image: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """
    The engine that ran it, and on what; an empty text, and None, where that was not to be had.

    ``kernel`` is the host's version, ``processor`` its model, and ``cpus`` how many there are.
    """

    name: str
    version: str
    runtime: str
    cgroup_version: int
    kernel: str = ""
    architecture: str = ""
    processor: str = ""
    cpus: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ContextUse:
    """
    What the recipe declared of the context, against what the steps of the last attempt did.

    ``reads`` and ``writes`` are its globs; None where it declares nothing. The unused ones are those under which no
    step read or wrote anything. ``not_shown`` are keys that were asked for and are beyond what the run may see, so
    that nothing was found there.
    """

    reads: tuple[str, ...] | None = None
    writes: tuple[str, ...] | None = None
    unused_reads: tuple[str, ...] = ()
    unused_writes: tuple[str, ...] = ()
    not_shown: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """
    A finished run.

    ``usage`` is the last attempt's. ``changes`` were merged if ``merge.status`` says so, and otherwise were not.
    ``replay_of`` is the run that this one repeats, to be compared with it and not to be merged; empty for all others.
    A run that was cancelled in the queue has no attempts, and no ``engine``.
    """

    run_id: str
    recipe: str
    outcome: Outcome
    attempts: tuple[Attempt, ...]
    usage: Usage
    changes: Changes
    merge: Merge
    errors: tuple[StepError, ...]
    artifacts: tuple[Artifact, ...]
    digests: Digests
    engine: Engine | None
    context: ContextUse = field(default_factory=ContextUse)
    replay_of: str = ""

    @property
    def succeeded(self) -> bool:
        """Tell whether the recipe succeeded and its changes, if any, are merged."""
        return self.outcome is Outcome.SUCCEEDED

    @property
    def cause(self) -> str:
        """Tell what the last attempt's outcome came from."""
        return self.attempts[-1].cause if self.attempts else ""


RunState = Literal["queued", "running", "finished", "abandoned"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSummary:
    """
    One line of the list of runs; ``outcome`` is None until it ended, and when its controller died.

    ``due_at`` is when a run that waits for another attempt may have it; ``cancelled_at`` when its end was asked for.
    """

    run_id: str
    recipe: str
    state: RunState
    outcome: Outcome | None
    policy: str
    submitted_at: str
    started_at: str | None
    finished_at: str | None
    attempts: int
    wall_s: float | None
    digests: Digests
    namespace: str = "default"
    priority: int = 0
    due_at: str | None = None
    cancelled_at: str | None = None
