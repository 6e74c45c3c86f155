"""
Browsers that came in with a token: the server remembers which, and the browser holds a cookie that no script can read.

Kept in memory: a restart ends all of them, and nobody who copies a disk finds one.
"""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from isolation.clock import Clock

COOKIE = "isolation_session"
CSRF_HEADER = "X-CSRF-Token"
LIFE_S = 12 * 3600.0
_MOST = 10_000
MOST_OF_ONE = 100
"""So many browsers may have come in with one token: it must not be in its power to have everybody else leave."""


@dataclass(frozen=True, slots=True)
class Session:
    """One browser: the digest of its token, and what its scripts must send along with whatever changes something."""

    digest: str
    csrf: str
    until_s: float


class Sessions:
    """All browsers of one server. Safe to use from several threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, Session] = {}

    def begin(self, digest: str) -> str:
        """Remember a browser, and return what its cookie holds."""
        cookie = secrets.token_urlsafe(32)
        session = Session(digest, secrets.token_urlsafe(32), self._clock.monotonic_s() + LIFE_S)
        with self._lock:
            of_one = [known for known, found in self._known.items() if found.digest == digest]
            if len(of_one) >= MOST_OF_ONE:  # the oldest goes first
                del self._known[of_one[0]]
            elif len(self._known) >= _MOST:
                del self._known[next(iter(self._known))]
            self._known[cookie] = session
        return cookie

    def find(self, cookie: str) -> Session | None:
        """Return the session of a cookie, if it has not ended."""
        with self._lock:
            session = self._known.get(cookie)
            if session is not None and session.until_s <= self._clock.monotonic_s():
                del self._known[cookie]
                return None
            return session

    def end(self, cookie: str) -> None:
        """Forget a browser."""
        with self._lock:
            self._known.pop(cookie, None)
