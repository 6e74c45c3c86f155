"""The runner's own walls against the steps that it starts: they share a uid with it, and nothing else."""

from __future__ import annotations

from calls import function

_PR_SET_DUMPABLE = 4
_prctl = function("prctl")


def hide() -> None:
    """
    Make this process opaque to others of its uid.

    A process that is not dumpable has its /proc entries owned by root (proc(5)): neither its memory, where the nonce
    is, nor its descriptors, where the channel is, can be opened by a step.
    """
    _set_dumpable(0)


def show() -> None:
    """Undo ``hide`` in a step's process, whose own code may want to look at /proc/self."""
    _set_dumpable(1)


def _set_dumpable(value: int) -> None:
    result, error = _prctl(_PR_SET_DUMPABLE, value, 0, 0, 0)
    if result != 0:
        raise OSError(error, "prctl(PR_SET_DUMPABLE)")
