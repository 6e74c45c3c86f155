"""A policy: what a run may use, see and do. Every line of it is enforced or refused."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping  # noqa: TC003 - pydantic reads annotations
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer, ValidationInfo, field_validator, model_validator

from isolation.model.determinism import Determinism
from isolation.model.network import NO_NETWORK, Network
from isolation.model.outcome import Outcome
from isolation.model.package import canonical
from isolation.model.recipe import Name, NamespaceGlob, Seconds, SecretGlob, Strict
from isolation.units import parse_bytes, parse_seconds

Bytes = Annotated[int, BeforeValidator(parse_bytes), Field(ge=0, le=2**50)]
Wait = Annotated[float, BeforeValidator(parse_seconds), Field(ge=0, le=86400)]


_FINAL = (Outcome.SUCCEEDED, Outcome.CANCELLED, Outcome.REFUSED)


def _outcome(name: object) -> Outcome:
    known = {outcome.value: outcome for outcome in Outcome}
    outcome = name if isinstance(name, Outcome) else known.get(str(name))
    if outcome is None:
        raise ValueError(f"{name!r} is no outcome; known: {', '.join(known)}")
    if outcome in _FINAL:
        raise ValueError(f"{outcome.value!r} is never retried; take it out")
    return outcome


RetryCause = Annotated[Outcome, BeforeValidator(_outcome)]


def _factor(text: object) -> float:
    """
    Read by how much a limit is raised, such as ``x2``.

    >>> _factor("x1.5")
    1.5
    """
    if isinstance(text, str) and text.startswith("x"):
        with contextlib.suppress(ValueError):
            return float(text[1:])
    raise ValueError(f"{text!r} is no factor; write one such as x2")


Factor = Annotated[float, BeforeValidator(_factor), PlainSerializer(lambda factor: f"x{factor:g}"), Field(gt=1, le=100)]


class Limits(Strict):
    """What one attempt may use. All of them hold in the kernel or at the host's end of the channel."""

    cpus: float = Field(default=1.0, ge=0.01, le=1024, strict=False)
    memory_bytes: Bytes = Field(default=512 * 2**20, ge=16 * 2**20, alias="memory")
    pids: int = Field(default=128, ge=8, le=100_000)
    wall_s: Seconds = Field(default=60.0, alias="wall")
    step_wall_s: Seconds = Field(default=60.0, alias="step_wall")
    tmp_bytes: Bytes = Field(default=64 * 2**20, ge=2**20, alias="tmp")
    tmp_inodes: int | None = Field(default=4096, ge=64, le=10_000_000)
    shm_bytes: Bytes = Field(default=0, alias="shm")
    file_bytes: Bytes = Field(default=64 * 2**20, ge=2**12, alias="file")
    open_files: int = Field(default=1024, ge=64, le=1_048_576)
    log_bytes: Bytes = Field(default=8 * 2**20, alias="log")
    result_bytes: Bytes = Field(default=2**20, ge=2**10, alias="result")
    artifact_bytes: Bytes = Field(default=16 * 2**20, alias="artifacts")
    artifact_count: int = Field(default=64, ge=0, le=100_000)


class RetryRule(Strict):
    """
    How often an attempt that ended in one way is tried in all, and how long we wait between.

    One of ``memory``, ``wall``, ``pids`` and ``tmp`` multiplies that limit for each attempt that met it, up to
    ``up_to``, where the outcome is the one of that limit (``RAISED_BY``). ``only`` and ``never`` are globs over the
    types of the errors that failed an attempt.
    """

    attempts: int = Field(default=1, ge=1, le=100)
    wait_s: Wait = Field(default=0.0, alias="wait")
    backoff: float = Field(default=2.0, ge=1.0, le=10.0, strict=False)
    longest_wait_s: Wait = Field(default=60.0, alias="longest_wait")
    jitter_s: Wait = Field(default=0.0, alias="jitter")
    memory: Factor | None = None
    wall: Factor | None = None
    pids: Factor | None = None
    tmp: Factor | None = None
    up_to: str | int | float | None = None
    only: tuple[str, ...] = Field(default=(), strict=False)
    never: tuple[str, ...] = Field(default=(), strict=False)

    def raises(self) -> tuple[str, float, float] | None:
        """Return the limit that is raised, by what factor, and to what at most; None if none is."""
        for name, (field, parse) in RAISABLE.items():
            factor = getattr(self, name)
            if factor is not None:
                return field, factor, parse(self.up_to)
        return None

    @model_validator(mode="after")
    def _check_raise(self) -> Self:
        named = [name for name in RAISABLE if getattr(self, name) is not None]
        if len(named) > 1:
            raise ValueError(f"only one limit can be raised, and not {' and '.join(named)}")
        if named and self.up_to is None:
            raise ValueError(f"{named[0]} is raised without an end; say `up_to`")
        if self.up_to is not None and not named:
            raise ValueError("`up_to` says how far a limit is raised, and none is")
        if named:
            RAISABLE[named[0]][1](self.up_to)
        return self


def _count(value: object) -> float:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError(f"{value!r} is no number of processes")


