"""
The changes of one namespace's context, in order, to all who asked for some of them.

There is one source, the history: whatever any process wrote is read there, each version once and in its order. Who
writes in this process wakes the feed; what others write is found by looking, ten times a second. Nothing is kept for
who is slow, or was away: they catch up from the history, as fast as they take it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool

from isolation.errors import StorageError
from isolation.rules.scope import matches

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from isolation.context.store import ContextStore
    from isolation.model.changes import Entry

    Change = tuple[Entry, Entry | None]
    """A write, and what its key held before it."""
    Tell = Callable[[str, "Change"], Awaitable[None]]
    Greet = Callable[[str, Sequence[str], int], Awaitable[None]]

LOOK_S = 0.1
_CATCHING_UP_S = 0.005
_MOST_A_LOOK = 500
_MOST_CAUGHT_UP = 100


@dataclass(slots=True)
class _Subscriber:
    """``version`` is that up to which it was told; ``lags``: there is more, which the others were told already."""

    globs: tuple[str, ...]
    version: int
    lags: bool


class Feed:
    """
    One namespace's feed; it runs while somebody subscribes. All of it happens in one event loop.

    ``tell`` is called with a subscriber's name and a change, one after another, as long as it ``has_room``; ``greet``
    before all that, with the name, the globs and the version from which on changes are told, for who does not go on
    after one of their own.
    """

    def __init__(self, contexts: ContextStore, tell: Tell, greet: Greet, has_room: Callable[[str], bool]) -> None:
        self._contexts = contexts
        self._tell = tell
        self._greet = greet
        self._has_room = has_room
        self._subscribers: dict[str, _Subscriber] = {}
        self._lock = asyncio.Lock()
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._version = 0

    def __len__(self) -> int:
        return len(self._subscribers)

    async def subscribe(self, name: str, globs: Sequence[str], since: int | None) -> int:
        """
        Tell somebody of the changes under the globs, from now on, or of all after a version; returns the one by then.

        Who subscribes again asks for something else from now on.
        """
        async with self._lock:
            newest = await run_in_threadpool(self._contexts.version)
            if since is None:
                await self._greet(name, globs, newest)
            if self._task is None:
                self._version = newest
                self._task = asyncio.create_task(self._run(), name="context feed")
            begin = newest if since is None else min(since, newest)
            self._subscribers[name] = _Subscriber(tuple(globs), begin, lags=begin < self._version)
        self.wake()
        return newest

    def unsubscribe(self, name: str) -> None:
        """Tell somebody nothing any more; the feed of the last one ends."""
        self._subscribers.pop(name, None)
        if not self._subscribers and self._task is not None:
            self._task.cancel()
            self._task = None

    def wake(self) -> None:
        """Look now: something was written."""
        self._woken.set()

    async def _run(self) -> None:
        while True:
            lags = any(one.lags for one in self._subscribers.values())
            with suppress(TimeoutError):
                async with asyncio.timeout(_CATCHING_UP_S if lags else LOOK_S):
                    await self._woken.wait()
            self._woken.clear()
            with suppress(StorageError):  # a database that is away is asked again, and nothing is lost
                while await self._look():
                    pass

    async def _look(self) -> bool:
        """Tell what was written since; tells whether there may be more."""
        async with self._lock:
            changes = await run_in_threadpool(self._contexts.changes_after, self._version, _MOST_A_LOOK)
            for change in changes:
                for name, subscriber in [*self._subscribers.items()]:
                    if not subscriber.lags:
                        await self._pass_on(name, subscriber, change)
                self._version = change[0].version
            for name, subscriber in [*self._subscribers.items()]:
                if subscriber.lags and self._has_room(name):
                    await self._catch_up(name, subscriber)
        return len(changes) == _MOST_A_LOOK

    async def _catch_up(self, name: str, subscriber: _Subscriber) -> None:
        subscriber.lags = False
        missed = await run_in_threadpool(self._contexts.changes_after, subscriber.version, _MOST_CAUGHT_UP)
        for change in missed:
            if change[0].version > self._version or subscriber.lags:
                break
            await self._pass_on(name, subscriber, change)
        subscriber.lags = subscriber.lags or subscriber.version < self._version

    async def _pass_on(self, name: str, subscriber: _Subscriber, change: Change) -> None:
        version = change[0].version
        if version <= subscriber.version:
            return
        if matches(change[0].key, subscriber.globs):
            if not self._has_room(name):
                subscriber.lags = True
                return
            await self._tell(name, change)
        subscriber.version = version
