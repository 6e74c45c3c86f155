"""What Prometheus asks for."""

from __future__ import annotations

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from starlette.responses import PlainTextResponse, Response

from isolation.service.here import MayReadHost
from isolation.service.problems import answers

router = APIRouter(tags=["health"])


@router.get("/metrics", response_class=PlainTextResponse, responses=answers(422))
def metrics(here: MayReadHost) -> Response:
    """Tell what is counted and measured of the token's namespaces, and of the host to whoever may see all of them."""
    return Response(here.service.metrics.text(here.token.covers), media_type=CONTENT_TYPE_PLAIN_0_0_4)
