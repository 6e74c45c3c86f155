"""How a page is made: a template, values, and a policy of what its browser may load."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, RedirectResponse, Response

from isolation.errors import IsolationError
from isolation.rules.escape import escape
from isolation.service.here import service_of
from isolation.service.page import shown
from isolation.service.problems import headers_of, status_of
from isolation.service.refusals import UnauthenticatedError
from isolation.service.sessions import COOKIE
from isolation.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from isolation.service.here import Here

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_ENVIRONMENT = Environment(
    loader=PackageLoader("isolation.service.page"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {
    "moment": shown.moment,
    "size": format_bytes,
    "time": format_seconds,
    "json": shown.json_text,
    "plain": escape,
    "lines": partial(escape, lines=True),
}


class PageRoute(APIRoute):
    """A route whose errors are pages, too; who must come in first is sent to the door."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        """Wrap the route's own handler."""
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                return await handle(request)
            except UnauthenticatedError:
                if "HX-Request" in request.headers:
                    return Response(status_code=401, headers={"HX-Redirect": "/login"})
                return RedirectResponse("/login", 303)
            except IsolationError as error:
                answer = page(request, None, "problem.html", status_of(error), problem=error)
                answer.headers.update(headers_of(error))
                return answer

        return guarded


def fragment(template: str, **values: Any) -> str:  # noqa: ANN401 - a template's
    """Fill in a template that is a part of a page."""
    return _ENVIRONMENT.get_template(template).render(**values)


def page(request: Request, here: Here | None, template: str, status: int = 200, **values: Any) -> Response:  # noqa: ANN401 - a template's
    """Fill in a template; ``here`` is None where nobody came in."""
    session = service_of(request).door.sessions.find(request.cookies.get(COOKIE, ""))
    text = fragment(
        template,
        path=request.url.path,
        here=here,
        csrf=session.csrf if session else "",
        namespace=here.namespace if here else "",
        **values,
    )
    return HTMLResponse(text, status, {"Content-Security-Policy": POLICY})
