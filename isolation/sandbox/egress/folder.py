"""
The folder of ways out: one for each cell, with the socket in it, mounted into the cell read-only.

    <folder>/               0700, ours
    <folder>/<cell>/        0755, mounted as /egress
    <folder>/<cell>/proxy.sock

As root, the socket belongs to the cell's uid alone (0600). Without that right anyone may open it (0666) who can
reach it: through the folder above that is nobody else of this host, and in the cell there is one uid.
"""

from __future__ import annotations

import os
import shutil
import socket
from typing import TYPE_CHECKING

from isolation.errors import EngineError
from isolation.sandbox.egress.bounds import Bounds
from isolation.sandbox.egress.inside import SOCKET
from isolation.sandbox.leases import leases_folder

if TYPE_CHECKING:
    from pathlib import Path

    from isolation.clock import Clock
    from isolation.model.network import Network
    from isolation.model.traffic import Traffic
    from isolation.sandbox.egress.proxy import Proxy
    from isolation.sandbox.egress.resolver import Resolver


def egress_folder() -> Path:
    """Return this host's folder of ways out, beside its leases: gone after a reboot, as the containers are."""
    return leases_folder().parent / "egress"


class Egress:
    """One cell's way out. ``path`` is the folder to mount."""

    def __init__(self, path: Path, proxy: Proxy) -> None:
        self.path = path
        self._proxy = proxy

    def traffic(self) -> Traffic:
        """Return what was decided and what went through; also after ``close``."""
        return self._proxy.traffic()

    def close(self) -> None:
        """Cut every connection and end the proxy; can be called again."""
        self._proxy.close()

    def remove(self) -> None:
        """Remove the folder, once no container has it mounted; one that is gone is no error."""
        shutil.rmtree(self.path, ignore_errors=not self.path.exists())


class Egresses:
    """Makes ways out below one folder. ``resolver`` None: this host's own."""

    def __init__(
        self, folder: Path, clock: Clock, *, resolver: Resolver | None = None, bounds: Bounds | None = None
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._resolver = resolver
        self._bounds = bounds or Bounds()

    def open(self, cell: str, uid: int, network: Network) -> Egress:
        """Open a cell's way out: from here on it is served. Raises EngineError where that cannot be."""
        from isolation.sandbox.egress.proxy import Proxy  # noqa: PLC0415 - most runs have no network
        from isolation.sandbox.egress.resolver import SystemResolver  # noqa: PLC0415 - as above

        path = self._folder / cell
        resolver = self._resolver or SystemResolver()
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.mkdir()
            listener = _listen(path, uid, self._bounds.waiting)
            return Egress(
                path, Proxy(listener, network.allow, resolver=resolver, clock=self._clock, bounds=self._bounds)
            )
        except OSError as error:
            self.remove(cell)
            hint = "`isolation clean` removes what dead runs left there."
            raise EngineError(f"no way out can be made in {path}: {error.strerror}", hint=hint) from error

    def names(self) -> tuple[str, ...]:
        """Name those that are there, by cell."""
        return tuple(sorted(path.name for path in self._folder.iterdir())) if self._folder.is_dir() else ()

    def remove(self, cell: str) -> None:
        """Remove what is left of a dead cell's; nobody serves it any more."""
        shutil.rmtree(self._folder / cell, ignore_errors=True)


def _listen(folder: Path, uid: int, waiting: int) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    path = folder / SOCKET
    folder.chmod(0o755)  # the mode at creation is subject to the umask
    at = os.open(folder, os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        listener.bind(f"/proc/self/fd/{at}/{SOCKET}")  # a socket's own path may be no longer than 107 bytes (unix(7))
        if os.geteuid() == 0:
            os.chown(path, uid, uid)
            path.chmod(0o600)
        else:
            path.chmod(0o666)
        listener.listen(waiting)
    except BaseException:
        listener.close()
        raise
    finally:
        os.close(at)
    return listener
