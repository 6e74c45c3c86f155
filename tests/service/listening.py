"""A client of socket.io that keeps what it hears, in the order in which it came."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, TypeVar

import socketio

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from tests.service.server import Server

Answer = TypeVar("Answer")
_PATIENCE_S = 30


class Listener:
    """
    Connects with the server's own token, or as ``auth`` says; ``leave`` it.

    It is the field's client for asyncio. The other one handles each event in a thread of its own, in whichever order
    these are run: what it heard says nothing of the order in which it was told.
    """

    def __init__(self, server: Server, **auth: object) -> None:
        self.heard: list[tuple[str, Any]] = []
        self.lost = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="listener", daemon=True)
        self._thread.start()
        self._client = socketio.AsyncClient(reconnection=False)
        self._client.on("*", lambda event, data: self.heard.append((event, data)))
        self._client.on("disconnect", lambda *_: self.lost.set())
        try:
            self._do(self._client.connect(server.url, auth={"token": server.token, **auth}, wait_timeout=_PATIENCE_S))
        except BaseException:
            self.leave()
            raise

    def ask(self, event: str, wanted: object) -> dict[str, Any]:
        """Send an event, and return the answer."""
        answer: dict[str, Any] = self._do(self._client.call(event, wanted, timeout=_PATIENCE_S))
        return answer

    def subscribe(self, *keys: str, **more: object) -> dict[str, Any]:
        """Subscribe, and return the answer."""
        return self.ask("subscribe", {"keys": [*keys], **more})

    def of(self, event: str) -> list[Any]:
        """Return what was heard of an event."""
        return [data for name, data in [*self.heard] if name == event]

    def leave(self) -> None:
        """Disconnect; a second time does nothing."""
        if self._thread.is_alive():
            self._do(self._client.disconnect())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _do(self, what: Coroutine[Any, Any, Answer]) -> Answer:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(2 * _PATIENCE_S)
