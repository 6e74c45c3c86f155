"""The C library's memory: what threads have freed is kept for all of them, and not by each for itself."""

from __future__ import annotations

import ctypes

_M_ARENA_MAX = -8
"""As glibc's malloc.h has it."""
_ARENAS = 2


def share_arenas() -> None:
    """
    Have all threads that are still to come share few of glibc's arenas (mallopt(3)).

    Else there are up to eight a processor, and each keeps what was freed in it: a server whose threads come and go
    seems to leak. Another C library has none, and nothing is done.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, _ARENAS)
