"""The shared context: read, written, and looked back on."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from isolation.context.writing import Order
from isolation.errors import ContextError, NoSuchKeyError
from isolation.model.changes import Changes, Entry, HistoryFilter
from isolation.service.bodies import ChangesBody, EntriesBody, EntryBody, HistoryBody, ValueBody, WrittenBody, said
from isolation.service.here import Here, MayReadContext, MayWriteContext
from isolation.service.problems import answers
from isolation.service.reading import BodyRoute

router = APIRouter(prefix="/v1/context", route_class=BodyRoute, tags=["context"])

MOST_A_PAGE = 1_000
Key = Annotated[str, Query(min_length=1, max_length=256, description="The key, as it is.")]
Glob = Annotated[str, Query(max_length=256, description="Which keys, such as `sales.*`.")]
Limit = Annotated[int, Query(ge=1, le=MOST_A_PAGE, description="At most so many.")]
Version = Annotated[int | None, Query(ge=0, le=2**53, description="As it was when the context had this version.")]
Expected = Annotated[int | None, Query(ge=0, le=2**53, description="Only if the key's newest version is this.")]
Moment = Annotated[str | None, Query(max_length=40, pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")]


@router.get("", response_model=EntriesBody, responses=answers(422))
def list_entries(
    here: MayReadContext,
    glob: Glob = "*",
    version: Version = None,
    after: Annotated[str | None, Query(max_length=256, description="Go on after this key.")] = None,
    limit: Limit = MOST_A_PAGE,
) -> Response:
    """Return what the keys under a glob hold, sorted by key."""
    found = here.stores.contexts.page(glob, after or "", limit + 1, version)
    page = found[:limit]
    return said({"entries": page, "next": page[-1].key if len(found) > limit else None})


@router.get("/entry", response_model=EntryBody, responses=answers(404, 422))
async def get_entry(here: MayReadContext, key: Key, version: Version = None) -> Response:
    """Return what a key holds, now or when the context had a version."""
    if version is None:
        entry = await asyncio.wrap_future(here.service.contexts.get(here.namespace, key))
    else:
        entry = await run_in_threadpool(here.stores.contexts.get, key, version)
    if entry is None:
        raise NoSuchKeyError(key, "GET /v1/context lists all.")
    return said(entry)


@router.put("/entry", response_model=EntryBody, responses=answers(409, 413, 422))
async def set_entry(here: MayWriteContext, key: Key, body: ValueBody) -> Response:
    """Write a value, durable when this answers: whatever was there, or only if that is at a version."""
    expected = {} if body.if_version is None else {key: body.if_version}
    (entry,) = await write(here, Changes(set={key: body.value}), body.who, expected)
    return said(entry)


@router.delete("/entry", response_model=EntryBody, responses=answers(404, 409, 422))
async def delete_entry(
    here: MayWriteContext,
    key: Key,
    who: Annotated[str | None, Query(max_length=200)] = None,
    if_version: Expected = None,
) -> Response:
    """Delete a key; its history stays."""
    expected = {} if if_version is None else {key: if_version}
    (entry,) = await write(here, Changes(deleted=(key,)), who, expected)
    return said(entry)


@router.post("/changes", response_model=WrittenBody, responses=answers(404, 409, 413, 422))
async def change(here: MayWriteContext, body: ChangesBody) -> Response:
    """Write and delete several keys in one transaction: all of it, or none."""
    changes = Changes(set=body.set, deleted=tuple(sorted({*body.delete})), writers=body.writers)
    twice = sorted({*changes.set} & {*changes.deleted})
    if twice:
        raise ContextError(f"the key {twice[0]!r} is both set and deleted", hint="Say one of both.")
    if not changes:
        raise ContextError("there is nothing to change", hint="Say what, in `set` and `delete`.")
    entries = await write(here, changes, body.who, body.expected, body.version)
    return said({"version": entries[-1].version, "entries": entries})


@router.get("/history", response_model=HistoryBody, responses=answers(422))
def history(
    here: MayReadContext,
    glob: Glob = "*",
    who: Annotated[str | None, Query(max_length=200, description="Only what this one wrote.")] = None,
    run_id: Annotated[str | None, Query(max_length=100, description="Only what this run merged.")] = None,
    since: Moment = None,
    until: Moment = None,
    before: Annotated[int | None, Query(ge=0, le=2**53, description="Go on before this version.")] = None,
    limit: Limit = 100,
    replaced: Annotated[bool, Query(description="Tell what each replaced, too.")] = False,  # noqa: FBT002 - by name
) -> Response:
    """Return the writes, the newest first, deletions included."""
    filters = HistoryFilter(who=who, run_id=run_id, since=since, until=until, before=before)
    contexts = here.stores.contexts
    found = contexts.history(glob, limit, filters)
    told = [_with_before(*one) for one in zip(found, contexts.before(found), strict=True)] if replaced else found
    return said({"entries": told, "next": str(found[-1].version) if len(found) == limit else None})


async def write(
    here: Here,
    changes: Changes,
    who: str | None,
    expected: dict[str, int] | None = None,
    version: int | None = None,
) -> tuple[Entry, ...]:
    """Have changes written, and wait until they are durable."""
    order = Order(changes=changes, who=who or here.token.name, expected=expected or {}, version=version)
    ask = here.service.contexts.change  # which checks them first
    asked = await run_in_threadpool(ask, here.namespace, order) if here.large else ask(here.namespace, order)
    return await asyncio.wrap_future(asked)


def _with_before(entry: Entry, before: Entry | None) -> dict[str, object]:
    return {**asdict(entry), "existed": before is not None, "before": before.value if before else None}
