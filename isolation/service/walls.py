"""What stands before every route: bodies are bounded, in size and in time, and answers say how they may be used."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from isolation.service.refusals import TooLargeError, TooSlowError
from isolation.units import format_bytes

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_BODY_BYTES = 4 * 2**20
LARGEST_BLOB_BYTES = 64 * 2**20
"""A blob is written to the disk as it comes; every other body is read in memory, and may hold a great many values."""
_BLOBS = "/v1/blobs/"
_DOOR, _DOOR_BYTES = "/login", 4096
BODY_S = 30.0
"""A body has to be there in this time, however slowly its sender sends."""
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]


class Walls:
    """An ASGI application around another."""

    def __init__(self, app: ASGIApp, *, largest_bytes: int = LARGEST_BODY_BYTES, body_s: float = BODY_S) -> None:
        self._app = app
        self._largest_bytes = largest_bytes
        self._body_s = body_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or whatever else the server wants served."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                known = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(one for one in _HEADERS if one[0] not in known)]
            await send(message)

        body = within(receive, self._most_bytes(scope["path"]), self._body_s)
        await self._app(scope, body, with_headers)

    def _most_bytes(self, path: str) -> int:
        if path.startswith(_BLOBS):
            return LARGEST_BLOB_BYTES
        return min(self._largest_bytes, _DOOR_BYTES) if path == _DOOR else self._largest_bytes


def within(receive: Receive, most_bytes: int, body_s: float) -> Receive:
    """Receive a body in its bounds, of size and time; raises TooLargeError or TooSlowError at the first beyond."""
    left = most_bytes
    until_s: float | None = None
    whole = False

    async def bounded() -> Message:
        nonlocal left, until_s, whole
        if whole:  # what comes now is that the other side went away, whenever it does
            return await receive()
        loop = asyncio.get_running_loop()
        until_s = loop.time() + body_s if until_s is None else until_s
        try:
            async with asyncio.timeout_at(until_s):
                message = await receive()
        except TimeoutError as error:
            raise TooSlowError(f"the body was not there after {body_s:g} s") from error
        left -= len(message.get("body", b""))
        whole = not message.get("more_body", False)
        if left < 0:
            raise TooLargeError(
                f"the body is larger than {format_bytes(most_bytes)}",
                hint="Send less at once; large files of a package as blobs.",
            )
        return message

    return bounded
