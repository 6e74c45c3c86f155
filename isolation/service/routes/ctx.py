"""The context in Framework0's own words: its routes, as whoever has programs for them expects, with our errors."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AliasChoices, BaseModel, Field, JsonValue
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from isolation.context.dumping import Format
from isolation.errors import NoSuchKeyError
from isolation.model.changes import Changes, Entry, HistoryFilter
from isolation.service.bodies import Body, DumpBody, DumpsBody, NewDumpBody, Value, said
from isolation.service.here import MayReadContext, MayWriteContext
from isolation.service.problems import answers
from isolation.service.reading import BodyRoute
from isolation.service.routes import dumps
from isolation.service.routes.context import MOST_A_PAGE, Key, Limit, write

router = APIRouter(prefix="/ctx", route_class=BodyRoute, tags=["ctx"])


class CtxValue(BaseModel):
    """What a key holds."""

    key: str
    value: JsonValue


class CtxSet(Body):
    """A value to be written."""

    key: Annotated[str, Field(min_length=1, max_length=256)]
    value: Value
    who: Annotated[str, Field(max_length=200)] | None = None


class CtxWritten(CtxValue):
    """What was written, durable by now."""

    status: str = "ok"
    who: str
    timestamp: str
    version: int


class CtxAll(BaseModel):
    """What all keys hold."""

    context: dict[str, JsonValue]


class CtxWrite(BaseModel):
    """One write: ``old_value`` is null where there was nothing, ``new_value`` where it deleted."""

    key: str
    old_value: JsonValue
    new_value: JsonValue
    deleted: bool
    who: str
    timestamp: str
    version: int
    run_id: str | None


class CtxHistory(BaseModel):
    """The newest writes, the oldest of them first."""

    history: list[CtxWrite]


class CtxDump(NewDumpBody):
    """A dump to be written."""

    format: Format = Field(Format.JSON, validation_alias=AliasChoices("format", "format_type"))


@router.get("", response_model=CtxValue, responses=answers(404, 422))
async def get_value(here: MayReadContext, key: Key) -> Response:
    """Return what a key holds."""
    entry = await asyncio.wrap_future(here.service.contexts.get(here.namespace, key))
    if entry is None:
        raise NoSuchKeyError(key, "GET /ctx/all has all.")
    return said({"key": key, "value": entry.value})


@router.post("", response_model=CtxWritten, responses=answers(413, 422))
async def set_value(here: MayWriteContext, body: CtxSet) -> Response:
    """Write a value, durable when this answers."""
    (entry,) = await write(here, Changes(set={body.key: body.value}), body.who)
    told = {"status": "ok", "key": entry.key, "value": entry.value, "who": entry.who}
    return said(told | {"timestamp": entry.at, "version": entry.version})


@router.get("/all", response_model=CtxAll, responses=answers(422))
async def get_all(here: MayReadContext) -> Response:
    """Return what all keys hold."""
    found = await run_in_threadpool(here.stores.contexts.list)
    return said({"context": {entry.key: entry.value for entry in found}})


@router.get("/history", response_model=CtxHistory, responses=answers(422))
def history(
    here: MayReadContext,
    key: Annotated[str, Query(max_length=256, description="A key, or a glob.")] = "*",
    who: Annotated[str | None, Query(max_length=200, description="Only what this one wrote.")] = None,
    limit: Limit = MOST_A_PAGE,
) -> Response:
    """Return the newest writes, the oldest of them first."""
    contexts = here.stores.contexts
    found = contexts.history(key, limit, HistoryFilter(who=who))
    told = [told_of(*one) for one in zip(found, contexts.before(found), strict=True)]
    return said({"history": told[::-1]})


@router.post("/dump", response_model=DumpBody, responses=answers(413, 422))
def write_dump(here: MayWriteContext, body: CtxDump) -> Response:
    """Write the context as it is now to a file on the server; one of that name is replaced."""
    return said(dumps.write(here, body))


@router.get("/dump/list", response_model=DumpsBody, responses=answers(422))
def list_dumps(here: MayReadContext) -> Response:
    """Return the dumps that there are, the newest first."""
    return said({"dump_files": here.stores.dumps.list()})


@router.get("/dump/{filename}", response_class=StreamingResponse, responses=answers(404, 422) | dumps.FILE)
def get_dump(here: MayReadContext, filename: dumps.Filename) -> Response:
    """Return a dump."""
    return dumps.sent(here, filename)


def told_of(entry: Entry, before: Entry | None) -> dict[str, object]:
    """Tell of a write as Framework0 does: with what it replaced."""
    return {
        "key": entry.key,
        "old_value": before.value if before else None,
        "new_value": entry.value,
        "deleted": entry.deleted,
        "who": entry.who,
        "timestamp": entry.at,
        "version": entry.version,
        "run_id": entry.run_id,
    }
