"""The bodies of the contract that are about runs, packages, policies and batches."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, JsonValue

from isolation.model.adjustments import Adjustments
from isolation.model.outcome import Outcome, StepOutcome
from isolation.model.run import RunState
from isolation.service.bodies import Body, Value

MOST_NAMED = 10_000
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="A SHA-256, in hexadecimal.")]
Key = Annotated[str, Field(min_length=1, max_length=200, description="Who submits the same with it gets the same run.")]
_Step = Annotated[str, Field(max_length=100)]
_Document = dict[str, JsonValue]


class Base64Body(Body):
    """The content of a file that is no text."""

    base64: str


class AdjustmentsBody(Body):
    """What is to be done otherwise than the recipe says; None leaves it as it is. Times are in seconds."""

    continue_on_error: bool | None = None
    step_timeout_s: float | None = Field(None, gt=0, le=30 * 86400)
    max_retries: int | None = Field(None, ge=0, le=100)
    retry_delay_s: float | None = Field(None, ge=0, le=30 * 86400)
    no_cache: bool = False

    def adjustments(self) -> Adjustments:
        """Return the same as the core has it."""
        return Adjustments(**self.model_dump())


class BroughtBody(Body):
    """A recipe's text, and the files beside it by their names: as text, or what is none in base64."""

    recipe: str = Field(min_length=1, max_length=2**20)
    files: dict[str, str | Base64Body] = Field(default_factory=dict, max_length=1_000)


class WantedBody(Body):
    """
    What is to be run: a ``recipe`` with its ``files``, or a ``package`` that is there, by digest.

    ``policy`` is the name of one of the server's; None: its default. ``environment`` is for a recipe that is otherwise
    in some. ``context`` holds values for these runs only.
    """

    recipe: str | None = Field(None, min_length=1, max_length=2**20)
    files: dict[str, str | Base64Body] = Field(default_factory=dict, max_length=1_000)
    package: Digest | None = None
    policy: str | None = Field(None, max_length=100)
    environment: str | None = Field(None, max_length=64)
    context: dict[str, Value] = Field(default_factory=dict)
    only: list[_Step] = Field(default_factory=list, max_length=MOST_NAMED)
    skip: list[_Step] = Field(default_factory=list, max_length=MOST_NAMED)
    adjustments: AdjustmentsBody = AdjustmentsBody()
    priority: int = Field(0, ge=-1_000_000, le=1_000_000)


class SubmitBody(WantedBody):
    """A run that is wanted."""

    key: Key | None = None


class AgainBody(Body):
    """How a run is to be made again; ``fresh_context``: with the context as it is then."""

    fresh_context: bool = False
    key: Key | None = None
    priority: int = Field(0, ge=-1_000_000, le=1_000_000)


class ReplayBody(Body):
    """How a run is to be replayed."""

    key: Key | None = None
    priority: int = Field(0, ge=-1_000_000, le=1_000_000)


class SubmittedBody(BaseModel):
    """A run that waits in the queue, durable by now: or that of an earlier submission with the same key."""

    run_id: str
    namespace: str


class DigestsBody(BaseModel):
    """What a run is made of, by content; snapshot and image are empty before it begins."""

    package: str
    snapshot: str
    policy: str
    image: str


class RunBody(BaseModel):
    """A run, in one line. ``outcome`` is None until it ended, and when its controller died."""

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
    digests: DigestsBody
    namespace: str
    priority: int
    due_at: str | None
    cancelled_at: str | None


class RunsBody(BaseModel):
    """A page of runs, the last submitted first; ``next`` asks for the one after it, None: this is the last."""

    runs: list[RunBody]
    next: str | None


class ResultBody(BaseModel):
    """All that is kept of a finished run: docs/result.schema.json says it field by field."""

    run_id: str
    recipe: str
    outcome: Outcome
    attempts: list[_Document]
    usage: _Document
    changes: _Document
    merge: _Document
    errors: list[_Document]
    artifacts: list[_Document]
    digests: DigestsBody
    engine: _Document | None
    context: _Document
    replay_of: str


class AttemptsBody(BaseModel):
    """The attempts that ended so far, without their usage series and attestations, which have routes of their own."""

    attempts: list[_Document]


class AttestationBody(BaseModel):
    """What confined the cell of an attempt, as it was read back; None where it was gone before."""

    attempt: int
    outcome: Outcome
    attestation: _Document | None


