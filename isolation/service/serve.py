"""The server's process: its socket, its workers, and its end."""

from __future__ import annotations

import signal
import socket
import ssl
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import socketio
import uvicorn

from isolation.clock import SystemClock, timestamp
from isolation.errors import SettingsError
from isolation.loopback import is_loopback
from isolation.model.access import Role
from isolation.service.app import create_app
from isolation.service.arenas import share_arenas
from isolation.service.connections import Room, connections
from isolation.service.live.polling import polled
from isolation.service.live.sockets import bounded
from isolation.service.service import Service
from isolation.service.walls import BODY_S
from isolation.wiring import open_controller, open_stores, open_worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from isolation.settings import Settings

_LAST_PORT = 65_535
_MOST_CONNECTIONS = 1_000
_LEAVE_S = 10
_FIRST = "first"


@dataclass(frozen=True, kw_only=True)
class Place:
    """
    Where a server listens, and whom it believes.

    ``port`` 0: any that is free. ``certificate`` and ``key`` are files for TLS. ``proxy`` is the address of a proxy
    that speaks TLS for it, and says who asks. ``exposed``: it may listen beyond this machine without either.
    ``anonymous`` is the role of whoever has no token. ``patience_s`` is the time in which the head of a request has to
    be there, and then its body. One address may have half of all connections; behind a proxy, where all have one, all.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    certificate: Path | None = None
    key: Path | None = None
    proxy: str = ""
    exposed: bool = False
    anonymous: Role | None = None
    patience_s: float = BODY_S

    def check(self) -> None:
        """Raise SettingsError for what is no place, or one at which others could listen in, or come in unseen."""
        self._check_each()
        if self.anonymous and self.proxy:
            raise SettingsError(
                "without a token nobody comes in through a proxy: who asks there is not of this machine alone",
                hint="Leave --anonymous out, or --proxy.",
            )
        if is_loopback(self.host):
            return
        if self.anonymous:
            raise SettingsError(
                f"without a token nobody comes in at {self.host}, which is not of this machine alone",
                hint="Leave --anonymous out, or listen on 127.0.0.1.",
            )
        if not (self.certificate or self.proxy or self.exposed):
            raise SettingsError(
                f"tokens would be readable on the way to {self.host}, which is not of this machine alone",
                hint="Give --tls-cert and --tls-key, or the --proxy that speaks TLS; --exposed listens all the same.",
            )

    def _check_each(self) -> None:
        if self.patience_s <= 0:
            raise SettingsError("nobody can ask anything in no time", hint="Give --patience as in 30s.")
        if self.port > _LAST_PORT:
            raise SettingsError(
                f"the port {self.port} cannot be one", hint=f"Choose one up to {_LAST_PORT}; 0 takes any that is free."
            )
        if ":" in self.host and not _is(ip_address, self.host):
            raise SettingsError(
                f"the host {self.host!r} is no address",
                hint="Write it alone, such as 127.0.0.1 or ::1; --port has its port.",
            )
        if self.proxy and not _is(ip_network, self.proxy):
            raise SettingsError(
                f"the proxy {self.proxy!r} is no address",
                hint="Write the IP address that it comes from, such as 127.0.0.1, or its network, such as 10.1.2.0/24.",
            )


def _is(kind: Callable[[str], object], text: str) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True


def serve(settings: Settings, place: Place, tell: Callable[[str], object], *, slots: int) -> None:
    """
    Serve until a signal ends it; ``slots`` runs go on at once here, 0: other processes run them.

    Raises IsolationError for a place that cannot be had.
    """
    place.check()
    if place.certificate and place.key:
        _check_tls(place.certificate, place.key)
    share_arenas()
    with ExitStack() as stack:
        listener = stack.enter_context(_listening(place))
        service = stack.enter_context(
            Service(open_stores(settings), settings, SystemClock(), anonymous=place.anonymous)
        )
        service.stores.sweep()
        service.stores.remove_expired(timestamp(service.clock.now()))
        configuration = _configuration(service, place)
        server = _Server(configuration)
        if slots:
            stack.enter_context(_working(service, slots, tell, server))
        host, port = listener.getsockname()[:2]
        tell(f"listening on {'https' if place.certificate else 'http'}://{_in_url(host)}:{port}")
        first = _first_token(service)
        if first:
            tell(f"the first token, an operator's, shown this once: {first}")
        server.run([listener])


def _check_tls(certificate: Path, key: Path) -> None:
    """Raise SettingsError for what no TLS can be had with, before anything is opened."""
    try:
        for file in (certificate, key):
            file.read_bytes()  # the library that reads them both says of neither that it is the one that is missing
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError as error:
        raise SettingsError(
            f"there is no TLS with {certificate} and {key}: they are no PEM files, or not of one another",
            hint="Give the certificate with those that it was signed with, and its own key.",
        ) from error
    except OSError as error:
        why = error.strerror or str(error)
        raise SettingsError(
            f"{error.filename} cannot be read: {why[:1].lower()}{why[1:]}",
            hint="--tls-cert and --tls-key are PEM files that this user can read.",
        ) from error


def _no_password() -> str:
    raise SettingsError(
        "the key of --tls-key has a password, and nobody is there to give it",
        hint="Write it without one, in a file that this user alone can read.",
    )


class _Server(uvicorn.Server):
    """Ends at a signal as any function does, where uvicorn's own would have the process die of it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _configuration(service: Service, place: Place) -> uvicorn.Config:
    of_one = _MOST_CONNECTIONS if place.proxy else _MOST_CONNECTIONS // 2
    room = Room(most=_MOST_CONNECTIONS, most_of_one=of_one, patience_s=place.patience_s)
    sockets = service.sockets.server
    app = socketio.ASGIApp(sockets, create_app(service, patience_s=place.patience_s))
    configuration = uvicorn.Config(
        bounded(polled(app, sockets, patience_s=place.patience_s)),
        http=connections(room),
        log_level="warning",
        access_log=False,  # the audit log says more
        server_header=False,
        proxy_headers=bool(place.proxy),
        forwarded_allow_ips=place.proxy or None,
        ssl_certfile=place.certificate,
        ssl_keyfile=place.key,
        timeout_keep_alive=place.patience_s,  # type: ignore[arg-type]  # a delay as asyncio has it
        timeout_graceful_shutdown=_LEAVE_S,
        lifespan="off",
    )
    configuration.load()
    return configuration


