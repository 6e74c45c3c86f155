"""What a request to a proxy asks for: read strictly, so that no two readers can understand it differently. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from isolation.model.endpoint import canonical_host

if TYPE_CHECKING:
    import h11

    Headers = list[tuple[bytes, bytes]]

_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?", re.ASCII)
_LARGEST_PORT = 65535
_HTTP_PORT = 80
_HOP = {
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te", b"trailer",
    b"transfer-encoding", b"upgrade",
}  # fmt: skip
"""What is meant for the next hop alone (RFC 9110, 7.6.1); framing is written anew for the hop after it."""
_KEPT = {b"host", b"content-length"}
"""What no ``Connection`` header may take away: dropping them changes where a message ends, or whom it is for."""
_VIA = (b"Via", b"1.1 isolation")
_CLOSE = (b"Connection", b"close")


class BadRequestError(Exception):
    """
    No request that we pass on; ``host`` and ``port`` tell whom it was for, as far as that could be read.

    Its text quotes nothing of the request: it is recorded, and a part of a secret is not found there.
    """

    def __init__(self, why: str, *, status: int = 400, host: str = "", port: int = 0) -> None:
        super().__init__(why)
        self.status = status
        self.host = host
        self.port = port


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """Whom a request is for. ``path`` is what that server is to be asked; nothing for a tunnel."""

    via: Literal["http", "connect"]
    host: str
    port: int
    path: bytes = b""

    @property
    def host_header(self) -> bytes:
        """The one Host header that fits."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (host if self.port == _HTTP_PORT else f"{host}:{self.port}").encode()


def read_target(request: h11.Request) -> Target:
    """Read whom a request is for. Raises BadRequestError."""
    values: dict[bytes, bytes] = dict(request.headers)  # h11 has refused a second Host already
    if b"transfer-encoding" in values and b"content-length" in values:
        raise BadRequestError("a request has one length: Transfer-Encoding or Content-Length, not both")
    if request.method == b"CONNECT":
        if b"transfer-encoding" in values or b"content-length" in values:
            raise BadRequestError("CONNECT has no body")
        host, port = _authority(request.target.decode("ascii"), None)
        return Target(via="connect", host=host, port=port)
    target = _absolute(request.target.decode("ascii"))
    _check_host(values.get(b"host"), target)
    return target


def outgoing(request: h11.Request, target: Target) -> Headers:
    """Return the headers for the server: those for the proxy taken out, Host from the target, one request."""
    framing = [(name, value) for name, value in request.headers if name == b"transfer-encoding"]
    kept = _end_to_end(request, {b"host", b"expect"})
    return [(b"Host", target.host_header), *kept, *framing, _VIA, _CLOSE]


def returning(response: h11.Response) -> Headers:
    """Return the headers for the client. A length beside another framing was not meant (RFC 9112, 6.3)."""
    chunked = any(name == b"transfer-encoding" for name, _ in response.headers)
    return [*_end_to_end(response, {b"content-length"} if chunked else set()), _VIA, _CLOSE]


def _end_to_end(message: h11.Request | h11.Response, but: set[bytes]) -> Headers:
    """Return the headers that are meant for the other end, each as it was written."""
    values = [value for name, value in message.headers if name == b"connection"]
    named = {word.strip().lower() for value in values for word in value.split(b",")}
    dropped = _HOP | but | (named - _KEPT)
    return [(name, value) for name, value in message.headers.raw_items() if name.lower() not in dropped]


def _absolute(text: str) -> Target:
    scheme, separator, rest = text.partition("://")
    if not separator:
        raise BadRequestError("this is a proxy: the request must name the whole address, such as http://example.org/")
    if scheme.lower() != "http":
        raise BadRequestError("a proxy fetches http alone; for https, ask for a tunnel (CONNECT)")
    if "#" in rest:
        raise BadRequestError("a request has no fragment")
    end = min((rest.index(sign) for sign in "/?" if sign in rest), default=len(rest))
    host, port = _authority(rest[:end], _HTTP_PORT)
    path = rest[end:]
    return Target(via="http", host=host, port=port, path=(path if path.startswith("/") else f"/{path}").encode())


def _check_host(header: bytes | None, target: Target) -> None:
    """Refuse a Host header that names another than the target does (absent, as in HTTP/1.0, it names none)."""
    if header is None:
        return
    try:
        named = _authority(header.decode("ascii"), _HTTP_PORT)
    except (UnicodeDecodeError, BadRequestError):
        named = ("", 0)
    if named != (target.host, target.port):
        raise BadRequestError("the Host header names another than the address", host=target.host, port=target.port)


def _authority(text: str, default_port: int | None) -> tuple[str, int]:
    found = _AUTHORITY.fullmatch(text)
    port = int(found[2] or default_port or 0) if found else 0
    if found is None or not 0 < port <= _LARGEST_PORT:
        raise BadRequestError("the address names no host with a port")
    try:
        return canonical_host(found[1]), port
    except ValueError as error:
        raise BadRequestError("the address names no host in its usual form") from error
