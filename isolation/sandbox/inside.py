"""
Changes the mounts of a standing cell, from outside, while only our own runner lives in it. Linux 5.12 and root.

::

    our folder ─open_tree(CLONE)─▶ a mount of nobody's ─mount_setattr─▶ read-only ─move_mount─▶ the cell's /package

Sources: open_tree(2), mount_setattr(2), move_mount(2), setns(2), mount(2).
"""

from __future__ import annotations

import ctypes
import os
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

from isolation.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_MOVE_MOUNT, _OPEN_TREE, _MOUNT_SETATTR = 429, 428, 442
"""The same numbers on all architectures, as of all system calls since Linux 5.1."""
_AT_FDCWD, _AT_EMPTY_PATH = -100, 0x1000
_OPEN_TREE_CLONE = 1
_F_EMPTY_PATH = 4
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV = 1, 2, 4
_CLONE_FS, _CLONE_NEWNS = 0x200, 0x20000
_REMOUNT, _NOSUID, _NODEV, _NOEXEC = 32, 2, 4, 8

_libc = ctypes.CDLL(None, use_errno=True)


class _Attributes(ctypes.Structure):
    """``struct mount_attr``, mount_setattr(2)."""

    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def change_mounts(pid: int, folders: Mapping[str, Path], tmpfs: Mapping[str, str]) -> None:
    """
    Mount folders of the host read-only into the cell of that process, and give its tmpfs other options.

    ``folders`` are by their targets, ``tmpfs`` holds mount options (``size=…``) by target. Raises EngineError; the
    cell may have some of it then, and is of no use any more.
    """
    try:
        with ExitStack() as opened:
            clones = {target: _clone(folder, opened) for target, folder in folders.items()}
            namespace = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
            opened.callback(os.close, namespace)
            _within(namespace, clones, tmpfs)
    except OSError as error:
        raise EngineError(
            f"the mounts of the cell of process {pid} cannot be changed: {error.strerror}",
            hint="It takes root, and Linux from 5.12 on.",
        ) from error


def _clone(folder: Path, opened: ExitStack) -> int:
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC
    fd = _call("open_tree", _libc.syscall, _OPEN_TREE, _AT_FDCWD, bytes(folder), flags)
    opened.callback(os.close, fd)
    wanted = _Attributes(attr_set=_ATTR_RDONLY | _ATTR_NOSUID | _ATTR_NODEV)
    size = ctypes.c_size_t(ctypes.sizeof(wanted))
    _call("mount_setattr", _libc.syscall, _MOUNT_SETATTR, fd, b"", _AT_EMPTY_PATH, ctypes.byref(wanted), size)
    return fd


def _within(namespace: int, clones: Mapping[str, int], tmpfs: Mapping[str, str]) -> None:
    """Do it in a thread that ends with it: one that entered a namespace belongs there, with a root of its own."""
    failed: list[OSError] = []

    def enter() -> None:
        try:
            _call("unshare", _libc.unshare, _CLONE_FS)  # setns(2) lets nobody in who shares its root with others
            _call("setns", _libc.setns, namespace, _CLONE_NEWNS)
            for target, fd in clones.items():
                _call("move_mount", _libc.syscall, _MOVE_MOUNT, fd, b"", _AT_FDCWD, target.encode(), _F_EMPTY_PATH)
            flags = ctypes.c_ulong(_REMOUNT | _NOSUID | _NODEV | _NOEXEC)
            for target, options in tmpfs.items():
                _call("mount", _libc.mount, b"tmpfs", target.encode(), b"tmpfs", flags, options.encode())
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=enter, name="inside a cell")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


def _call(name: str, function: object, *arguments: object) -> int:
    assert callable(function)  # noqa: S101 - a name of the C library
    result = int(function(*(ctypes.c_long(one) if isinstance(one, int) else one for one in arguments)))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result
