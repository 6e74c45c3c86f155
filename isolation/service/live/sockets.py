"""
The server's socket.io: who connects with a token is told of what they subscribe to, and of nothing else.

::

    connect     auth {"token", "namespace", "keys"}, or an Authorization header; ``keys`` subscribe at once
    subscribe   {"keys": [globs], "since": version}     answered with {"version"}, or with a problem
    unsubscribe
    context_snapshot  {"values", "version"}             what the keys held when somebody subscribed without ``since``
    context_changed   {"key", "old_value", "new_value", "who", "timestamp", "version", "deleted", "run_id"}
    context_dump_complete  {"filename", "file_size", ...}

``context_updated`` and ``context_dumped`` are the same events by Framework0's names: a program listens to either.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any

import socketio
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from isolation.errors import InputError, IsolationError
from isolation.model.access import Permission
from isolation.rules.scope import matches
from isolation.service.findings import said_of
from isolation.service.live.feed import Feed
from isolation.service.problems import code_of
from isolation.service.routes.ctx import told_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from isolation.context.store import ContextStore
    from isolation.service.doorkeeper import Doorkeeper, Seen
    from isolation.service.live.feed import Change
    from isolation.stores import Stores

_CHANGED = ("context_changed", "context_updated")
_DUMPED = ("context_dump_complete", "context_dumped")
MOST_BEHIND = 256
"""So many events are sent ahead of who takes them; the others wait in the history."""
SEND_S = 60.0
"""Who takes nothing for so long has gone."""
_LOOK_S = 1.0
_Glob = Annotated[str, Field(min_length=1, max_length=256)]
_NAMESPACE = r"^[a-z0-9][a-z0-9._-]{0,63}$"


class _Wanted(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: list[_Glob] = Field(default=["*"], max_length=100)
    since: int | None = Field(None, ge=0, le=2**53)


class _Auth(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    token: str | None = Field(None, max_length=200)
    namespace: str | None = Field(None, pattern=_NAMESPACE)
    keys: list[_Glob] | None = Field(None, max_length=100)


@dataclass(frozen=True, slots=True)
class _Connected:
    seen: Seen
    engine_id: str


class Sockets:
    """The socket.io server of one service; ``changed`` and ``dumped`` may be called from any thread."""

    def __init__(self, door: Doorkeeper, stores: Stores) -> None:
        self._door = door
        self._stores = stores
        self._loop: asyncio.AbstractEventLoop | None = None
        self._feeds: dict[str, Feed] = {}
        self._connected: dict[str, _Connected] = {}
        self._watch: asyncio.Task[None] | None = None

    @cached_property
    def server(self) -> socketio.AsyncServer:
        """The server, whose only origin is its own."""
        server = socketio.AsyncServer(async_mode="asgi", max_http_buffer_size=100_000, serializer="default")
        server.on("connect", self._connect)
        server.on("disconnect", self._disconnect)
        server.on("subscribe", self._subscribe)
        server.on("unsubscribe", self._unsubscribe)
        server.on("*", self._unknown)
        return server

    def changed(self, namespaces: Iterable[str]) -> None:
        """Say that the contexts of some namespaces have changed."""
        if self._loop is not None:
            for namespace in namespaces:
                self._loop.call_soon_threadsafe(self._wake, namespace)

    def dumped(self, namespace: str, dump: Mapping[str, object]) -> None:
        """Say that a dump is there."""
        if self._loop is not None:
            asyncio.run_coroutine_threadsafe(self._tell_of_dump(namespace, dump), self._loop)

    def _wake(self, namespace: str) -> None:
        feed = self._feeds.get(namespace)
        if feed is not None:
            feed.wake()

    async def _connect(self, sid: str, environ: Mapping[str, Any], auth: object = None) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            given = _Auth.model_validate(auth or {})
            request = HTTPConnection(environ["asgi.scope"])
            seen = await self._door.admit(request, Permission.READ_CONTEXT, given.namespace, secret=given.token)
        except ValidationError as error:
            raise ConnectionRefusedError(_said(_wrong(error))) from error
        except IsolationError as error:
            raise ConnectionRefusedError(_said(error)) from error
        self._connected[sid] = _Connected(seen, self.server.manager.eio_sid_from_sid(sid, "/"))
        if self._watch is None:
            self._watch = asyncio.create_task(self._watch_over(), name="sockets")
        if given.keys is not None:
            await self._follow(sid, _Wanted(keys=given.keys))

    async def _disconnect(self, sid: str, *_: object) -> None:
        connected = self._connected.pop(sid, None)
        if connected is not None:
            self._leave(sid, connected)
        if not self._connected and self._watch is not None:
            self._watch.cancel()
            self._watch = None

    async def _subscribe(self, sid: str, wanted: object = None) -> dict[str, object]:
        try:
            return {"version": await self._follow(sid, _Wanted.model_validate(wanted or {}))}
        except ValidationError as error:
            return _said(_wrong(error))
        except IsolationError as error:
            return _said(error)

    async def _unsubscribe(self, sid: str, *_: object) -> None:
        if sid in self._connected:
            self._leave(sid, self._connected[sid])

    async def _unknown(self, event: str, _sid: str, *_: object) -> dict[str, object]:
        """Answer who waits for an answer to an event that nobody knows."""
        return _said(InputError(f"there is no event {event[:100]!r}", hint="Send subscribe or unsubscribe."))

    async def _follow(self, sid: str, wanted: _Wanted) -> int:
        namespace = self._connected[sid].seen.namespace
        contexts = self._stores.within(namespace).contexts

        async def greet(sid: str, globs: Sequence[str], version: int) -> None:
            values = await run_in_threadpool(_values, contexts, globs, version)
            await self.server.emit("context_snapshot", {"values": values, "version": version}, to=sid)

        feed = self._feeds.setdefault(namespace, Feed(contexts, self._tell, greet, self._has_room))
        return await feed.subscribe(sid, wanted.keys, wanted.since)

    def _leave(self, sid: str, connected: _Connected) -> None:
        namespace = connected.seen.namespace
        feed = self._feeds.get(namespace)
        if feed is not None:
            feed.unsubscribe(sid)
            if not len(feed):
                del self._feeds[namespace]

    async def _tell(self, sid: str, change: Change) -> None:
        told = told_of(*change)
        for event in _CHANGED:
            await self.server.emit(event, told, to=sid)

    def _has_room(self, sid: str) -> bool:
        """Tell whether somebody has taken nearly all that was sent."""
        connected = self._connected.get(sid)
        socket = self.server.eio.sockets.get(connected.engine_id) if connected else None
        return socket is not None and int(socket.queue.qsize()) < MOST_BEHIND

    async def _tell_of_dump(self, namespace: str, dump: Mapping[str, object]) -> None:
        for sid, connected in [*self._connected.items()]:
            if connected.seen.namespace == namespace:
                for event in _DUMPED:
                    await self.server.emit(event, dict(dump), to=sid)

    async def _watch_over(self) -> None:
        """End the connections of tokens that count no more."""
        while True:
            await asyncio.sleep(_LOOK_S)
            for sid, connected in [*self._connected.items()]:
                if not await self._door.counts(connected.seen.token):
                    await self._cut_off(sid)

    async def _cut_off(self, sid: str) -> None:
        connected = self._connected.get(sid)
        if connected is not None:
            self._leave(sid, connected)
            with suppress(KeyError):  # it went by itself
                await self.server.disconnect(sid)


def _values(contexts: ContextStore, globs: Sequence[str], version: int) -> dict[str, object]:
    found = contexts.list("*", version)
    return {entry.key: entry.value for entry in found if matches(entry.key, globs)}


def _wrong(error: ValidationError) -> InputError:
    said = said_of([{**one, "loc": ("message", *one["loc"])} for one in error.errors()])
    return InputError(said, hint='Send {"keys": [globs], "since": version}.')


def _said(error: IsolationError) -> dict[str, object]:
    return {"code": code_of(type(error)), "detail": error.sentence, "hint": error.hint}


def bounded(app: ASGIApp) -> ASGIApp:
    """Give up a websocket whose other side takes nothing: else it is held, and what was sent, until they go."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        async def within(message: Message) -> None:
            async with asyncio.timeout(SEND_S):
                await send(message)

        await app(scope, receive, within if scope["type"] == "websocket" else send)

    return serve
