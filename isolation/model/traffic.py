"""What a cell tried to reach, as the host saw it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Via = Literal["http", "connect", "tcp"]
"""A plain request; a tunnel; a tunnel to an endpoint of TCP."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """
    One request to reach something, and what the host made of it.

    ``host`` and ``port`` are what was asked for (empty and 0 where nobody could tell), ``address`` what was connected
    to, empty if nothing was. ``why`` says why not, or what went wrong later. Bytes are those between the host and
    that address, headers included. ``wall_s`` is how long it took, from the request to its end; None: nobody saw that.
    """

    at: str
    via: Via
    host: str
    port: int
    allowed: bool
    why: str = ""
    address: str = ""
    bytes_sent: int = 0
    bytes_received: int = 0
    wall_s: float | None = None


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
