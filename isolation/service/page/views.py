"""The pages: runs, one run, the context, policies; and the door."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

import psutil
from fastapi import APIRouter, Form, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from isolation import submission
from isolation.clock import timestamp
from isolation.comparison import compare
from isolation.errors import InputError, NoSuchKeyError
from isolation.model.outcome import Outcome
from isolation.model.policy import Policy
from isolation.model.recipe import Leeway
from isolation.model.run import RunState
from isolation.rules.scope import matches
from isolation.sandbox.pool.pressure import read_pressure
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
from isolation.service.page.pages import PageRoute, page
from isolation.service.refusals import CrossSiteError, ForbiddenError
from isolation.service.routes.runs import result_of
from isolation.service.sessions import COOKIE, LIFE_S
from isolation.storage.tokens import digest_of_token

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_ENDED = {"finished", "abandoned"}
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
    keeper = service_of(request).door
    if await keeper.token_of(token.strip()) is None:
        return page(request, None, "login.html", 401, wrong=True)
    answer = RedirectResponse("/", 303)
    cookie = keeper.sessions.begin(digest_of_token(token.strip()))
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
) -> Response:
    """Show the runs, the newest first."""
    found = here.stores.ledger.list(
        _MOST_RUNS, recipe or None, Outcome(outcome) if outcome in [*Outcome] else None, _state(state)
    )
    return page(
        request,
        here,
        "run_rows.html" if _is_part(request) else "runs.html",
        runs=found,
        given={"recipe": recipe, "outcome": outcome, "state": state},
        outcomes=[*Outcome],
        waiting=here.service.stores.queue.waiting().get(here.namespace, 0),
    )


@router.get("/runs/{run}")
def show_run(request: Request, here: MayReadRuns, run: str) -> Response:
    """Show one run: what became of it, attempt by attempt."""
    stores = here.stores
    summary = stores.ledger.summary(run)
    attempts = stores.ledger.attempts(summary.run_id)
    result = stores.ledger.get(summary.run_id) if summary.state == "finished" else None
    policy = Policy.read(stores.blobs.get(summary.digests.policy))
    lines = list(stores.logs.read(summary.run_id))[-_MOST_LINES:]
    return page(
        request,
        here,
        "run_body.html" if _is_part(request) else "run.html",
        run=summary,
        result=result,
        attempts=result.attempts if result else attempts,
        policy=policy,
        lines=lines,
        ended=summary.state in _ENDED,
        steps_of=shown.steps_of,
        bill_of=shown.bill_of,
        figures_of=shown.figures_of,
        plots_of=shown.plots_of,
        document=shown.document,
    )


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
    elsewhere = bool(origin) and urlsplit(origin).netloc != request.headers.get("Host", "")
    if request.headers.get("Sec-Fetch-Site", "cross-site" if elsewhere else "none") not in {"same-origin", "none"}:
        raise CrossSiteError
