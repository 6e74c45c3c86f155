"""The pages: runs, one run, the context, policies; and the door."""

from __future__ import annotations

from collections import deque
from datetime import datetime
from typing import Annotated

import psutil
from fastapi import APIRouter, Form, Header, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from isolation import submission
from isolation.batches import begun
from isolation.clock import timestamp
from isolation.comparison import compare
from isolation.errors import InputError, NoSuchKeyError
from isolation.model.event import LogLine
from isolation.model.outcome import Outcome
from isolation.model.policy import Policy
from isolation.model.recipe import Leeway
from isolation.model.run import RunState
from isolation.rules.retry import escalated
from isolation.rules.scope import matches
from isolation.sandbox.pool.pressure import read_pressure
from isolation.service.doorkeeper import is_of
from isolation.service.following import Cursor, page_of
from isolation.service.here import (
    Here,
    MayCancelRuns,
    MayReadContext,
    MayReadHost,
    MayReadRuns,
    MaySubmitRuns,
    service_of,
)
from isolation.service.page import shown
from isolation.service.page.pages import PageRoute, fragment, page
from isolation.service.refusals import CrossSiteError, ForbiddenError, UnauthenticatedError
from isolation.service.routes.batches import batch_of
from isolation.service.routes.logs import live
from isolation.service.routes.runs import result_of, standing_of
from isolation.service.sessions import COOKIE, LIFE_S

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_ENDED = {"finished", "abandoned"}
_ENOUGH = 286
"""The status by which htmx asks no more."""
_MOST_RUNS = 100
_MOST_KEYS = 1_000
_MOST_LINES = 2_000


@router.get("/login")
async def door(request: Request) -> Response:
    """Ask for a token."""
    return page(request, None, "login.html", wrong=False)


@router.post("/login")
async def come_in(request: Request, token: Annotated[str, Form(max_length=200)]) -> Response:
    """Take a token, once; from then on the browser has a cookie instead."""
    _check_from_here(request)
    try:
        cookie = await service_of(request).door.begin(request, token.strip())
    except UnauthenticatedError:
        return page(request, None, "login.html", 401, wrong=True)
    answer = RedirectResponse("/", 303)
    secure = request.url.scheme == "https"
    answer.set_cookie(COOKIE, cookie, int(LIFE_S), path="/", secure=secure, httponly=True, samesite="strict")
    return answer


@router.post("/logout")
async def leave(request: Request, here: MayReadRuns) -> Response:  # noqa: ARG001 - it asks for the page's own proof
    """Forget the browser."""
    service_of(request).door.sessions.end(request.cookies.get(COOKIE, ""))
    answer = Response(status_code=204, headers={"HX-Redirect": "/login"})
    answer.delete_cookie(COOKIE, path="/")
    return answer


@router.get("/")
def list_runs(
    request: Request,
    here: MayReadRuns,
    recipe: Annotated[str, Query(max_length=200)] = "",
    outcome: Annotated[str, Query(max_length=40)] = "",
    state: Annotated[str, Query(max_length=40)] = "",
    before: Annotated[str, Query(max_length=100)] = "",
) -> Response:
    """Show the runs, the newest first, or those before one."""
    found = here.stores.ledger.list(
        _MOST_RUNS + 1, recipe or None, _outcome(outcome), _state(state), before=before or None
    )
    return page(
        request,
        here,
        "run_rows.html" if _is_part(request) else "runs.html",
        runs=found[:_MOST_RUNS],
        more=len(found) > _MOST_RUNS,
        given={"recipe": recipe, "outcome": outcome, "state": state, "before": before},
        outcomes=[*Outcome],
        waiting=here.service.stores.queue.waiting().get(here.namespace, 0),
    )


@router.get("/runs/{run}")
def show_run(request: Request, here: MayReadRuns, run: str) -> Response:
    """Show one run: what became of it, attempt by attempt."""
    stores = here.stores
    summary, attempts, progress = standing_of(here, run)
    ended = summary.state in _ENDED
    result = stores.ledger.get(summary.run_id) if summary.state == "finished" else None
    policy = Policy.read(stores.blobs.get(summary.digests.policy))
    values = {} if _is_part(request) else _log_of(here, summary.run_id)
    return page(
        request,
        here,
        "run_body.html" if _is_part(request) else "run.html",
        _ENOUGH if ended and _is_part(request) else 200,
        run=summary,
        result=result,
        attempts=result.attempts if result else attempts,
        policy=policy,
        progress=progress,
        now_s=_seconds_since(here, progress.began_at) if progress else 0.0,
        limits_now=escalated(policy, [attempt.outcome for attempt in attempts]).limits,
        ended=ended,
        shown=shown,
        **values,
    )


@router.get("/runs/{run}/log")
async def follow_log(
    request: Request,
    here: MayReadRuns,
    run: str,
    cursor: Annotated[str, Query(max_length=40)],
    last_event_id: Annotated[str, Header(max_length=40)] = "",
) -> Response:
    """Send the lines of a log as the page has them, from a place on: server-sent events."""
    return await live(request, here, run, last_event_id or cursor, lambda line, _: fragment("line.html", line=line))


def _seconds_since(here: Here, at: str) -> float:
    return (here.service.clock.now() - datetime.fromisoformat(at)).total_seconds()


def _log_of(here: Here, run_id: str) -> dict[str, object]:
    """Return the end of what a run wrote so far, and where it goes on."""
    cursor, lines, cut = Cursor(), deque[LogLine](maxlen=_MOST_LINES), False
    while True:
        found = page_of(here.stores.logs, run_id, cursor, _MOST_LINES)
        cut = cut or len(lines) + len(found.lines) > _MOST_LINES
        lines.extend(line for line, _ in found.lines)
        cursor = found.after
        if not found.more:
            return {"lines": lines, "after": cursor, "cut": cut}


