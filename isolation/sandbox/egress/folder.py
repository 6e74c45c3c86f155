"""
A cell's way out as it lies on the host: a folder with the socket in it, laid out with the cell's other folders.

    as root     <stage>/egress/proxy.sock           0600, the cell's own: no other uid of this host may open it
    otherwise   <stage>/alone/egress/proxy.sock     0666, below a folder (0700) that no other user may enter
    beside it   hosts                               0644, where the policy names endpoints of TCP: the cell's /etc/hosts

The last folder and that file are mounted into the cell, read-only. Who may not give a file away leaves it open to the
one uid that there is in the cell, and keeps everybody else from getting near it.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from isolation.errors import EngineError
from isolation.sandbox.egress.bounds import Bounds
from isolation.sandbox.egress.inside import SOCKET, hosts

if TYPE_CHECKING:
    from pathlib import Path

    from isolation.clock import Clock
    from isolation.model.network import Network
    from isolation.model.traffic import Traffic
    from isolation.sandbox.egress.proxy import Proxy
    from isolation.sandbox.egress.resolver import Resolver


class Egress:
    """
    One cell's way out. ``path`` is the folder to mount, ``hosts`` its hosts file; None: it needs none.

    Both are removed together with the cell's other folders.
    """

    def __init__(self, path: Path, hosts: Path | None, proxy: Proxy) -> None:
        self.path = path
        self.hosts = hosts
        self._proxy = proxy

    def traffic(self) -> Traffic:
        """Return what was decided and what went through; also after ``close``."""
        return self._proxy.traffic()

    def close(self) -> None:
        """Cut every connection and end the proxy; can be called again."""
        self._proxy.close()


class Egresses:
    """Opens ways out. ``resolver`` None: this host's own."""

    def __init__(self, clock: Clock, *, resolver: Resolver | None = None, bounds: Bounds | None = None) -> None:
        self._clock = clock
        self._resolver = resolver
        self._bounds = bounds or Bounds()

    def open(self, stage: Path, uid: int, network: Network) -> Egress:
        """Open a cell's way out in its stage: from here on it is served. Raises EngineError where that cannot be."""
        from isolation.sandbox.egress.proxy import Proxy  # noqa: PLC0415 - most runs have no network
        from isolation.sandbox.egress.resolver import SystemResolver  # noqa: PLC0415 - as above

        resolver = self._resolver or SystemResolver()
        try:
            path, names, listener = _lay_out(stage, uid, network, self._bounds.waiting)
        except OSError as error:
            raise EngineError(
                f"the socket of a cell's network cannot be made in {stage}: {error.strerror}",
                hint="`isolation clean` takes away what dead controllers left there.",
            ) from error
        proxy = Proxy(listener, network, resolver=resolver, clock=self._clock, bounds=self._bounds)
        return Egress(path, names, proxy)


def _lay_out(stage: Path, uid: int, network: Network, waiting: int) -> tuple[Path, Path | None, socket.socket]:
    owned = os.geteuid() == 0
    path = stage / "egress" if owned else stage / "alone" / "egress"
    path.parent.mkdir(mode=0o700, exist_ok=owned)
    path.mkdir()
    path.chmod(0o755)  # the mode at creation is subject to the umask
    names = _write_hosts(path.parent / "hosts", network) if network.tcp else None
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _bind(listener, path)
        if owned:
            os.chown(path / SOCKET, uid, uid)
        (path / SOCKET).chmod(0o600 if owned else 0o666)
        listener.listen(waiting)
    except BaseException:
        listener.close()
        raise
    return path, names, listener


def _write_hosts(path: Path, network: Network) -> Path:
    path.write_text(hosts(network), encoding="ascii")
    path.chmod(0o644)
    return path


def _bind(listener: socket.socket, folder: Path) -> None:
    """Bind by way of the folder's descriptor: a socket's own path may be no longer than 107 bytes (unix(7))."""
    at = os.open(folder, os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        listener.bind(f"/proc/self/fd/{at}/{SOCKET}")
    finally:
        os.close(at)
