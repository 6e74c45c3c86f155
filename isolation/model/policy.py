"""A policy: what a run may use, see and do. Every line of it is enforced or refused."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from isolation.model.network import NO_NETWORK, Network
from isolation.model.outcome import Outcome
from isolation.model.package import canonical
from isolation.model.recipe import Name, Seconds, SecretGlob, Strict
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
    """How often an attempt that ended in one way is tried in all, and how long we wait between."""

    attempts: int = Field(default=1, ge=1, le=100)
    wait_s: Wait = Field(default=0.0, alias="wait")
    backoff: float = Field(default=2.0, ge=1.0, le=10.0, strict=False)
    longest_wait_s: Wait = Field(default=60.0, alias="longest_wait")


OnConflict = Literal["fail", "rerun", "ours", "theirs", "add", "append", "union", "max", "min", "deep"]


class KeyRule(Strict):
    """What happens to the keys that one of these globs covers."""

    keys: tuple[str, ...] = Field(min_length=1, strict=False)
    on_conflict: OnConflict


class MergeRule(Strict):
    """
    What happens when a key that the run changed was changed by somebody else since its snapshot.

    The first of ``rules`` that covers a key decides, and where none does, ``on_conflict``. ``rules.merge`` and
    ``rules.combine`` say what each word means.
    """

    on_conflict: OnConflict = "fail"
    rules: tuple[KeyRule, ...] = Field(default=(), strict=False)


class ContextScope(Strict):
    """The widest scope that a recipe may ask for: globs over context keys."""

    reads: tuple[str, ...] = Field(default=("*",), strict=False)
    writes: tuple[str, ...] = Field(default=("*",), strict=False)


class Policy(Strict):
    """A whole policy. ``secrets`` are globs over the names of those that a recipe may ask for."""

    name: Name
    description: str = ""
    limits: Limits = Limits()
    runtime: Literal["runc", "crun", "runsc"] = "runc"
    network: Network = NO_NETWORK
    retry: dict[RetryCause, RetryRule] = Field(default_factory=dict)
    require_attestation: bool = False
    merge: MergeRule = MergeRule()
    context: ContextScope = ContextScope()
    secrets: tuple[SecretGlob, ...] = Field(default=(), strict=False)

    def content(self) -> bytes:
        """Write the policy as it is recorded; its digest names it."""
        return canonical(self.model_dump(mode="json", by_alias=True))

    @classmethod
    def read(cls, content: bytes) -> Policy:
        """Read a recorded policy."""
        return cls.model_validate(json.loads(content))
