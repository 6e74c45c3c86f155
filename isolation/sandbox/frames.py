"""The frames that come out of a container, as checked values. Whatever does not fit is Malformed."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field, JsonValue, ValidationError

from isolation.contract import (
    CONTRACT_VERSION,
    LOG_HEADER,
    MOST_FIELDS,
    MOST_KEPT,
    MOST_READS,
    Malformed,
    is_context_key,
    loads,
)
from isolation.errors import ImageError
from isolation.model.recipe import Strict

_StepIndex = Field(ge=0, lt=10_000)
_MOST_TRIES = 201
"""A step has one, as many again as it asks for, and as many as conflicts may cost: a hundred of each at most."""


def _context_key(key: str) -> str:
    if not is_context_key(key):
        raise ValueError("not a key of the context")
    return key


_Key = Annotated[str, AfterValidator(_context_key)]


class CellView(Strict):
    """What the runner sees of its own confinement: texts of /proc/self, links, names, and how calls were answered."""

    texts: dict[str, str] = Field(max_length=16)
    namespaces: dict[str, str] = Field(max_length=32)
    descriptors: dict[str, str] = Field(max_length=64)
    folders: dict[str, list[str]] = Field(max_length=16)
    environment: dict[str, str] = Field(max_length=64)
    rlimits: dict[str, list[str]] = Field(max_length=32)
    calls: dict[str, str] = Field(max_length=64)
    time_zone: str = Field(max_length=100)
    clock: list[float] = Field(min_length=2, max_length=2)


class Hello(Strict):
    """The runner stands, and says what it stands in."""

    contract: int
    python: str = Field(max_length=100)
    view: CellView | None = None


class StepStartedFrame(Strict):
    """A try of a step began."""

    step: int = _StepIndex
    number: int = Field(alias="try", ge=1, le=_MOST_TRIES)


class ErrorText(Strict):
    """What a step died of, in its own words."""

    type: str = Field(max_length=200)
    message: str = Field(max_length=4_000)
    traceback: str = Field(max_length=16_000)


class StepEndedFrame(Strict):
    """
    A step was settled.

    ``cached`` is the place, in its plan, of the result that it took instead of running. ``found`` is the digest of what
    it found, if what it made may be kept for other runs, and else ``unkept`` says why not.
    """

    step: int = _StepIndex
    outcome: Literal["succeeded", "failed", "timed_out", "no_answer", "bad_answer", "skipped", "disabled"]
    tries: int = Field(ge=0, le=_MOST_TRIES)
    cause: str = Field(max_length=300)
    wall_s: float | None = Field(default=None, ge=0)
    cpu_s: float | None = Field(default=None, ge=0)
    import_s: float | None = Field(default=None, ge=0)
    error: ErrorText | None = None
    set: dict[str, JsonValue] = Field(default_factory=dict)
    deleted: list[str] = Field(default_factory=list)
    writers: dict[str, str] = Field(default_factory=dict)
    reads: list[_Key] = Field(default_factory=list, max_length=MOST_READS)
    read_all: bool = False
    combined: list[_Key] = Field(default_factory=list)
    dropped: list[_Key] = Field(default_factory=list)
    outputs: dict[str, JsonValue] | None = None
    cached: int | None = Field(default=None, ge=0, lt=MOST_KEPT)
    found: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    unkept: str = Field(default="", max_length=200)


class LogRecord(Strict):
    """A record of a step's logger, with what came as ``extra``; its time is the step's word, so it is not used."""

    level: str = Field(max_length=50)
    logger: str = Field(max_length=200)
    message: str = Field(max_length=16_000)
    fields: dict[str, JsonValue] = Field(default_factory=dict, max_length=MOST_FIELDS)
    at: float


class RecordFrame(Strict):
    """A log record of a step."""

    step: int = _StepIndex
    record: LogRecord


class ArtifactFrame(Strict):
    """A file follows in chunks, unless ``refused`` says why not."""

    name: str = Field(max_length=4_000)
    size: int | None = Field(ge=0)
    refused: str | None = Field(max_length=300)


class ReadingFrame(Strict):
    """What the runner's own process accounting says; used only where the kernel's counters cannot be read."""

    cpu_user_s: float = Field(ge=0)
    cpu_system_s: float = Field(ge=0)
    memory_peak_bytes: int = Field(ge=0)
    oom_kills: int | None = Field(default=None, ge=0)


_Frame = TypeVar("_Frame", bound=Strict)


def read_frame(model: type[_Frame], payload: bytes) -> _Frame:
    """Read a JSON frame. Raises Malformed."""
    value = loads(payload)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise Malformed(f"{model.__name__}: {place}: {first['msg']}") from error


@lru_cache(maxsize=32)
def read_greeting(payload: bytes) -> Hello:
    """
    Read a greeting of our own version. Raises ImageError for one of another, and Malformed.

    That of an idle cell is read when it is made, and known already to the run that claims it.
    """
    version = read_version(payload)  # first: another version's greeting may have another form
    if version != CONTRACT_VERSION:
        raise ImageError(
            f"the runner image speaks version {version} of the contract, we speak {CONTRACT_VERSION}",
            hint="Build it again with scripts/image.",
        )
    return read_frame(Hello, payload)


def read_version(payload: bytes) -> int:
    """Read the version of the contract from a greeting of any version. Raises Malformed."""
    value = loads(payload)
    version = value.get("contract") if isinstance(value, dict) else None
    if not isinstance(version, int):
        raise Malformed("a greeting without a version")
    return version


def read_log(payload: bytes) -> tuple[int, Literal["stdout", "stderr"], bytes]:
    """Read a LOG frame: the step's index, the stream, the bytes. Raises Malformed."""
    if len(payload) < LOG_HEADER.size:
        raise Malformed("a log frame without a header")
    index, stream = LOG_HEADER.unpack_from(payload)
    if stream not in {1, 2}:
        raise Malformed(f"a log frame of the stream {stream}")
    return index, "stdout" if stream == 1 else "stderr", payload[LOG_HEADER.size :]
