"""
What one cell sees of the host's files, laid out under names that tell it nothing.

::

    <run>/isolation/cells/<uid>/package   an overlay of the package alone
                               /layer     an overlay of its requirements alone
                               /base      an overlay of the snapshot's base alone
                               /in        a tmpfs with the snapshot

A bind mount shows where its folder lies (proc(5), mountinfo: root). These have a file system of their own, whose root
is ``/``; and an overlay shows its layers as they were named to it: here, by descriptors that are closed again.

The only module that mounts.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import struct
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from isolation.errors import EngineError
from isolation.sandbox.engine import engine_address
from isolation.sandbox.hardening import Mounts

if TYPE_CHECKING:
    from collections.abc import Iterator

_SNAPSHOT = "snapshot.json"
_RDONLY, _NOSUID, _NODEV, _NOEXEC = 1, 2, 4, 8
_DETACH, _NOFOLLOW = 2, 8
_FOLDERS = ("package", "layer", "base")
_MOUNTED = (*_FOLDERS, "in")

_PEER = struct.Struct("3i")  # pid, uid, gid; socket(7)
_OURS, _FIRST = Path("/proc/self/ns/mnt"), Path("/proc/1/ns/mnt")

_libc = ctypes.CDLL(None, use_errno=True)


class Stage:
    """
    The folders of one cell. Where this user may not mount, they are the state folder's own, and ``nameless`` is false.

    ``strike`` takes it away, and can be called again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.nameless = False
        self._snapshot: Path | None = None

    def lay(self) -> Path:
        """Lay out what no run needs to be known for; returns the snapshot's folder, empty. Raises EngineError."""
        snapshot = self.folder / "in"
        self.strike()  # what is there is nobody's: who lays it out holds the lease of its uid
        with self._errors():
            self.folder.mkdir(parents=True, mode=0o700)
            self.folder.parent.chmod(0o700)
            snapshot.mkdir()
            self.nameless = _may_mount()
            if self.nameless:
                _check_namespace()
                _mount("tmpfs", snapshot, _NOSUID | _NODEV | _NOEXEC, "mode=755,nr_inodes=16")
                for name in ("empty", *_FOLDERS):
                    (self.folder / name).mkdir()
            snapshot.chmod(0o755)  # the mode at creation is subject to the umask
        self._snapshot = snapshot
        return snapshot

    def set_up(self, *, package: Path, layer: Path | None, base: Path | None = None) -> Mounts:
        """Lay out the rest, and all where nothing is yet; the snapshot's stays empty. Raises EngineError."""
        snapshot = self._snapshot or self.lay()
        if not self.nameless:
            return Mounts(package=package, snapshot=snapshot, layer=layer, base=base)
        sources = {name: source for name, source in zip(_FOLDERS, (package, layer, base), strict=True) if source}
        with self._errors():
            for name, source in sources.items():
                _mount_alone(source, self.folder / "empty", self.folder / name)
        return Mounts(snapshot=snapshot, **{name: self.folder / name for name in sources})

    def put(self, snapshot: bytes) -> None:
        """Put the snapshot in; the cell's own uid may read it, and nobody but us may write it. Raises EngineError."""
        assert self._snapshot is not None, "not set up yet"  # noqa: S101 - a cell is handed out when it stands
        file = self._snapshot / _SNAPSHOT
        try:
            file.write_bytes(snapshot)
            file.chmod(0o444)  # the mode at creation is subject to the umask
        except OSError as error:
            raise EngineError(
                f"the snapshot of {len(snapshot)} bytes cannot be laid out in {self.folder}: {error.strerror}",
                hint="It is kept in memory while the cell stands; free some.",
            ) from error

    def strike(self) -> None:
        """Unmount and remove everything. Raises EngineError for what stays."""
        self._snapshot = None
        try:
            for name in _MOUNTED:
                _unmount(self.folder / name)
            if self.folder.is_dir():
                shutil.rmtree(self.folder)
        except OSError as error:
            raise EngineError(
                f"the folders of a cell cannot be taken away in {self.folder}: {error.strerror}",
                hint="`isolation clean` tries again.",
            ) from error

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise EngineError(
                f"the folders of a cell cannot be laid out in {self.folder}: {error.strerror}",
                hint="`isolation clean` takes away what dead controllers left there.",
            ) from error


def staged(folder: Path) -> Iterator[int]:
    """Name the stages in a folder, by uid."""
    if folder.is_dir():
        yield from (int(path.name) for path in sorted(folder.iterdir()) if path.name.isdecimal())


def _may_mount() -> bool:
    return os.geteuid() == 0


def _check_namespace() -> None:
    """Raise EngineError where nobody else sees what this process mounts: a cell would find its folders empty."""
    try:
        ours = _OURS.readlink()
        alone = ours != _FIRST.readlink() and ours != Path(f"/proc/{_engine_pid()}/ns/mnt").readlink()
    except OSError:
        return  # it is elsewhere, or hidden: nobody can tell
    if alone:
        raise EngineError(
            "this process has mounts of its own, which the engine does not see: a cell's folders would be empty",
            hint="Start it in the host's mount namespace; a unit of systemd has no ProtectHome=, PrivateTmp= or alike.",
        )


def _engine_pid() -> int:
    """Return who listens where engines do; OSError where nobody is seen to."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(engine_address().removeprefix("unix://"))
        pid: int = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))[0]
        return pid


def _mount_alone(source: Path, empty: Path, target: Path) -> None:
    """Mount one folder read-only as an overlay; an overlay without an upper layer wants two lower ones."""
    with ExitStack() as stack:
        layers = []
        for path in (source, empty):
            fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, fd)
            layers.append(f"/proc/self/fd/{fd}")
        _mount("overlay", target, _RDONLY | _NOSUID | _NODEV, f"lowerdir={':'.join(layers)}")


def _mount(kind: str, target: Path, flags: int, data: str) -> None:
    _call("mount", kind.encode(), bytes(target), kind.encode(), ctypes.c_ulong(flags), data.encode())


def _unmount(target: Path) -> None:
    if target.is_dir() and target.is_mount():
        _call("umount2", bytes(target), ctypes.c_int(_DETACH | _NOFOLLOW))


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
