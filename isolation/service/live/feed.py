"""
The changes of one namespace's context, in order, to all who asked for some of them.

There is one source, the history: whatever any process wrote is read there, each version once and in its order. Who
writes in this process wakes the feed; what others write is found by looking, ten times a second.
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
_MOST_A_LOOK = 500


@dataclass(slots=True)
class _Subscriber:
    globs: tuple[str, ...]
    version: int
    """What it was told, up to this one."""


class Feed:
    """
    One namespace's feed; it runs while somebody subscribes. All of it happens in one event loop.

    ``tell`` is called with a subscriber's name and a change, one after another; ``greet`` before all that, with the
    name, the globs and the version from which on changes are told, for who does not go on after one of their own.
    """

    def __init__(self, contexts: ContextStore, tell: Tell, greet: Greet) -> None:
        self._contexts = contexts
        self._tell = tell
        self._greet = greet
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
            subscriber = _Subscriber(tuple(globs), newest if since is None else min(since, newest))
            self._subscribers[name] = subscriber
            self._version = min(self._version, subscriber.version) if self._task else subscriber.version
            if self._task is None:
                self._task = asyncio.create_task(self._run(), name="context feed")
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
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
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
                version = change[0].version
                for name, subscriber in [*self._subscribers.items()]:
                    if version > subscriber.version and matches(change[0].key, subscriber.globs):
                        await self._tell(name, change)
                self._version = version
            for subscriber in self._subscribers.values():
                subscriber.version = max(subscriber.version, self._version)
        return len(changes) == _MOST_A_LOOK
