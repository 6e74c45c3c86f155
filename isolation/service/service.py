"""What the routes work with, put together once."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Self

from isolation.context.many import ManyContexts
from isolation.packaging.policy import Policies
from isolation.service.doorkeeper import Doorkeeper
from isolation.service.live.sockets import Sockets
from isolation.service.metrics import Metrics
from isolation.storage.audit import Audit
from isolation.storage.counts import Counts
from isolation.storage.tokens import Tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from isolation.clock import Clock
    from isolation.model.access import Role
    from isolation.sandbox.pool.pool import Standing
    from isolation.settings import Settings
    from isolation.stores import Stores

_MOST_NAMESPACES = 1_000


class Service:
    """
    One server's things: the stores of all namespaces, who writes the context, and who keeps the door.

    ``anonymous`` is the role of whoever has no token; None: there is none, and nobody comes in without.
    """

    def __init__(self, stores: Stores, settings: Settings, clock: Clock, *, anonymous: Role | None = None) -> None:
        self.stores = stores
        self.settings = settings
        self.clock = clock
        self.tokens = Tokens(stores.database)
        self.audit = Audit(stores.folder / "audit", clock)
        self.door = Doorkeeper(self.tokens, self.audit, clock, home=settings.namespace, anonymous=anonymous)
        self.standing: Callable[[], Standing | None] = lambda: None
        """Counts the cells of the pool in this process; None where there is none."""
        self.metrics = Metrics(Counts(stores.database), clock, lambda: self.standing())  # noqa: PLW0108 - set later
        self.policies = Policies(stores.folder / "policies")
        self.sockets = Sockets(self.door, stores)
        self.contexts = ManyContexts(stores.database, clock, self.sockets.changed)
        self.within: Callable[[str], Stores] = lru_cache(_MOST_NAMESPACES)(stores.within)
        """The stores of a namespace."""

    def close(self) -> None:
        """Write what was asked for, and let go of everything."""
        self.contexts.close()
        self.audit.close()
        self.stores.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