@router.post("/runs/{run}/cancel")
async def cancel_run(here: MayCancelRuns, run: str) -> Response:
    """End a run, and show it again."""
    await run_in_threadpool(here.stores.ledger.cancel, run, timestamp(here.service.clock.now()))
    return _to_run(here, run)


@router.post("/runs/{run}/rerun")
def rerun(here: MaySubmitRuns, run: str) -> Response:
    """Have a run made again from the record, and show that."""
    return _to_run(here, submission.rerun(here.stores, run, here.service.clock))


@router.post("/runs/{run}/replay")
def replay(here: MaySubmitRuns, run: str) -> Response:
    """Have a finished run made again without a merge, and show that."""
    recorded = result_of(here, run).run_id
    return _to_run(here, submission.replay(here.stores, recorded, here.service.clock))


@router.get("/runs/{run}/diff")
def show_diff(request: Request, here: MayReadRuns, run: str, other: Annotated[str, Query(max_length=100)]) -> Response:
    """Show what differs between two finished runs."""
    comparison = compare(here.stores, result_of(here, run), result_of(here, other), Leeway())
    return page(request, here, "diff.html", comparison=comparison)


@router.get("/batches")
def list_batches(request: Request, here: MayReadRuns, before: Annotated[str, Query(max_length=100)] = "") -> Response:
    """Show the batches, the last begun first."""
    found = begun(here.stores.ledger, _MOST_RUNS + 1, before or None)
    return page(request, here, "batches.html", batches=found[:_MOST_RUNS], more=len(found) > _MOST_RUNS, before=before)


@router.get("/batches/{key}")
def show_batch(
    request: Request, here: MayReadRuns, key: str, after: Annotated[int, Query(ge=0, le=2**53)] = 0
) -> Response:
    """Show how far a batch is."""
    batch = batch_of(here, key, after, _MOST_RUNS)
    template = "batch_body.html" if _is_part(request) else "batch.html"
    status = _ENOUGH if batch.ended and _is_part(request) else 200
    return page(request, here, template, status, batch=batch, after=after)


@router.get("/policies")
def show_policies(request: Request, here: MayReadRuns) -> Response:
    """Show the policies that runs of this namespace may have, each with its explained file."""
    known = here.service.policies
    found = [(name, known.get(name), known.text(name)) for name in known.names()]
    ours = [one for one in found if matches(here.namespace, one[1].namespaces)]
    return page(request, here, "policies.html", policies=ours)


@router.get("/host")
def show_host(request: Request, here: MayReadHost) -> Response:
    """Show how the server's host is, to whoever may see all namespaces of it."""
    if not here.token.covers(""):
        raise ForbiddenError(here.token, here.permission, "*")
    memory, load = psutil.virtual_memory(), psutil.getloadavg()
    return page(
        request,
        here,
        "host_body.html" if _is_part(request) else "host.html",
        pressure=read_pressure(),
        standing=here.service.standing(),
        memory=memory,
        load=load,
        cpus=psutil.cpu_count(),
        waiting=here.service.stores.queue.waiting(),
        disk=psutil.disk_usage(str(here.service.stores.folder)),
    )


@router.get("/context")
def list_context(request: Request, here: MayReadContext, glob: Annotated[str, Query(max_length=256)] = "*") -> Response:
    """Show what the context holds."""
    found = here.stores.contexts.page(glob or "*", "", _MOST_KEYS + 1)
    template = "context_rows.html" if _is_part(request) else "context.html"
    return page(request, here, template, entries=found[:_MOST_KEYS], more=len(found) > _MOST_KEYS, glob=glob)


@router.get("/context/history")
def show_history(request: Request, here: MayReadContext, key: Annotated[str, Query(max_length=256)]) -> Response:
    """Show what a key has held."""
    exactly = "".join(f"[{sign}]" if sign in "*?[" else sign for sign in key)
    entries = here.stores.contexts.history(exactly, 100)
    if not entries:
        raise NoSuchKeyError(key, "The context's page lists all.")
    return page(request, here, "history.html", key=key, entries=entries)


def _to_run(here: Here, run_id: str) -> Response:
    return Response(status_code=204, headers={"HX-Redirect": f"/runs/{run_id}?namespace={here.namespace}"})


def _is_part(request: Request) -> bool:
    """Tell whether the page's script asks, which has all but what changes."""
    return "HX-Request" in request.headers


def _outcome(name: str) -> Outcome | None:
    known = {outcome.value: outcome for outcome in Outcome}
    if name and name not in known:
        raise InputError(f"{name!r} is no outcome of a run", hint=f"Known: {', '.join(known)}.")
    return known.get(name)


def _state(name: str) -> RunState | None:
    known: dict[str, RunState] = {
        "queued": "queued",
        "running": "running",
        "finished": "finished",
        "abandoned": "abandoned",
    }
    if name and name not in known:
        raise InputError(f"{name!r} is no state of a run", hint=f"Known: {', '.join(known)}.")
    return known.get(name)


def _check_from_here(request: Request) -> None:
    """Refuse a form that another page sent: whoever comes in so would be somebody else than they think."""
    origin = request.headers.get("Origin", "")
    elsewhere = bool(origin) and not is_of(origin, request.headers.get("Host", ""))
    if request.headers.get("Sec-Fetch-Site", "cross-site" if elsewhere else "none") not in {"same-origin", "none"}:
        raise CrossSiteError