def _first_token(service: Service) -> str:
    """Make a token for who has just set the server up; empty where there are some already."""
    if service.tokens.list():
        return ""
    return service.tokens.make(_FIRST, Role.OPERATOR, ["*"], timestamp(service.clock.now()))[1]


@contextmanager
def _working(service: Service, slots: int, tell: Callable[[str], object], server: _Server) -> Iterator[None]:
    """Run the queue beside the server, which ends where that does: it would take runs that nobody runs."""
    broken: list[Exception] = []

    def work() -> None:
        try:
            worker.run()
        except Exception as error:  # noqa: BLE001 - raised again once the server has ended
            broken.append(error)
        finally:
            server.should_exit = True

    with open_controller(service.settings, idle=slots) as controller:
        service.standing = controller.cells.standing
        worker = open_worker(
            controller, slots=slots, tell=lambda told: tell(told.detail) if told.what == "trouble" else None
        )
        thread = threading.Thread(target=work, name="worker")
        thread.start()
        try:
            yield
        finally:
            worker.release()
            thread.join()
        if broken:
            raise broken[0]


@contextmanager
def _listening(place: Place) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((place.host, place.port))
            listener.listen(_MOST_CONNECTIONS)
        except OSError as error:
            why = error.strerror or str(error)
            raise SettingsError(
                f"nothing can listen on {_in_url(place.host)}:{place.port}: {why[:1].lower()}{why[1:]}",
                hint="Choose another with --host and --port; port 0 takes any that is free.",
            ) from error
        yield listener


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
