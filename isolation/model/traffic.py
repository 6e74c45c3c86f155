"""What a cell tried to reach, as the host saw it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """
    One request to reach something, and what the host made of it.

    ``host`` and ``port`` are what was asked for (empty and 0 where nobody could tell), ``address`` what was connected
    to, empty if nothing was. ``why`` says why not, or what went wrong later. Bytes are those between the host and
    that address, headers included.
    """

    at: str
    via: Literal["http", "connect"]
    host: str
    port: int
    allowed: bool
    why: str = ""
    address: str = ""
    bytes_sent: int = 0
    bytes_received: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Traffic:
    """
    All that one attempt asked of the network, in the order in which it asked.

    ``left_out`` counts decisions beyond those that are kept; the bytes are those of all.
    """

    decisions: tuple[Decision, ...] = ()
    left_out: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
