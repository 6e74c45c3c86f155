"""The server's application: all routes, behind the same walls and with the same errors."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from isolation.service import problems
from isolation.service.page import views
from isolation.service.routes import (
    access,
    artifacts,
    batches,
    context,
    ctx,
    dumps,
    health,
    logs,
    metrics,
    packages,
    policies,
    recipes,
    runs,
    text,
)
from isolation.service.walls import BODY_S, Walls

if TYPE_CHECKING:
    from isolation.service.service import Service


def create_app(service: Service, *, patience_s: float = BODY_S) -> FastAPI:
    """
    Put the application together; whoever has made the service closes it.

    ``patience_s`` is the time in which a body has to be there.
    """
    app = FastAPI(
        title="recipe isolation",
        version=version("recipe-isolation"),
        summary="Run recipes that nobody has to trust, and share a context with them.",
        docs_url=None,  # theirs takes its scripts from elsewhere
        redoc_url=None,
        separate_input_output_schemas=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # else looked for with every request
    )
    app.state.service = service
    problems.install(app)
    app.add_middleware(Walls, body_s=patience_s)
    # Each is asked in turn whether a request is its own: first what is asked for most.
    for module in (
        context,
        ctx,
        runs,
        logs,
        artifacts,
        packages,
        recipes,
        policies,
        batches,
        dumps,
        text,
        access,
        health,
        metrics,
    ):
        app.include_router(module.router)
    app.include_router(views.router)
    app.mount("/static", StaticFiles(packages=[("isolation.service.page", "static")]))
    return app
