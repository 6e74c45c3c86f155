r"""
What an answer means, and whether the question may be asked again; the only module that knows httpx's errors.

========================================  =========================  ==================
what happened                             a question that reads      one that changes
========================================  =========================  ==================
no connection                             again                      again
429, 503                                  again                      again, but where the database's answer was lost
502, 504, or the connection breaks        again                      AnswerLostError
any other refusal                         its error                  its error
========================================  =========================  ==================
"""

from __future__ import annotations

import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import httpx
from tenacity import retry_if_exception_type, stop_after_attempt, wait_random_exponential

from isolation import errors
from isolation.errors import AnswerLostError, IsolationError, ServerError, ServerUnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tenacity import RetryCallState

    from isolation.client.request import Request
    from isolation.client.server import Server

T = TypeVar("T")

_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_LATER = {429, 503}
_BETWEEN = {502, 504}
"""What a proxy says whose server did not answer it."""
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 2.0

_KINDS: dict[str, type[IsolationError]] = {
    "unauthenticated": errors.AccessError,
    "forbidden": errors.AccessError,
    "too_many_requests": errors.AccessError,
    "too_large": errors.AccessError,
    "too_slow": errors.AccessError,
    "no_such_key": errors.NoSuchKeyError,
    "no_such_dump": errors.NoSuchDumpError,
    "context_changed": errors.ContextChangedError,
    "context": errors.ContextError,
    "storage": errors.StorageError,
    "database_lost": errors.DatabaseLostError,
    "input": errors.InputError,
    "invalid_request": errors.InputError,
}
"""Our errors by the code that a problem has; others are a ServerError."""


class AgainError(Exception):
    """The question may be asked again; ``error`` if it is not, ``after_s`` is how long the server wants us to wait."""

    def __init__(self, error: IsolationError, after_s: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.after_s = after_s


def patience(server: Server) -> dict[str, Any]:
    """Return how a question is asked again, for tenacity's Retrying and AsyncRetrying alike."""
    wait = wait_random_exponential(multiplier=_FIRST_WAIT_S, max=_LONGEST_WAIT_S)

    def wait_s(state: RetryCallState) -> float:
        after_s = _again(state).after_s
        return wait(state) if after_s is None else after_s

    def enough(state: RetryCallState) -> bool:
        return stop_after_attempt(server.retries + 1)(state) or (_again(state).after_s or 0) > server.timeout_s

    return {
        "retry": retry_if_exception_type(AgainError),
        "wait": wait_s,
        "stop": enough,
        "retry_error_callback": _give_up,
    }


@contextmanager
def reaching(server: Server, request: Request[Any]) -> Iterator[None]:
    """Say as an error of ours what keeps an answer from coming."""
    try:
        yield
    except httpx.TransportError as error:
        failed = _unreached(server, request, error)
        if isinstance(failed, ServerUnreachableError):
            raise AgainError(failed) from error
        raise failed from error
    except httpx.HTTPError as error:
        raise _other(server, request, str(error)) from error


def read(server: Server, request: Request[T], response: httpx.Response) -> T:
    """Read an answer; raises what it refuses with as an error of ours, or as AgainError."""
    status = response.status_code
    if response.is_success:
        try:
            return request.read(response)
        except (ValueError, KeyError, TypeError) as error:
            raise _other(server, request, f"{type(error).__name__}: {error}") from error
    code, refusal = _refusal(server, request, response)
    if code == "no_such_key" and request.if_missing is not None:
        return request.if_missing()
    if status in _BETWEEN and not request.only_reads:
        raise _lost(server, request, f"status {status}")
    if status in _BETWEEN or (status in _LATER and (request.only_reads or code != "database_lost")):
        raise AgainError(refusal, _after_s(response))
    raise refusal


def _refusal(server: Server, request: Request[Any], response: httpx.Response) -> tuple[str, IsolationError]:
    try:
        problem = response.json()
        code, sentence, hint = str(problem["code"]), str(problem["detail"]), str(problem["hint"])
    except (ValueError, KeyError, TypeError):
        return "", _other(server, request, f"status {response.status_code}")
    kind = _KINDS.get(code, ServerError)
    error = kind.__new__(kind, sentence)
    IsolationError.__init__(error, sentence, hint=hint)  # some of ours are made of other things than their sentence
    if isinstance(error, errors.NoSuchKeyError):
        error.key = request.params.get("key", "")
    return code, error


def _unreached(server: Server, request: Request[Any], error: httpx.TransportError) -> ServerError:
    why = _said(error)
    if _is_tls(error):
        return ServerError(
            f"the server at {server.url} does not prove who it is: {why}",
            hint="Its certificate must be from an authority that this machine trusts; SSL_CERT_FILE can name one.",
        )
    if isinstance(error, httpx.UnsupportedProtocol | httpx.ProxyError):
        return _other(server, request, why)
    if isinstance(error, _UNSENT):
        return ServerUnreachableError(
            f"no server answers at {server.url}: {why}",
            hint="Start one with `isolation serve`, or name the one that runs.",
        )
    if request.only_reads:
        return ServerUnreachableError(
            f"the server at {server.url} did not answer: {why}", hint="Ask again, or give it more time by timeout_s."
        )
    return _lost(server, request, why)


def _lost(server: Server, request: Request[Any], why: str) -> AnswerLostError:
    return AnswerLostError(
        f"the answer of {server.url} to {request.method} {request.path} was lost ({why}): "
        "what was asked may be done, or not",
        hint="Look before you ask again.",
    )


def _other(server: Server, request: Request[Any], why: str) -> ServerError:
    return ServerError(
        f"{server.url} answers {request.method} {request.path} as no server of ours does: {why}",
        hint="Is it `isolation serve`, of this version? `curl URL/version` tells.",
    )


def _said(error: httpx.TransportError) -> str:
    return str(error) or ("no answer in time" if isinstance(error, httpx.TimeoutException) else type(error).__name__)


def _is_tls(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _after_s(response: httpx.Response) -> float | None:
    """Return the seconds of ``Retry-After``; a date (RFC 9110) is not what our server says."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else None


def _again(state: RetryCallState) -> AgainError:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, AgainError)  # noqa: S101 - others are not asked again
    return error


def _give_up(state: RetryCallState) -> NoReturn:
    again = _again(state)
    raise again.error from again.__cause__
