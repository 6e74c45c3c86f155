"""
How bodies are read: of those alone whose token counts, and so that nobody waits meanwhile.

Everybody is served by one thread, which a parser in C holds until it has ended, in whichever thread that is: for 4 MiB
of small values half a second. What is not small is read in another, by a parser that lets go again and again.
"""

from __future__ import annotations

import json
from json import scanner
from typing import TYPE_CHECKING, Any

from anyio import CapacityLimiter
from fastapi import Request
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from isolation.service.here import service_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from starlette.responses import Response
    from starlette.types import Message

SMALL_BYTES = 2**16
"""What is no larger takes a few milliseconds, whatever it holds."""
MOST_AT_ONCE = 2
"""So many large ones are read at once, in memory many times as large: more would be no sooner, and leave no thread."""
_WITHOUT_BODY = {"GET", "HEAD"}
_ROOM = CapacityLimiter(MOST_AT_ONCE)


class BodyRoute(APIRoute):
    """A route that takes JSON."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the route's own handler, which reads the body before it asks who sent it."""
        handle = super().get_route_handler()
        if (self.methods or set()) <= _WITHOUT_BODY:
            return handle

        async def listen(request: Request) -> Response:
            known = await service_of(request).door.who(request) is not None
            return await handle(_Request(request.scope, request.receive if known else _nothing))

        return listen


class _Request(Request):
    async def json(self) -> Any:  # noqa: ANN401 - as it is declared there
        body = await self.body()
        self.state.large = len(body) > SMALL_BYTES
        return await parsed(body)


async def parsed(text: str | bytes, parse_constant: Callable[[str], object] | None = None) -> Any:  # noqa: ANN401 - any JSON
    """Read JSON, as ``json.loads`` does; raises ValueError for what is none, RecursionError for what is too deep."""
    if len(text) <= SMALL_BYTES:
        return json.loads(text, parse_constant=parse_constant)
    async with _ROOM:
        return await run_in_threadpool(_parsed_in_python, text, parse_constant)


def _parsed_in_python(text: str | bytes, parse_constant: Callable[[str], object] | None) -> object:
    if isinstance(text, bytes):
        text = text.decode(json.detect_encoding(text), "surrogatepass")
    decoder = json.JSONDecoder(parse_constant=parse_constant)
    decoder.scan_once = scanner.py_make_scanner(decoder)  # type: ignore[attr-defined]  # what json has where it lacks C
    return decoder.decode(text)


async def _nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}
