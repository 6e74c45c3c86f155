"""The one place that says how our errors look over HTTP: problem details (RFC 9457), with code and hint."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from isolation import errors
from isolation.service import refusals
from isolation.service.findings import explain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI
    from starlette.requests import Request

MEDIA_TYPE = "application/problem+json"
RETRY_S = 5

_STATUS: dict[type[Exception], int] = {
    refusals.UnauthenticatedError: 401,
    refusals.CrossSiteError: 403,
    refusals.ForbiddenError: 403,
    refusals.NoSuchTokenError: 404,
    refusals.NotThereError: 404,
    refusals.NotYetError: 409,
    refusals.BlobsMissingError: 409,
    refusals.TooManyRequestsError: 429,
    refusals.TooLargeError: 413,
    refusals.TooSlowError: 408,
    errors.RunNotFoundError: 404,
    errors.NoSuchKeyError: 404,
    errors.NoSuchDumpError: 404,
    errors.ContextChangedError: 409,
    errors.IdempotencyError: 409,
    errors.TooLateError: 409,
    errors.RunEndedError: 409,
    errors.QueueFullError: 429,
    errors.UploadsFullError: 507,
    errors.EngineUnreachableError: 503,
    errors.InputError: 422,
    errors.UnenforceableError: 422,
    errors.StorageError: 503,
    errors.EngineError: 503,
    errors.IsolationError: 500,
}


_REFUSALS = {
    400: "this is no text",
    401: "no token that counts",
    403: "not with this token",
    404: "there is none",
    408: "it did not come in time",
    409: "it is otherwise by now",
    413: "it is too large",
    422: "this cannot be used",
    429: "too much at once",
    503: "not just now",
    507: "there is no room for more",
}


class Problem(BaseModel):
    """
    What went wrong: ``detail`` is a sentence, ``hint`` what to do about it.

    ``code`` is for programs and stays as it is; ``type`` is a name for it as RFC 9457 wants one.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    hint: str = ""


def code_of(error: type[Exception]) -> str:
    """
    Name an error for programs.

    >>> code_of(errors.RunNotFoundError)
    'run_not_found'
    """
    name = error.__name__.removesuffix("Error")
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def status_of(error: Exception) -> int:
    """Return the status of an error of ours: that of the nearest of its kind."""
    return next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)


def headers_of(error: Exception) -> dict[str, str]:
    """Return the headers that go with the status of an error of ours."""
    status = status_of(error)
    if status in {429, 503}:
        return {"Retry-After": str(getattr(error, "retry_s", RETRY_S))}
    return {"WWW-Authenticate": "Bearer"} if status == 401 else {}  # noqa: PLR2004 - as RFC 9110 wants it


def answer(
    status: int, code: str, detail: str, hint: str = "", headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Write a problem."""
    title = code.replace("_", " ")
    problem = Problem(
        type=f"urn:isolation:problem:{code}", title=title, status=status, detail=detail, code=code, hint=hint
    )
    return JSONResponse(problem.model_dump(), status, headers, media_type=MEDIA_TYPE)


def answer_to(error: errors.IsolationError) -> JSONResponse:
    """Write an error of ours as a problem."""
    return answer(status_of(error), code_of(type(error)), error.sentence, error.hint, headers_of(error))


def answers(*statuses: int) -> dict[int | str, dict[str, object]]:
    """Describe, for the contract, with which statuses a route may refuse beside those that all have."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    wanted = {401, 403, 429, 503, *statuses} | ({400, 408} if 413 in statuses else set())  # noqa: PLR2004 - as below
    return {status: {"description": _REFUSALS[status], "content": content} for status in sorted(wanted)}


def install(app: FastAPI) -> None:
    """Have every error answered as a problem, and the contract say so."""
    app.add_exception_handler(errors.IsolationError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    without = app.openapi

    @cache  # it is asked for with every request, and no route comes later
    def contract() -> dict[str, Any]:
        found = without()
        found["components"]["schemas"]["Problem"] = Problem.model_json_schema()
        return found

    app.openapi = contract  # type: ignore[method-assign]  # as FastAPI's documentation has it


async def _ours(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, errors.IsolationError)  # noqa: S101 - what it was registered for
    return answer_to(error)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - as above
    return answer(422, "invalid_request", *explain(request, error.errors()))


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - as above
    if isinstance(error.__cause__, errors.IsolationError):  # ours, in the middle of a body that the framework reads
        return await _ours(request, error.__cause__)
    if error.status_code == 405:  # noqa: PLR2004 - the framework names the methods of one of its routes alone
        allowed = ", ".join(sorted(_methods_at(request)))
        detail = f"nothing at {request.url.path} takes {request.method}"
        return answer(405, "no_such_method", detail, f"It takes {allowed}.", {"Allow": allowed})
    if error.status_code == 404:  # noqa: PLR2004 - as above
        return answer(
            404, "no_such_route", f"there is nothing at {request.url.path}", "The contract is at /openapi.json."
        )
    return answer(error.status_code, "refused", str(error.detail), headers=error.headers)


def _methods_at(request: Request) -> set[str]:
    paths = request.app.openapi()["paths"]
    at = [methods for path, methods in paths.items() if compile_path(path)[0].match(request.url.path)]
    return {method.upper() for methods in at for method in methods}
