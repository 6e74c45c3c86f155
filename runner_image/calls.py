"""Functions of the C library, by what lies beneath ``ctypes``, whose own module makes types for all that C has."""

from __future__ import annotations

import _ctypes

TYPE_CHECKING = False  # not typing's: run.py says why
if TYPE_CHECKING:
    from collections.abc import Callable


class _Long(_ctypes._SimpleCData):  # noqa: SLF001 - it is what ctypes.c_long is made from
    _type_ = "l"


class _Function(_ctypes.CFuncPtr):
    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
    _restype_ = _Long


def function(name: str) -> Callable[..., tuple[int, int]]:
    """Find a function of long arguments; it returns its result, and errno, which is 0 if it set none."""
    process = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]  # dlopen(3): NULL is the program itself
    found = _Function(_ctypes.dlsym(process, name))

    def call(*arguments: int) -> tuple[int, int]:
        _ctypes.set_errno(0)
        result = found(*map(_Long, arguments))
        return result, _ctypes.get_errno()

    return call