RAISABLE: dict[str, tuple[str, Callable[[object], float]]] = {
    "memory": ("memory_bytes", parse_bytes),
    "wall": ("wall_s", parse_seconds),
    "pids": ("pids", _count),
    "tmp": ("tmp_bytes", parse_bytes),
}
"""By its name in a retry rule: the field of the limit, and what reads ``up_to``."""
RAISED_BY = {
    Outcome.OUT_OF_MEMORY: "memory",
    Outcome.TIMED_OUT: "wall",
    Outcome.TOO_MANY_PROCESSES: "pids",
    Outcome.DISK_FULL: "tmp",
}
"""The limit that each of these outcomes met."""


OnConflict = Literal["fail", "rerun", "ours", "theirs", "add", "append", "union", "max", "min", "deep"]


class KeyRule(Strict):
    """What happens to the keys that one of these globs covers."""

    keys: tuple[str, ...] = Field(min_length=1, strict=False)
    on_conflict: OnConflict


class MergeRule(Strict):
    """
    What happens when a key that the run changed was changed by somebody else since its snapshot.

    The first of ``rules`` that covers a key decides, and where none does, ``on_conflict``. ``rules.merge`` and
    ``rules.combine`` say what each word means. ``strict``: also keys that the run only read, by the same rules, of
    which ``fail`` and ``rerun`` mind.
    """

    strict: bool = False
    on_conflict: OnConflict = "fail"
    rules: tuple[KeyRule, ...] = Field(default=(), strict=False)

    @model_validator(mode="after")
    def _check_strict(self) -> Self:
        if self.strict and not {self.on_conflict, *(rule.on_conflict for rule in self.rules)} & {"fail", "rerun"}:
            raise ValueError(
                "`strict` minds what was read where the rule is `fail` or `rerun`, and no key has one of both"
            )
        return self


class ContextScope(Strict):
    """The widest scope that a recipe may ask for: globs over context keys."""

    reads: tuple[str, ...] = Field(default=("*",), strict=False)
    writes: tuple[str, ...] = Field(default=("*",), strict=False)


Reuse = Literal["never", "package"]
"""Whether runs of the same package, policy and namespace may share a container, one after another."""

Runtime = Literal["runc", "crun", "runsc"]


class Policy(Strict):
    """
    A whole policy.

    ``secrets`` are globs over the names of those that a recipe may ask for, ``namespaces`` over those that may use it.
    """

    name: Name
    description: str = ""
    limits: Limits = Limits()
    runtime: Runtime = "runc"
    network: Network = NO_NETWORK
    retry: dict[RetryCause, RetryRule] = Field(default_factory=dict)
    require_attestation: bool = False
    reuse: Reuse = "never"
    merge: MergeRule = MergeRule()
    context: ContextScope = ContextScope()
    determinism: Determinism = Determinism()
    secrets: tuple[SecretGlob, ...] = Field(default=(), strict=False)
    namespaces: tuple[NamespaceGlob, ...] = Field(default=("*",), strict=False)

    @field_validator("retry")
    @classmethod
    def _check_retry(cls, retry: dict[Outcome, RetryRule], info: ValidationInfo) -> dict[Outcome, RetryRule]:
        limits: Limits | None = info.data.get("limits")  # None: they have a mistake of their own
        for outcome, rule in retry.items():
            named = next((name for name in RAISABLE if getattr(rule, name) is not None), None)
            if named is not None and RAISED_BY.get(outcome) != named:
                other = RAISED_BY.get(outcome)
                cure = f"raise {other}" if other else "take it out"
                raise ValueError(f"{outcome.value} cannot raise {named}, which is not what such an attempt met; {cure}")
            if (rule.only or rule.never) and outcome is not Outcome.FAILED:
                raise ValueError(f"{outcome.value} has no errors to choose from; `failed` has")
            raised = rule.raises()
            if raised is not None and limits is not None and raised[2] < getattr(limits, raised[0]):
                raise ValueError(f"up_to of {outcome.value} is below limits.{named}; raise it")
        return retry

    @model_validator(mode="after")
    def _check_reuse(self) -> Self:
        if self.reuse == "never":
            return self
        shared = {
            "limits.shm": bool(self.limits.shm_bytes),
            "a network": bool(self.network.entries),
            "the runtime 'runsc'": self.runtime == "runsc",
        }
        for what, is_wanted in shared.items():
            if is_wanted:
                raise ValueError(f"`reuse: package` cannot be had with {what}: one run would leave traces for the next")
        return self

    @field_validator("determinism")
    @classmethod
    def _check_clock(cls, determinism: Determinism, info: ValidationInfo) -> Determinism:
        limits: Limits | None = info.data.get("limits")
        if determinism.clock != "real" and limits is not None and limits.shm_bytes:
            raise ValueError("what sets the clock would share memory with the steps; set limits.shm to 0")
        return determinism

    def content(self) -> bytes:
        """Write the policy as it is recorded; its digest names it."""
        return self._content

    @cached_property
    def _content(self) -> bytes:
        return canonical(self.model_dump(mode="json", by_alias=True))

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy it, without what was written of this one."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("_content", None)
        return copied

    @classmethod
    def read(cls, content: bytes) -> Policy:
        """Read a recorded policy."""
        return cls.model_validate(json.loads(content))
