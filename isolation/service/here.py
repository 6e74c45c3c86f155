"""What a route is given of its request: who asks, about which namespace, and the service."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, cast

from fastapi import Depends, Query, Request

from isolation.model.access import Permission, Token
from isolation.service.findings import refuse_unknown_parameters

if TYPE_CHECKING:
    from isolation.service.service import Service
    from isolation.stores import Stores

Namespace = Annotated[
    str | None,
    Query(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$", description="Whose; else the token's own."),
]


@dataclass(frozen=True, slots=True)
class Here:
    """Somebody who may do what the route does; ``large``: work on what they sent is for another thread."""

    service: Service
    token: Token
    namespace: str
    permission: Permission
    large: bool = False

    @property
    def stores(self) -> Stores:
        """The stores of the namespace."""
        return self.service.within(self.namespace)


def service_of(request: Request) -> Service:
    """Return the service that a request came to."""
    return cast("Service", request.app.state.service)


def require_permission(permission: Permission) -> Callable[..., object]:
    """Make a dependency that lets in whoever may do this, writes it down, and gives ``Here``."""

    async def admit(request: Request, namespace: Namespace = None) -> Here:
        service = service_of(request)
        seen = await service.door.admit(request, permission, namespace)
        refuse_unknown_parameters(request)
        return Here(service, seen.token, seen.namespace, permission, getattr(request.state, "large", False))

    return admit


MayReadContext = Annotated[Here, Depends(require_permission(Permission.READ_CONTEXT))]
MayWriteContext = Annotated[Here, Depends(require_permission(Permission.WRITE_CONTEXT))]
MayReadRuns = Annotated[Here, Depends(require_permission(Permission.READ_RUNS))]
MaySubmitRuns = Annotated[Here, Depends(require_permission(Permission.SUBMIT_RUNS))]
MayCancelRuns = Annotated[Here, Depends(require_permission(Permission.CANCEL_RUNS))]
MayWritePackages = Annotated[Here, Depends(require_permission(Permission.WRITE_PACKAGES))]
MayReadHost = Annotated[Here, Depends(require_permission(Permission.READ_HOST))]
MayManageTokens = Annotated[Here, Depends(require_permission(Permission.MANAGE_TOKENS))]
MayReadAudit = Annotated[Here, Depends(require_permission(Permission.READ_AUDIT))]
