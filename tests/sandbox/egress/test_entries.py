"""What a policy may write in its allow-list, and what such an entry covers."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isolation.model.endpoint import Endpoint, canonical_host, is_address
from isolation.model.network import NO_NETWORK, Network
from isolation.model.policy import Policy

LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
NAME = st.lists(LABEL, min_size=1, max_size=5).map(".".join).filter(lambda name: not name.rpartition(".")[2].isdigit())
NAME = NAME.filter(lambda name: not name.rpartition(".")[2].startswith("0x"))
PORT = st.integers(1, 65535)
ADDRESS = (st.ip_addresses(v=4) | st.ip_addresses(v=6)).map(str)
HOST = NAME | ADDRESS.map(lambda text: canonical_host(f"[{text}]" if ":" in text else text))


@given(HOST | NAME.map("*.{}".format), PORT)
def test_an_entry_reads_back_as_it_is_written(host: str, port: int) -> None:
    """Records keep the text; a policy from a record must allow the same."""
    entry = Endpoint(host, port)

    assert Endpoint.parse(str(entry)) == entry
    assert Endpoint.parse(str(entry).upper()) == entry


@given(st.text(st.sampled_from(string.ascii_letters + string.digits + ".:*[]-_/@%?# \t\n\0éß"), max_size=40))
def test_every_text_is_an_entry_or_a_sentence(text: str) -> None:
    """Nothing else is raised, and what is taken is in its one spelling."""
    try:
        entry = Endpoint.parse(text)
    except ValueError as error:
        said, _, instead = str(error).partition("; ")
        entry = Endpoint("said", len(said) and len(instead))
    assert 1 <= entry.port <= 65535, "or a sentence without what to write instead"
    assert entry.host == entry.host.lower()
    assert Endpoint.parse(str(entry)) == entry


@given(NAME, NAME, PORT, PORT)
def test_a_name_covers_itself_and_its_port_alone(name: str, other: str, port: int, other_port: int) -> None:
    """One port per entry."""
    entry = Endpoint(name, port)

    assert entry.covers(name, port)
    assert entry.covers(other, other_port) == ((other, other_port) == (name, port))


@given(NAME, NAME, PORT)
def test_a_star_covers_what_is_below_and_not_the_name_itself(below: str, name: str, port: int) -> None:
    """However deep; and never by the letters alone: evil-example.org is not below example.org."""
    entry = Endpoint(f"*.{name}", port)

    assert entry.covers(f"{below}.{name}", port)
    assert not entry.covers(name, port)
    assert not entry.covers(f"{below}{name}", port)
    assert not entry.covers(f".{name}", port)


@given(ADDRESS, PORT)
def test_no_star_covers_an_address(address: str, port: int) -> None:
    """`*.1:80` must not be a way to write a range."""
    assert not Endpoint(f"*.{address[-1]}", port).covers(address, port)
    assert not Endpoint("*.1", port).covers("10.0.0.1", port)
    with pytest.raises(ValueError, match="; "):
        Endpoint.parse(f"*.{address}:{port}")


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ("API.Example.ORG:443", "api.example.org:443"),
        ("*.Internal:8080", "*.internal:8080"),
        ("127.0.0.1:5432", "127.0.0.1:5432"),
        ("[2001:DB8:0:0::7]:80", "[2001:db8::7]:80"),
        ("[::ffff:10.0.0.7]:80", "10.0.0.7:80"),
        ("_ldap.example.org:389", "_ldap.example.org:389"),
        ("xn--bcher-kva.example:443", "xn--bcher-kva.example:443"),
    ],
)
def test_an_entry_is_normalised(written: str, means: str) -> None:
    """Hosts are compared in one spelling, whoever wrote them."""
    assert str(Endpoint.parse(written)) == means


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f.1", "0177.0.0.1", "0x7f000001", "1.2.3.4.5", "x.0x1"])
def test_an_address_in_an_odd_spelling_is_no_host(host: str) -> None:
    """Some resolvers take these for 127.0.0.1, and we must not be the ones who did not know."""
    with pytest.raises(ValueError, match="no address in its usual form"):
        canonical_host(host)


def test_an_address_is_told_from_a_name() -> None:
    """Addresses are never resolved, names always."""
    assert [is_address(host) for host in ("10.0.0.1", "::1", "a.example", "a1", "1a")] == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_without_an_allow_list_a_policy_is_recorded_as_ever() -> None:
    """Digests of policies that exist already stay as they are."""
    written = b'"network":"none"'

    assert written in Policy(name="p").content()
    assert Policy.model_validate({"name": "p", "network": "none"}) == Policy(name="p")
    assert Policy.read(Policy(name="p").content()).network is NO_NETWORK


def test_a_recorded_allow_list_comes_back() -> None:
    """A rerun must be allowed what the run was allowed."""
    policy = Policy.model_validate({"name": "p", "network": {"allow": ["Example.org:443", "[0::1]:80"]}})

    assert b'"network":{"allow":["example.org:443","[::1]:80"]}' in policy.content()
    assert Policy.read(policy.content()) == policy


def test_an_allow_list_has_an_end() -> None:
    """Each request is compared with each entry."""
    entries = [f"host{number}.example:443" for number in range(257)]

    assert len(Network.model_validate({"allow": entries[:256]}).allow) == 256
    with pytest.raises(ValueError, match="at most 256"):
        Network.model_validate({"allow": entries})


def test_recorded_endpoints_of_tcp_come_back() -> None:
    """With an allow-list or without; what is not there is not written."""
    policy = Policy.model_validate({"name": "p", "network": {"tcp": ["DB.example.org:5432"]}})

    assert b'"network":{"tcp":["db.example.org:5432"]}' in policy.content()
    assert Policy.read(policy.content()) == policy
    assert [str(entry) for entry in policy.network.entries] == ["db.example.org:5432"]
