"""Runs: submitted, listed, looked at, ended, made again, compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

from fastapi import APIRouter, Header, Path, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from isolation import submission
from isolation.batches import PREFIX
from isolation.clock import timestamp
from isolation.comparison import compare
from isolation.errors import InputError
from isolation.model.document import to_document
from isolation.model.outcome import Outcome
from isolation.model.recipe import Leeway
from isolation.model.run import RunState
from isolation.service.bodies import said
from isolation.service.here import Here, MayCancelRuns, MayReadRuns, MaySubmitRuns
from isolation.service.problems import answers
from isolation.service.reading import BodyRoute
from isolation.service.refusals import NotThereError, NotYetError
from isolation.service.run_bodies import (
    AgainBody,
    AttemptsBody,
    AttestationBody,
    CancelledBody,
    ComparisonBody,
    ReplayBody,
    ResultBody,
    RunBody,
    RunProgressBody,
    RunsBody,
    SubmitBody,
    SubmittedBody,
    UsageBody,
)
from isolation.service.submitting import admit_who_brings, order_of

if TYPE_CHECKING:
    from isolation.model.progress import Progress
    from isolation.model.run import Attempt, Result, RunSummary

router = APIRouter(prefix="/v1/runs", route_class=BodyRoute, tags=["runs"])

MOST_A_PAGE = 500
Run = Annotated[str, Path(max_length=100, description="Its id, the beginning of it, or `last`.")]
Number = Annotated[int, Path(ge=1, le=10_000, description="Which attempt, from 1.")]
IdempotencyKey = Annotated[str | None, Header(min_length=1, max_length=200, description="As `key`.")]


@router.post("", status_code=202, response_model=SubmittedBody, responses=answers(404, 409, 413, 422))
async def submit(
    request: Request, here: MaySubmitRuns, body: SubmitBody, idempotency_key: IdempotencyKey = None
) -> Response:
    """Put a run into the queue, durable when this answers. Who brings a recipe must be an author."""
    await admit_who_brings(request, here, body)
    return await run_in_threadpool(_submit, here, body, idempotency_key)


def _submit(here: Here, body: SubmitBody, idempotency_key: str | None) -> Response:
    key = _key_of(body, idempotency_key)
    order, clock = order_of(here, body), here.service.clock
    return accepted(here, submission.enqueue(here.stores, order, clock, priority=body.priority, key=key))


def key_said(body: str | None, header: str | None) -> str | None:
    """Return the key that somebody gave, in the body or its header; InputError for two of them."""
    if header is not None and body not in {None, header}:
        raise InputError("`key` and the header Idempotency-Key differ", hint="Send one of both.")
    return body if header is None else header


def _key_of(body: SubmitBody | AgainBody | ReplayBody, header: str | None) -> str | None:
    key = key_said(body.key, header)
    if key is not None and key.startswith(PREFIX):
        raise InputError(f"a key that begins with {PREFIX!r} is a batch's", hint="Choose another.")
    return key


def accepted(here: Here, run_id: str) -> Response:
    """Answer with a run that waits in the queue, and where it can be looked at."""
    place = f"/v1/runs/{quote(run_id)}?namespace={quote(here.namespace)}"
    return said({"run_id": run_id, "namespace": here.namespace}, 202, {"Location": place})


@router.get("", response_model=RunsBody, responses=answers(404, 422))
def list_runs(
    here: MayReadRuns,
    recipe: Annotated[str | None, Query(max_length=100, description="Only runs of this recipe.")] = None,
    outcome: Annotated[Outcome | None, Query(description="Only runs that ended so.")] = None,
    state: Annotated[RunState | None, Query(description="Only runs that are so.")] = None,
    before: Annotated[str | None, Query(max_length=100, description="Go on after this run, as `next` says.")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_A_PAGE, description="At most so many.")] = 50,
) -> Response:
    """Return the runs, the last submitted first."""
    found = here.stores.ledger.list(limit, recipe=recipe, outcome=outcome, state=state, before=before)
    return said({"runs": found, "next": found[-1].run_id if len(found) == limit else None})


@router.get("/{run}", response_model=RunBody, responses=answers(404, 422))
def get_run(here: MayReadRuns, run: Run) -> Response:
    """Return how a run is."""
    return said(here.stores.ledger.summary(run))


@router.get("/{run}/result", response_model=ResultBody, responses=answers(404, 409, 422))
def get_result(here: MayReadRuns, run: Run) -> Response:
    """Return all that is kept of a finished run."""
    return said(to_document(result_of(here, run)))


@router.get("/{run}/attempts", response_model=AttemptsBody, responses=answers(404, 422))
def list_attempts(here: MayReadRuns, run: Run) -> Response:
    """Return the attempts that ended so far, also of a run that goes on."""
    return said({"attempts": [_brief(attempt) for attempt in here.stores.ledger.attempts(run)]})


@router.get("/{run}/attempts/{number}/attestation", response_model=AttestationBody, responses=answers(404, 422))
def get_attestation(here: MayReadRuns, run: Run, number: Number) -> Response:
    """Return what confined the cell of an attempt, fact by fact, as it was read back."""
    for attempt in here.stores.ledger.attempts(run):
        if attempt.number == number:
            attestation = to_document(attempt)["attestation"]
            return said({"attempt": number, "outcome": attempt.outcome, "attestation": attestation})
    raise NotThereError(f"no attempt {number} of this run has ended", hint="GET .../attempts lists those that have.")


@router.get("/{run}/usage", response_model=UsageBody, responses=answers(404, 422))
def get_usage(here: MayReadRuns, run: Run) -> Response:
    """Return what the attempts used over time, for plots; that of one under way, as far as it has come."""
    _, attempts, progress = standing_of(here, run)
    series = [{"attempt": one.number, "samples": one.usage.series} for one in attempts]
    if progress:
        series.append({"attempt": progress.attempt, "samples": progress.samples})
    return said({"attempts": series})


@router.get("/{run}/progress", response_model=RunProgressBody, responses=answers(404, 422))
def get_progress(here: MayReadRuns, run: Run) -> Response:
    """Return how far the attempt under way has come: its phase, its steps, what it uses."""
    summary, _, progress = standing_of(here, run)
    return said({"run_id": summary.run_id, "state": summary.state, "progress": progress})


@router.post("/{run}/cancel", status_code=202, response_model=CancelledBody, responses=answers(404, 409, 422))
def cancel(here: MayCancelRuns, run: Run) -> Response:
    """End a run that waits or runs; nothing of it is merged any more. 409 where it has ended before."""
    ledger = here.stores.ledger
    run_id = ledger.resolve(run)
    return said({"run_id": run_id, "ended": ledger.cancel(run_id, timestamp(here.service.clock.now()))}, 202)


@router.post("/{run}/rerun", status_code=202, response_model=SubmittedBody, responses=answers(404, 409, 413, 422))
def rerun(
    here: MaySubmitRuns, run: Run, body: AgainBody | None = None, idempotency_key: IdempotencyKey = None
) -> Response:
    """Run a recorded run again, from what was kept: the same package, policy, image and snapshot, and every step."""
    asked = body or AgainBody()
    run_id = submission.rerun(
        here.stores,
        run,
        here.service.clock,
        fresh_context=asked.fresh_context,
        priority=asked.priority,
        key=_key_of(asked, idempotency_key),
    )
    return accepted(here, run_id)


@router.post("/{run}/replay", status_code=202, response_model=SubmittedBody, responses=answers(404, 409, 413, 422))
def replay(
    here: MaySubmitRuns, run: Run, body: ReplayBody | None = None, idempotency_key: IdempotencyKey = None
) -> Response:
    """Run a finished run again from what was kept, and merge nothing; `diff` compares the two once it has ended."""
    asked = body or ReplayBody()
    recorded = result_of(here, run).run_id
    key = _key_of(asked, idempotency_key)
    run_id = submission.replay(here.stores, recorded, here.service.clock, priority=asked.priority, key=key)
    return accepted(here, run_id)


@router.get("/{run}/diff/{other}", response_model=ComparisonBody, responses=answers(404, 409, 422))
def diff(
    here: MayReadRuns,
    run: Run,
    other: Run,
    volatile: Annotated[list[str] | None, Query(max_length=100, description="What does not count, as globs.")] = None,
    tolerance: Annotated[float, Query(ge=0, lt=1, description="Numbers may differ by this share.")] = 0.0,
) -> Response:
    """Compare two finished runs: origin, outcome, steps, outputs, changes, artifacts, logs, usage."""
    asked = Leeway(volatile=tuple(volatile or ()), tolerance=tolerance)
    return said(compare(here.stores, result_of(here, run), result_of(here, other), asked))


def result_of(here: Here, run: str) -> Result:
    """Return a finished run's result; NotYetError where it has none."""
    summary = here.stores.ledger.summary(run)
    if summary.state != "finished":
        raise NotYetError(f"the run {summary.run_id} is {summary.state}, and has no result", hint="Ask again later.")
    return here.stores.ledger.get(summary.run_id)


def standing_of(here: Here, run: str) -> tuple[RunSummary, tuple[Attempt, ...], Progress | None]:
    """Return how a run is, its attempts that have ended, and how far that under way has come."""
    ledger = here.stores.ledger
    summary = ledger.summary(run)
    attempts = ledger.attempts(summary.run_id)
    goes_on = summary.state == "running"
    progress = here.stores.progress.of(summary.run_id, recorded=len(attempts)) if goes_on else None
    return summary, attempts, progress


def _brief(attempt: Attempt) -> dict[str, object]:
    document: dict[str, object] = {**to_document(attempt)}
    del document["attestation"]
    usage = document["usage"]
    assert isinstance(usage, dict)  # noqa: S101 - as the document of every attempt has it
    return {**document, "usage": {name: value for name, value in usage.items() if name != "series"}}
