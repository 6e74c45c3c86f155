"""How the server is; the only answers that need no token."""

from __future__ import annotations

from importlib.metadata import version as version_of

from fastapi import APIRouter, Request
from starlette.responses import Response

from isolation.errors import IsolationError
from isolation.service.bodies import StatusBody, VersionBody, said
from isolation.service.here import service_of

router = APIRouter(tags=["health"])
_VERSION = version_of("recipe-isolation")  # which reads a file


@router.get("/healthz", response_model=StatusBody)
async def health() -> Response:
    """Answer as long as the process does."""
    return said({"status": "ok", "problems": []})


@router.get("/readyz", response_model=StatusBody, responses={503: {"model": StatusBody}})
def readiness(request: Request) -> Response:
    """Tell whether requests can be served: the database answers. Why it does not, only who has a token is told."""
    try:
        service_of(request).stores.contexts.version()
    except IsolationError:
        return said({"status": "not ready", "problems": ["the database does not answer"]}, 503)
    return said({"status": "ready", "problems": []})


@router.get("/version", response_model=VersionBody)
async def version() -> Response:
    """Tell which version runs."""
    return said({"version": _VERSION})
