"""
Whether a cell may reach a name, and whether the address that the name led to. Pure: nothing is asked of any network.

Both must hold. A name is allowed by an entry that names it. An address is allowed if it belongs to the public
internet, or if an entry names that very address with that port: whoever controls a name's zone can let it lead
anywhere, and this host's own network trusts this host.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from isolation.model.endpoint import Endpoint

if TYPE_CHECKING:
    from collections.abc import Sequence

    Address = ipaddress.IPv4Address | ipaddress.IPv6Address
    Block = ipaddress.IPv4Network | ipaddress.IPv6Network

_METADATA = (
    "169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254",
)  # fmt: skip
"""Where clouds give credentials to whoever asks from inside; one of them is an ordinary public address."""

_SPECIAL = {
    "an unspecified address": "0.0.0.0/8 ::/128",
    "a loopback address": "127.0.0.0/8 ::1/128",
    "a private address": "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 fc00::/7 fec0::/10 64:ff9b:1::/48",
    "a link-local address": "169.254.0.0/16 fe80::/10",
    "a multicast address": "224.0.0.0/4 ff00::/8",
    "a reserved address": (
        "192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4 "
        "2001::/23 2001:db8::/32 3fff::/20"
    ),
}
"""From the registries of special-purpose addresses (RFC 6890 and what was added since)."""

_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
"""All that was ever given out of IPv6 (RFC 4291, 2.4); the rest is special, known to us or not."""
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_6TO4 = ipaddress.IPv6Network("2002::/16")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why not, and the entry that would change that; ``needs`` is empty where none would."""

    why: str
    needs: str = ""

    def __str__(self) -> str:
        return f"{self.why}; the policy's network needs the entry '{self.needs}'" if self.needs else self.why


class AllowList:
    """
    A policy's entries.

    >>> allowed = AllowList([Endpoint("*.internal", 8080), Endpoint("10.0.0.7", 8080)])
    >>> allowed.refuse_name("db.internal", 8080), allowed.refuse_address("10.0.0.7", 8080)
    (None, None)
    >>> print(allowed.refuse_address("10.0.0.8", 8080))
    10.0.0.8 is a private address; the policy's network needs the entry '10.0.0.8:8080'
    """

    def __init__(self, entries: Sequence[Endpoint]) -> None:
        self._entries = tuple(entries)
        self._exact = frozenset(self._entries)

    def refuse_name(self, host: str, port: int) -> Refusal | None:
        """Say why a canonical host and port may not be reached; None if they may."""
        if any(entry.covers(host, port) for entry in self._entries):
            return None
        asked = Endpoint(host, port)
        return Refusal(f"{asked} is not allowed", needs=str(asked))

    def refuse_address(self, address: str, port: int) -> Refusal | None:
        """Say why an address may not be connected to, whatever name led to it; None if it may."""
        if self.lists(address, port):
            return None
        kind = special(address)
        return Refusal(f"{address} is {kind}", needs=str(Endpoint(address, port))) if kind else None

    def lists(self, address: str, port: int) -> bool:
        """Tell whether an entry names this very address and port."""
        return Endpoint(address, port) in self._exact


def special(address: str) -> str:
    """
    Say what kind of address it is, if it is none of the public internet; else nothing.

    Addresses that carry one of IPv4 are what they carry.

    >>> special("192.0.43.8"), special("64:ff9b::a00:1"), special("169.254.169.254")
    ('', 'a private address', 'a metadata service')
    """
    parsed = ipaddress.ip_address(address)
    carried = _carried(parsed)
    if carried is not None:
        return special(str(carried))
    if str(parsed) in _METADATA:
        return "a metadata service"
    for kind, blocks in _blocks():
        if any(parsed in block for block in blocks):
            return kind
    beyond = isinstance(parsed, ipaddress.IPv6Address) and parsed not in _GLOBAL_V6
    return "a reserved address" if beyond or not parsed.is_global else ""


def _carried(address: Address) -> ipaddress.IPv4Address | None:
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _6TO4:
        return ipaddress.IPv4Address(int(address) >> 80 & 0xFFFFFFFF)
    return address.ipv4_mapped


@cache
def _blocks() -> tuple[tuple[str, tuple[Block, ...]], ...]:
    return tuple(
        (kind, tuple(ipaddress.ip_network(block) for block in blocks.split())) for kind, blocks in _SPECIAL.items()
    )
