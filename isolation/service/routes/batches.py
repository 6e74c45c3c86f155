"""Batches: one recipe, many inputs, each of them a run in the queue."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from isolation.batches import check_key, run_key
from isolation.service.bodies import said
from isolation.service.here import Here, MayReadRuns, MaySubmitRuns
from isolation.service.problems import answers
from isolation.service.refusals import NotThereError
from isolation.service.run_bodies import MOST_INPUTS, BatchBody, BegunBody, ProgressBody
from isolation.service.submitting import admit_who_brings, order_of
from isolation.submission import enqueue_all, new_run_id

router = APIRouter(prefix="/v1/batches", tags=["batches"])

BatchKey = Annotated[str, Path(max_length=100, description="What names the batch.")]


@router.post("", status_code=202, response_model=BegunBody, responses=answers(404, 409, 413, 422))
async def begin(request: Request, here: MaySubmitRuns, body: BatchBody) -> Response:
    """
    Put a run for each input into the queue, all of them or none, durable when this answers.

    Who sends the same again with the same key gets the same runs; with more inputs, the new ones are added.
    """
    await admit_who_brings(request, here, body)
    return await run_in_threadpool(_begin, here, body)


def _begin(here: Here, body: BatchBody) -> Response:
    clock = here.service.clock
    key = new_run_id(clock) if body.key is None else body.key
    check_key(key)
    order = order_of(here, body)
    keyed = {run_key(key, number): inputs for number, inputs in enumerate(body.inputs, 1)}
    runs = enqueue_all(here.stores, order, keyed, clock, priority=body.priority)
    place = {"Location": f"/v1/batches/{key}?namespace={here.namespace}"}
    return said({"key": key, "namespace": here.namespace, "runs": runs}, 202, place)


@router.get("/{key}", response_model=ProgressBody, responses=answers(404, 422))
def get_batch(
    here: MayReadRuns,
    key: BatchKey,
    after: Annotated[int, Query(ge=0, le=2**53, description="Go on after the input of this number.")] = 0,
    limit: Annotated[int, Query(ge=1, le=MOST_INPUTS, description="At most so many.")] = MOST_INPUTS,
) -> Response:
    """Tell how far a batch is, whether it was begun here or by `isolation batch`."""
    check_key(key)
    runs = {int(number): run for number, run in here.stores.ledger.keyed(run_key(key, "")).items()}
    if not runs:
        raise NotThereError(f"there is no batch {key!r}", hint="POST /v1/batches begins one.")
    rest = sorted(number for number in runs if number > after)
    page = rest[:limit]
    states = Counter(run.state for run in runs.values())
    return said(
        {
            "key": key,
            "count": len(runs),
            "ended": not states.keys() & {"queued", "running"},
            "states": states,
            "outcomes": Counter(run.outcome.value for run in runs.values() if run.outcome),
            "inputs": [{"number": number, "run": runs[number]} for number in page],
            "next": str(page[-1]) if len(rest) > limit else None,
        }
    )
