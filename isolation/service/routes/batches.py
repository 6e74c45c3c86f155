"""Batches: one recipe, many inputs, each of them a run in the queue."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from isolation.batches import BatchProgress, begun, check_key, progress_of, run_key
from isolation.service.batch_bodies import MOST_INPUTS, BatchBody, BatchesBody, BatchProgressBody, BegunBody
from isolation.service.bodies import said
from isolation.service.here import Here, MayReadRuns, MaySubmitRuns
from isolation.service.problems import answers
from isolation.service.reading import BodyRoute
from isolation.service.refusals import NotThereError
from isolation.service.routes.runs import IdempotencyKey, key_said
from isolation.service.submitting import admit_who_brings, order_of
from isolation.submission import enqueue_all, new_run_id

router = APIRouter(prefix="/v1/batches", route_class=BodyRoute, tags=["batches"])

BatchKey = Annotated[str, Path(max_length=100, description="What names the batch.")]


@router.post("", status_code=202, response_model=BegunBody, responses=answers(404, 409, 413, 422))
async def begin(
    request: Request, here: MaySubmitRuns, body: BatchBody, idempotency_key: IdempotencyKey = None
) -> Response:
    """
    Put a run for each input into the queue, all of them or none, durable when this answers.

    Who sends the same again with the same key gets the same runs; with more inputs, the new ones are added.
    """
    await admit_who_brings(request, here, body)
    return await run_in_threadpool(_begin, here, body, idempotency_key)


def _begin(here: Here, body: BatchBody, idempotency_key: str | None) -> Response:
    clock = here.service.clock
    said_key = key_said(body.key, idempotency_key)
    key = new_run_id(clock) if said_key is None else said_key
    check_key(key)
    order = order_of(here, body)
    keyed = {run_key(key, number): inputs for number, inputs in enumerate(body.inputs, 1)}
    runs = enqueue_all(here.stores, order, keyed, clock, priority=body.priority)
    place = {"Location": f"/v1/batches/{key}?namespace={here.namespace}"}
    return said({"key": key, "namespace": here.namespace, "runs": runs}, 202, place)


@router.get("", response_model=BatchesBody, responses=answers(404, 422))
def list_batches(
    here: MayReadRuns,
    before: Annotated[str | None, Query(max_length=100, description="Go on after this run, as `next` says.")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_INPUTS, description="At most so many.")] = 50,
) -> Response:
    """Return the batches, the last begun first, each with the run of its first input."""
    found = begun(here.stores.ledger, limit, before)
    batches = [{"key": key, "first": run} for key, run in found]
    return said({"batches": batches, "next": found[-1][1].run_id if len(found) == limit else None})


@router.get("/{key}", response_model=BatchProgressBody, responses=answers(404, 422))
def get_batch(
    here: MayReadRuns,
    key: BatchKey,
    after: Annotated[int, Query(ge=0, le=2**53, description="Go on after the input of this number.")] = 0,
    limit: Annotated[int, Query(ge=1, le=MOST_INPUTS, description="At most so many.")] = MOST_INPUTS,
) -> Response:
    """Tell how far a batch is, whether it was begun here or by `isolation batch`."""
    batch = batch_of(here, key, after, limit)
    inputs = [{"number": number, "run": run} for number, run in batch.inputs]
    told = {"key": key, "count": batch.count, "ended": batch.ended, "states": batch.states, "outcomes": batch.outcomes}
    return said({**told, "inputs": inputs, "next": None if batch.next is None else str(batch.next)})


def batch_of(here: Here, key: str, after: int, limit: int) -> BatchProgress:
    """Return how far a batch is; NotThereError where there is none."""
    found = progress_of(here.stores.ledger, key, after, limit)
    if found is None:
        raise NotThereError(f"there is no batch {key!r}", hint="GET /v1/batches lists those that there are.")
    return found
