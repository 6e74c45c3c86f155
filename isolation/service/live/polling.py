"""
Who speaks socket.io by requests: before the application's walls, and before anybody asks for a token.

Its library makes something of whoever comes, keeps it for most of a minute, and waits for a body without end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from isolation.errors import AccessError
from isolation.service.problems import RETRY_S, answer, answer_to
from isolation.service.walls import within

if TYPE_CHECKING:
    from socketio import AsyncServer
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_OF_ONE = 500
"""So many sessions may one address have, and twice as many all together."""
_PATH = "/socket.io"


def polled(app: ASGIApp, server: AsyncServer, *, patience_s: float) -> ASGIApp:
    """Bound, in an application, what is asked of ``server``: how many sessions, and the time for a body to come."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(_PATH):
            await app(scope, receive, send)
            return
        if b"sid=" not in scope["query_string"] and _is_full(server, scope):
            await _full()(scope, receive, send)
            return
        try:
            body = await _whole(within(receive, server.eio.max_http_buffer_size, patience_s))
        except AccessError as error:
            await answer_to(error)(scope, receive, send)
            return

        async def again() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        await app(scope, again, send)

    return serve


async def _whole(receive: Receive) -> bytes:
    body: bytes = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return body


def _is_full(server: AsyncServer, scope: Scope) -> bool:
    """Tell whether there are as many sessions as may be, of all or of who asks."""
    addresses = [_address(environ["asgi.scope"]) for environ in server.environ.values()]
    return len(addresses) >= 2 * MOST_OF_ONE or addresses.count(_address(scope)) >= MOST_OF_ONE


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


def _full() -> ASGIApp:
    hint = f"End what is not used, or try again in {RETRY_S} s."
    headers = {"Retry-After": str(RETRY_S)}
    return answer(503, "too_many_connections", "too many sessions of socket.io are open already", hint, headers)
