"""Whether a name and whether an address: rules without any network."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isolation.model.endpoint import Endpoint
from isolation.sandbox.egress.allow import AllowList, special

SPECIAL = {
    "0.0.0.0": "an unspecified address",  # noqa: S104 - not to listen on
    "0.1.2.3": "an unspecified address",
    "::": "an unspecified address",
    "127.0.0.1": "a loopback address",
    "127.255.255.254": "a loopback address",
    "::1": "a loopback address",
    "10.0.0.1": "a private address",
    "172.16.0.1": "a private address",
    "172.31.255.255": "a private address",
    "192.168.1.1": "a private address",
    "100.64.0.1": "a private address",
    "fc00::1": "a private address",
    "fdff::1": "a private address",
    "fec0::1": "a private address",
    "64:ff9b:1::a00:1": "a private address",
    "169.254.1.1": "a link-local address",
    "fe80::1": "a link-local address",
    "224.0.0.1": "a multicast address",
    "239.255.255.250": "a multicast address",
    "ff02::1": "a multicast address",
    "240.0.0.1": "a reserved address",
    "255.255.255.255": "a reserved address",
    "192.0.2.1": "a reserved address",
    "198.18.0.1": "a reserved address",
    "198.51.100.1": "a reserved address",
    "203.0.113.1": "a reserved address",
    "192.88.99.1": "a reserved address",
    "2001:db8::1": "a reserved address",
    "2001:0:1::1": "a reserved address",
    "3fff::1": "a reserved address",
    "100::1": "a reserved address",
    "::7f00:1": "a reserved address",
    "4000::1": "a reserved address",
    "5f00::1": "a reserved address",
    "169.254.169.254": "a metadata service",
    "169.254.170.2": "a metadata service",
    "100.100.100.200": "a metadata service",
    "168.63.129.16": "a metadata service",
    "fd00:ec2::254": "a metadata service",
    "::ffff:127.0.0.1": "a loopback address",
    "::ffff:169.254.169.254": "a metadata service",
    "64:ff9b::a9fe:a9fe": "a metadata service",
    "64:ff9b::7f00:1": "a loopback address",
    "2002:7f00:1::1": "a loopback address",
    "2002:a00:1::1": "a private address",
}
PUBLIC = [
    "1.1.1.1",
    "192.0.43.8",
    "172.32.0.1",
    "100.128.0.1",
    "2606:4700::1",
    "64:ff9b::c000:2b08",
    "2002:c000:2b08::1",
]


@pytest.mark.parametrize(("address", "kind"), SPECIAL.items())
def test_an_address_beside_the_public_internet_is_refused(address: str, kind: str) -> None:
    """D 65 and D 69: loopback, private, link-local, metadata, multicast, reserved, and what carries one of them."""
    refusal = AllowList([Endpoint("*.example", 80)]).refuse_address(address, 80)

    assert special(address) == kind
    assert refusal is not None
    assert refusal.why == f"{address} is {kind}"
    assert Endpoint.parse(refusal.needs).covers(str(ipaddress.ip_address(address)), 80) or ":ffff:" in address


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_public_internet_is_allowed(address: str) -> None:
    """A list that refuses everything would pass all other tests."""
    assert AllowList([Endpoint("a.example", 80)]).refuse_address(address, 80) is None


@given(st.ip_addresses(v=4))
def test_what_python_calls_private_is_refused_however_it_is_dressed(address: ipaddress.IPv4Address) -> None:
    """Our table is ours; the library's must never know of one that we let through."""
    number = int(address)
    dressed = [
        f"::ffff:{address}",
        f"64:ff9b::{number >> 16:x}:{number & 0xFFFF:x}",
        f"2002:{number >> 16:x}:{number & 0xFFFF:x}::1",
    ]

    if not address.is_global or address.is_multicast:
        assert special(str(address))
    assert {special(one) for one in dressed} == {special(str(address))}


@given(st.ip_addresses(v=6))
def test_what_is_no_global_unicast_of_ipv6_is_refused(address: ipaddress.IPv6Address) -> None:
    """All but one eighth of it was never given out; two blocks outside carry addresses of IPv4."""
    carriers = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("::ffff:0:0/96"))
    if int(address) >> 125 != 1 and not any(address in block for block in carriers):
        assert special(str(address))


@given(st.ip_addresses().map(str), st.integers(1, 65535), st.integers(1, 65535))
def test_an_address_that_is_listed_is_allowed_with_its_port_alone(address: str, port: int, other: int) -> None:
    """The policy's author knows what listens there; what else listens there, nobody said."""
    allowed = AllowList([Endpoint(address, port)])

    assert allowed.refuse_address(address, port) is None
    if other != port and special(address):
        assert allowed.refuse_address(address, other) is not None


def test_a_name_that_is_listed_does_not_list_its_addresses() -> None:
    """Whoever runs the zone decides where it leads, and not who wrote the policy."""
    allowed = AllowList([Endpoint("*.internal", 8080)])

    assert allowed.refuse_name("db.internal", 8080) is None
    assert str(allowed.refuse_address("10.0.0.7", 8080)) == (
        "10.0.0.7 is a private address; the policy's network needs the entry '10.0.0.7:8080'"
    )


@pytest.mark.parametrize(
    ("host", "port", "needs"),
    [("other.example", 443, "other.example:443"), ("a.example", 80, "a.example:80"), ("::1", 443, "[::1]:443")],
)
def test_a_refused_name_says_which_entry_it_would_need(host: str, port: int, needs: str) -> None:
    """It can be copied into the policy as it stands."""
    refusal = AllowList([Endpoint("a.example", 443)]).refuse_name(host, port)

    assert refusal is not None
    assert refusal.needs == needs
    assert AllowList([Endpoint.parse(needs)]).refuse_name(host, port) is None
