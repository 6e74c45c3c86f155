"""What runs wrote: page by page, and live."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Header, Query, Request
from sse_starlette.event import ServerSentEvent
from sse_starlette.sse import EventSourceResponse
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from isolation.model.access import Permission
from isolation.service.bodies import said
from isolation.service.following import Cursor, Page, page_of
from isolation.service.here import Here, MayReadRuns
from isolation.service.problems import answers
from isolation.service.routes.runs import Run
from isolation.service.run_bodies import LogBody

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from isolation.model.event import LogLine
    from isolation.model.run import RunSummary

    Write = Callable[[LogLine, Cursor], str]

router = APIRouter(prefix="/v1/runs", tags=["logs"])

MOST_A_PAGE = 1_000
_LOOK_AGAIN_S = 0.25
_SLOWEST_S = 30
"""Whoever takes longer to read what was sent is cut off."""
_EVENTS = {
    "description": "`line`: a line, whose id is where to go on; `end`: the run has ended, with its outcome.",
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}


@router.get("/{run}/logs", response_model=LogBody, responses=answers(404, 422))
def read_log(
    here: MayReadRuns,
    run: Run,
    cursor: Annotated[str | None, Query(max_length=40, description="Go on here, as `next` says.")] = None,
    attempt: Annotated[int | None, Query(ge=1, le=10_000, description="Only of this attempt.")] = None,
    step: Annotated[str | None, Query(max_length=100, description="Only what this step wrote.")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_A_PAGE, description="Look at so many lines.")] = MOST_A_PAGE,
) -> Response:
    """Return what a run wrote, its attempts one after the other; with `step` a page may be empty and not the last."""
    run_id = here.stores.ledger.resolve(run)
    start = Cursor.read(cursor) if cursor is not None else Cursor(attempt or 1)
    page = page_of(here.stores.logs, run_id, start, limit, only=attempt is not None)
    lines = [_document(line, after) for line, after in page.lines if step is None or line.step == step]
    return said({"lines": lines, "next": str(page.after), "more": page.more})


@router.get("/{run}/logs/live", response_class=EventSourceResponse, responses={**answers(404, 422), 200: _EVENTS})
async def follow_log(
    request: Request,
    here: MayReadRuns,
    run: Run,
    cursor: Annotated[str | None, Query(max_length=40, description="Begin here, as `next` of a page says.")] = None,
    last_event_id: Annotated[str | None, Header(max_length=40, description="Go on after this one.")] = None,
) -> Response:
    """Send what a run wrote and writes, over all its attempts, until it has ended: server-sent events."""
    return await live(request, here, run, last_event_id or cursor, lambda *line: json.dumps(_document(*line)))


async def live(request: Request, here: Here, run: str, after: str | None, write: Write) -> Response:
    """Send a run's log from a place on, each line as ``write`` has it; errors that are known by now are raised."""
    run_id = await run_in_threadpool(here.stores.ledger.resolve, run)
    start = Cursor.read(after) if after else Cursor()
    await run_in_threadpool(_look, here, run_id, start)
    return EventSourceResponse(_events(request, here, run_id, start, write), send_timeout=_SLOWEST_S)


async def _events(
    request: Request, here: Here, run_id: str, cursor: Cursor, write: Write
) -> AsyncIterator[ServerSentEvent]:
    while await _may_still(request, here):
        summary, page = await run_in_threadpool(_look, here, run_id, cursor)
        cursor = page.after
        for line, after in page.lines:
            yield ServerSentEvent(write(line, after), event="line", id=str(after))
        if summary.state in {"finished", "abandoned"} and not page.lines:
            outcome = summary.outcome.value if summary.outcome else None
            end = {"run_id": run_id, "state": summary.state, "outcome": outcome}
            yield ServerSentEvent(json.dumps(end), event="end", id=str(cursor))
            return
        if not page.lines:
            await asyncio.sleep(_LOOK_AGAIN_S)


async def _may_still(request: Request, here: Here) -> bool:
    """Tell whether the token still counts: it may be revoked while somebody listens."""
    token = await here.service.door.who(request)
    return token is not None and token.may(Permission.READ_RUNS, here.namespace)


def _look(here: Here, run_id: str, cursor: Cursor) -> tuple[RunSummary, Page]:
    summary = here.stores.ledger.summary(run_id)  # first: nothing is written any more after its end
    return summary, page_of(here.stores.logs, run_id, cursor, MOST_A_PAGE)


def _document(line: LogLine, after: Cursor) -> dict[str, object]:
    return {"attempt": after.attempt, **asdict(line)}
