"""The context for shells: values as plain text, so that nobody there has to read or write JSON."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import JsonValue
from starlette.responses import PlainTextResponse, Response

from isolation.errors import ContextError, NoSuchKeyError
from isolation.model.changes import Changes, HistoryFilter
from isolation.rules.escape import escape, escape_json
from isolation.service.here import MayReadContext, MayWriteContext
from isolation.service.problems import answers
from isolation.service.reading import SMALL_BYTES, parsed
from isolation.service.routes.context import Glob, Key, Limit, write

router = APIRouter(prefix="/v1/context/text", tags=["text"])


class Form(StrEnum):
    """``plain``: a text as it is, all else as JSON; ``json``: always JSON."""

    PLAIN = "plain"
    JSON = "json"


@router.get("", response_class=PlainTextResponse, responses=answers(404, 422))
async def get_text(
    here: MayReadContext, key: Key, form: Annotated[Form, Query(alias="format")] = Form.PLAIN
) -> Response:
    """Return what a key holds."""
    entry = await asyncio.wrap_future(here.service.contexts.get(here.namespace, key))
    if entry is None:
        raise NoSuchKeyError(key, "`list` shows all.")
    return PlainTextResponse(_written(entry.value, form))


@router.put(
    "",
    response_class=PlainTextResponse,
    responses=answers(413, 422),
    openapi_extra={"requestBody": {"content": {"text/plain": {"schema": {}}}}},  # whatever it is
)
async def set_text(
    here: MayWriteContext,
    request: Request,
    key: Key,
    who: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """Write the body: as JSON if it is JSON, else as a text; durable when this answers with the key's version."""
    body = await request.body()
    here = replace(here, large=len(body) > SMALL_BYTES)
    (entry,) = await write(here, Changes(set={key: await _read(body)}), who)
    return PlainTextResponse(f"{entry.version}\n")


@router.get("/all", response_class=PlainTextResponse, responses=answers(422))
def get_all(
    here: MayReadContext, glob: Glob = "*", form: Annotated[Form, Query(alias="format")] = Form.PLAIN
) -> Response:
    """Return what the keys under a glob hold: one object, or a line for each key."""
    found = here.stores.contexts.list(glob)
    if form is Form.JSON:
        return PlainTextResponse(_written({entry.key: entry.value for entry in found}, form))
    return PlainTextResponse("".join(f"{entry.key}={_line(entry.value)}\n" for entry in found))


@router.get("/history", response_class=PlainTextResponse, responses=answers(422))
def get_history(here: MayReadContext, glob: Glob = "*", limit: Limit = 100) -> Response:
    """Return the newest writes, the newest first, a line for each: version, moment, who, key, value."""
    found = here.stores.contexts.history(glob, limit, HistoryFilter())
    lines: list[str] = []
    for entry in found:
        what = "deleted" if entry.deleted else _line(entry.value)
        lines.append(f"{entry.version}\t{entry.at}\t{escape(entry.who)}\t{entry.key}\t{what}\n")
    return PlainTextResponse("".join(lines))


async def _read(body: bytes) -> JsonValue:
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise ContextError("this value is no text in UTF-8", hint="Keep what is no text as an artifact.") from error
    try:
        value: JsonValue = await parsed(text, _refuse)  # which JSON does not have, and Python reads
    except ValueError:
        return text
    except RecursionError as error:
        raise ContextError("this value is nested too deeply", hint="Keep large data as an artifact.") from error
    return value


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _written(value: JsonValue, form: Form) -> str:
    if form is Form.PLAIN and isinstance(value, str):
        return f"{value}\n"
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"


def _line(value: JsonValue) -> str:
    return escape(value) if isinstance(value, str) else escape_json(json.dumps(value, ensure_ascii=False))
