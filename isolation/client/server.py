"""Where a server is, and who asks: the address, the token, and when the token may not go there."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from isolation.errors import InputError
from isolation.loopback import is_loopback

if TYPE_CHECKING:
    from isolation.client.request import Request

TOKEN = "ISOLATION_TOKEN"  # noqa: S105 - a variable's name
URL = "ISOLATION_URL"
_HOST, _PORT = "127.0.0.1", 8080
TIMEOUT_S = 10.0
RETRIES = 3


@dataclass(frozen=True, kw_only=True)
class Server:
    """
    A server as somebody asks it; ``find`` makes it of what a person says.

    ``url`` ends with no slash, and ``token`` is empty for who has none; no ``repr`` shows it. ``timeout_s`` bounds how
    long nothing may come, and each wait before a question is asked again, ``retries`` how often that is.
    """

    url: str
    token: str = field(default="", repr=False)
    namespace: str | None = None
    timeout_s: float = TIMEOUT_S
    retries: int = RETRIES

    @classmethod
    def find(cls, url: str, token: str | None, *, allow_plain: bool = False, **more: Any) -> Server:  # noqa: ANN401 - the fields
        """
        Make one of what a person says; the token is else that of the variable ISOLATION_TOKEN.

        Raises InputError for an address that is none, or to which the token would go readable for others.
        """
        shown = os.environ.get(TOKEN, "") if token is None else token
        if not shown.isascii() or not shown.isprintable() or " " in shown:
            raise InputError("this cannot be a token", hint="Give it as `isolation token new` printed it.")
        address = _address(url)
        if shown and address.scheme == "http" and not allow_plain and not is_loopback(address.host):
            raise InputError(
                f"the token would be readable on the way to {address.host}, which is not this machine",
                hint="Name the server by https, or say allow_plain=True where nobody can listen.",
            )
        return cls(url=str(address).rstrip("/"), token=shown, **more)

    def settings(self) -> dict[str, Any]:
        """
        Return what an httpx client is made with.

        What the environment says of proxies counts for TLS alone: else the token would go to one, readable.
        """
        return {
            "base_url": self.url,
            "headers": {"Authorization": f"Bearer {self.token}"} if self.token else {},
            "timeout": self.timeout_s,
            "trust_env": self.url.startswith("https:"),
        }

    def asking(self, request: Request[Any]) -> dict[str, Any]:
        """Return what an httpx client is asked with."""
        params = dict(request.params) | ({"namespace": self.namespace} if self.namespace else {})
        headers = {"Content-Type": "application/json"} if request.body is not None else {}
        return {
            "method": request.method,
            "url": request.path,
            "params": params,
            "content": request.body,
            "headers": headers,
        }


def place_of(url: str | None, host: str | None, port: int | None) -> str:
    """Return the address that somebody says, in whichever way, or else the variable ISOLATION_URL, or the usual one."""
    unsaid = url is None and host is None and port is None
    return (os.environ.get(URL) if unsaid else url) or url_of(host or _HOST, _PORT if port is None else port)


def url_of(host: str, port: int) -> str:
    """
    Write the address of a server that speaks no TLS.

    >>> url_of("::1", 8080)
    'http://[::1]:8080'
    """
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _address(url: str) -> httpx.URL:
    hint = "Write it as https://HOST or http://127.0.0.1:8080; the token is said apart."
    try:
        address = httpx.URL(url)
    except (httpx.InvalidURL, TypeError) as error:
        raise InputError(f"{url!r} is no address of a server", hint=hint) from error
    if address.scheme not in {"http", "https"} or not address.host or address.query or address.fragment:
        raise InputError(f"{url!r} is no address of a server", hint=hint)
    if address.userinfo:
        raise InputError(f"the address of the server at {address.host} has a password in it", hint=hint)
    return address
