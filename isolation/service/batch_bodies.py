"""The bodies of the contract that are about batches."""

from __future__ import annotations

from pydantic import BaseModel, Field

from isolation.service.bodies import Value  # noqa: TC001 - pydantic reads it
from isolation.service.run_bodies import RunBody, WantedBody

MOST_INPUTS = 1_000


class BatchBody(WantedBody):
    """A run for each of several ``inputs``, which go over ``context``; ``key`` names the batch."""

    inputs: list[dict[str, Value]] = Field(min_length=1, max_length=MOST_INPUTS)
    key: str | None = Field(None, max_length=100)


class BegunBody(BaseModel):
    """A batch, all of whose runs wait in the queue, or did before."""

    key: str
    namespace: str
    runs: list[str]


class BatchLineBody(BaseModel):
    """A batch, and the run of its first input."""

    key: str
    first: RunBody


class BatchesBody(BaseModel):
    """A page of batches, the last begun first."""

    batches: list[BatchLineBody]
    next: str | None


class InputBody(BaseModel):
    """What became of one input so far; ``number`` counts from 1."""

    number: int
    run: RunBody


class BatchProgressBody(BaseModel):
    """How far a batch is: its runs, counted by state and by outcome, and a page of them in the order of the inputs."""

    key: str
    count: int
    ended: bool
    states: dict[str, int]
    outcomes: dict[str, int]
    inputs: list[InputBody]
    next: str | None
