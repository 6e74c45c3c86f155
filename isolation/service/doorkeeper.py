"""Who comes in: by a token, or as anybody where that is allowed; every decision is written down before it counts."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from secrets import compare_digest
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.concurrency import run_in_threadpool

from isolation.clock import timestamp
from isolation.loopback import is_loopback
from isolation.model.access import Token
from isolation.service.refusals import CrossSiteError, ForbiddenError, TooManyRequestsError, UnauthenticatedError
from isolation.service.sessions import COOKIE, CSRF_HEADER, Sessions
from isolation.storage.tokens import digest_of_token

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

    from isolation.clock import Clock
    from isolation.model.access import Permission, Role
    from isolation.storage.audit import Audit
    from isolation.storage.tokens import Tokens

LOOK_S = 1.0
"""A token that another process made or revoked is known after so long at most."""
REQUESTS_A_SECOND = 5_000
"""So much may be asked for with one token."""
WRONG_A_MINUTE = 30
"""So often may one address show a token that does not count."""
_LONGEST_PATH = 1_000
"""What is longer is written down so far."""
_LOOKS = {"GET", "HEAD", "OPTIONS"}


@dataclass(frozen=True, slots=True)
class Seen:
    """Somebody who was let in: with what token, and about which namespace."""

    token: Token
    namespace: str


class PerSecond:
    """
    Lets each ask ``most`` times within any second of the monotonic clock, and no more.

    With every request, the library that counts guesses would cost a twelfth of what the server does: while it is asked,
    it starts a thread a hundred times a second, to forget what is over.
    """

    def __init__(self, most: int, clock: Clock) -> None:
        self._most = most
        self._clock = clock
        self._asked: dict[str, deque[float]] = {}
        self._swept_s = 0.0

    def hit(self, token_id: str) -> bool:
        """Count one, and tell whether it is let in; who is not has not asked."""
        now_s = self._clock.monotonic_s()
        if now_s - self._swept_s >= 1:
            self._swept_s = now_s
            self._asked = {one: moments for one, moments in self._asked.items() if now_s - moments[-1] < 1}
        moments = self._asked.setdefault(token_id, deque(maxlen=self._most))
        if len(moments) == self._most and now_s - moments[0] < 1:
            return False
        moments.append(now_s)
        return True


class Doorkeeper:
    """
    Decides who may do what.

    Who names no namespace means the first of their token's that is no glob, or else ``home``.
    """

    def __init__(self, tokens: Tokens, audit: Audit, clock: Clock, *, home: str, anonymous: Role | None = None) -> None:
        self._tokens = tokens
        self._audit = audit
        self._clock = clock
        self._home = home
        self._anonymous = (
            Token(token_id="", name="anybody", role=anonymous, namespaces=(home,), created_at="") if anonymous else None
        )
        self.sessions = Sessions(clock)
        self._known: dict[str, Token] = {}
        self._looked_s: float | None = None
        self._looking = threading.Lock()
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._wrong: RateLimitItem = RateLimitItemPerMinute(WRONG_A_MINUTE)
        self._each = PerSecond(REQUESTS_A_SECOND, clock)

    async def admit(
        self, request: HTTPConnection, permission: Permission, namespace: str | None, *, secret: str | None = None
    ) -> Seen:
        """
        Let somebody in, or raise AccessError: the token does not count, or not for this, or was used too much.

        What is about no namespace takes the one of the token, too. ``secret`` is a token that came otherwise than in
        the request's head.
        """
        token = await self.who(request) if secret is None else await self.token_of(secret)
        meant = namespace or (self._home_of(token) if token else "")
        may = token is not None and token.may(permission, meant)
        came = bool(secret or request.headers.get("authorization"))
        token = self._counted(request, token, permission.value, meant, allowed=may, came=came)
        if not may:
            raise ForbiddenError(token, permission, meant)
        if not self._each.hit(token.token_id):
            raise TooManyRequestsError(f"the token {token.name!r} asked too often within a second", retry_s=1)
        return Seen(token, meant)

    async def begin(self, request: HTTPConnection, secret: str) -> str:
        """
        Let a browser in with a token, whatever that may do then, and return what its cookie holds.

        Raises AccessError as ``admit`` does.
        """
        token = await self.token_of(secret)
        meant = self._home_of(token) if token else ""
        self._counted(request, token, "login", meant, allowed=token is not None, came=True)
        return self.sessions.begin(digest_of_token(secret))

    def _counted(
        self,
        request: HTTPConnection,
        token: Token | None,
        permission: str,
        namespace: str,
        *,
        allowed: bool,
        came: bool,
    ) -> Token:
        """Write a decision down, and return the token; UnauthenticatedError where none that ``came`` counts."""
        if token is None and not self._limiter.hit(self._wrong, "wrong", _address(request)):
            # Not written down: else anybody could fill the disk.
            raise TooManyRequestsError("too many tokens that do not count came from this address", retry_s=60)
        self._record(request, token, permission, namespace, allowed=allowed)
        if token is None:
            raise UnauthenticatedError(came=came)
        return token

    def _record(
        self, request: HTTPConnection, token: Token | None, permission: str, namespace: str, *, allowed: bool
    ) -> None:
        self._audit.record(
            who=token.name if token else "",
            token_id=token.token_id if token else "",
            permission=permission,
            namespace=namespace,
            what=f"{request.scope.get('method', 'socket')} {request.scope['path'][:_LONGEST_PATH]}",
            address=_address(request),
            allowed=allowed,
        )

    async def who(self, request: HTTPConnection) -> Token | None:
        """
        Return the token that somebody shows, or that their browser came in with, if it counts now.

        Raises CrossSiteError for a browser that would change something and cannot prove that it was this page's doing.
        """
        shown = request.headers.get("authorization", "")
        if shown:
            kind, _, secret = shown.partition(" ")
            return await self.token_of(secret.strip()) if kind.lower() == "bearer" else None
        session = self.sessions.find(request.cookies.get(COOKIE, ""))
        if session is None:
            return self._anonymous if _is_from_here(request) else None
        if request.scope.get("method", "GET") not in _LOOKS and not compare_digest(
            request.headers.get(CSRF_HEADER, "").encode(), session.csrf.encode()
        ):
            self._record(request, await self._counting(session.digest), "", "", allowed=False)
            raise CrossSiteError
        return await self._counting(session.digest)

    async def token_of(self, secret: str) -> Token | None:
        """Return what is known of a token, if it counts now."""
        return await self._counting(digest_of_token(secret))

    async def counts(self, token: Token) -> bool:
        """Tell whether a token that was let in counts still; who has none does."""
        if token is self._anonymous:
            return True
        await self._look()
        known = (one for one in self._known.values() if one.token_id == token.token_id)
        return any(one.holds(timestamp(self._clock.now())) for one in known)

    def forget(self) -> None:
        """Look all tokens up again before the next one counts; waits for who looks now, and saw what was before."""
        with self._looking:
            self._looked_s = None

    async def _counting(self, digest: str) -> Token | None:
        await self._look()
        token = self._known.get(digest)
        return token if token and token.holds(timestamp(self._clock.now())) else None

    async def _look(self) -> None:
        if not self._looked_lately():
            await run_in_threadpool(self._look_up)

    def _look_up(self) -> None:
        with self._looking:
            if self._looked_lately():  # somebody else did, while we waited
                return
            now_s = self._clock.monotonic_s()
            self._known = self._tokens.by_digest()
            self._looked_s = now_s

    def _looked_lately(self) -> bool:
        looked_s = self._looked_s  # forgotten at any moment, by another thread
        return looked_s is not None and self._clock.monotonic_s() - looked_s < LOOK_S

    def _home_of(self, token: Token) -> str:
        return next((name for name in token.namespaces if not {*name} & {*"*?["}), self._home)


def _address(request: HTTPConnection) -> str:
    return request.client.host if request.client else ""


def is_of(origin: str, host: str) -> bool:
    """Tell whether a page asks that came from the host it asks; ``origin`` and ``host`` are what its browser says."""
    return origin.partition("://")[2] == host


def _is_from_here(request: HTTPConnection) -> bool:
    """
    Tell whether no page of somebody else's asks, in a browser of this machine's.

    Such a page is known by what its browser says of it; and where its name was made to lead to this machine, by that
    name in the place of ours.
    """
    host = request.headers.get("host", "")
    origin = request.headers.get("origin", "")
    site = request.headers.get("sec-fetch-site", "none")
    return is_loopback(_name_in(host)) and site in {"none", "same-origin"} and (not origin or is_of(origin, host))


def _name_in(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:  # this is none
        return ""
