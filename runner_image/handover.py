"""
The secrets of a run, as the runner holds them: the bytes of one buffer, never text.

A step's process, forked with all of them, takes its own out and wipes the buffer before any of its code. Nobody else
can look: the runner is not dumpable, and neither is a step that has a secret.
"""

from __future__ import annotations

from isolation.contract import SECRET_HEADER

TYPE_CHECKING = False  # not typing's: run.py says why
if TYPE_CHECKING:
    from collections.abc import Sequence


class Secrets:
    """Where each value lies in the buffer, by name."""

    def __init__(self, buffer: bytearray) -> None:
        self._buffer = buffer
        self._places: dict[str, slice] = {}
        at = 0
        while at < len(buffer):
            name_bytes, value_bytes = SECRET_HEADER.unpack_from(buffer, at)
            value_at = at + SECRET_HEADER.size + name_bytes
            name = buffer[at + SECRET_HEADER.size : value_at].decode()
            at = value_at + value_bytes
            self._places[name] = slice(value_at, at)

    def hand_over(self, names: Sequence[str]) -> dict[str, str]:
        """Return the secrets of these names and wipe them all: called in the process of the step that names them."""
        own = {name: self._buffer[self._places[name]].decode() for name in names}
        self.wipe()
        return own

    def wipe(self) -> None:
        """Write zeros over everything."""
        self._buffer[:] = bytes(len(self._buffer))