class SampleBody(BaseModel):
    """A reading of what an attempt used, ``at_s`` from its start; None: not measured."""

    at_s: float
    cpu_s: float | None
    memory_bytes: int | None
    pids: int | None
    io_read_bytes: int | None
    io_write_bytes: int | None


class SeriesBody(BaseModel):
    """The readings of one attempt."""

    attempt: int
    samples: list[SampleBody]


class StepProgressBody(BaseModel):
    """How far a step has come; seconds from the beginning of the attempt. ``outcome`` is null until it has ended."""

    name: str
    began_s: float | None
    wall_s: float | None
    outcome: StepOutcome | None
    reason: str


class AttemptProgressBody(BaseModel):
    """How far an attempt has come: the phase that it entered last, its steps in order, what it used so far."""

    attempt: int
    began_at: str
    phase: str
    phase_began_s: float
    steps: list[StepProgressBody]
    samples: list[SampleBody]


class RunProgressBody(BaseModel):
    """How far a run has come; ``progress`` is that of the attempt under way, if there is one and it is known here."""

    run_id: str
    state: RunState
    progress: AttemptProgressBody | None


class UsageBody(BaseModel):
    """The readings of all attempts, the last of which may still go on."""

    attempts: list[SeriesBody]


class CancelledBody(BaseModel):
    """``ended``: the run has ended with this. Else it will; nothing of it is merged any more either way."""

    run_id: str
    ended: bool


class DifferenceBody(BaseModel):
    """One thing that is not the same in both runs."""

    area: str
    what: str
    left: JsonValue
    right: JsonValue
    counts: bool
    missing: Literal["", "left", "right"]
    name: str
    step: str


class ComparisonBody(BaseModel):
    """Two runs, compared."""

    left: str
    right: str
    verdict: Literal["identical", "equivalent", "diverged"]
    first_step: str
    differences: list[DifferenceBody]


class ArtifactBody(BaseModel):
    """A file that a run left; ``digest`` is its SHA-256."""

    name: str
    digest: str
    size_bytes: int


class ArtifactsBody(BaseModel):
    """The files that a run left."""

    artifacts: list[ArtifactBody]


class LineBody(BaseModel):
    """A line that a step wrote, or a record of its logger: untrusted, so whoever shows it escapes it."""

    attempt: int
    step: str
    stream: str
    text: str
    at: str
    level: str
    fields: _Document


class LogBody(BaseModel):
    """A page of a log. ``next`` goes on after it, also where nothing is there yet; ``more``: something is."""

    lines: list[LineBody]
    next: str
    more: bool


class BlobBody(BaseModel):
    """A blob that is there."""

    digest: str
    size_bytes: int


class KnownPackageBody(BaseModel):
    """A package that this namespace has brought or run; ``at`` is when it did so last."""

    digest: str
    recipe: str
    at: str


class PackagesBody(BaseModel):
    """A page of packages, sorted by digest."""

    packages: list[KnownPackageBody]
    next: str | None


class RecipesBody(BaseModel):
    """A page of recipes, sorted by name, each with its newest package."""

    recipes: list[KnownPackageBody]
    next: str | None


class RecipeBody(BaseModel):
    """A recipe: its ``definition`` as its newest package has it, and its packages, the newest first."""

    recipe: str
    definition: _Document
    packages: list[KnownPackageBody]


class FileBody(BaseModel):
    """A file of a package."""

    path: str
    digest: str
    size_bytes: int


class PackageBody(BaseModel):
    """What is in a package."""

    recipe: str
    digest: str
    files: list[FileBody]
    requirements: list[str]
    secrets: list[str]
    lock: str
    optional_imports: list[str]


class PolicyLineBody(BaseModel):
    """A policy, in one line."""

    name: str
    description: str


class PoliciesBody(BaseModel):
    """The policies that runs of this namespace may have; ``default`` is that of who names none."""

    policies: list[PolicyLineBody]
    default: str


class PolicyBody(BaseModel):
    """Every value that holds in a policy, and its file as it is written: there each line is explained."""

    name: str
    policy: _Document
    text: str


class CheckPolicyBody(Body):
    """A policy's text."""

    policy: str = Field(min_length=1, max_length=2**20)


class CheckedPolicyBody(BaseModel):
    """A policy that can be used, with every value that holds in it."""

    name: str
    policy: _Document
