"""From a name to an address: resolved once, checked, and that very address connected to."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from isolation.sandbox.egress.dial import _is_own
from isolation.sandbox.egress.resolver import SystemResolver
from tests.sandbox.egress.conftest import LOOPBACK, Names

if TYPE_CHECKING:
    from tests.sandbox.egress.conftest import Open, Outside


def test_an_answer_that_changes_is_asked_for_once(open_cell: Open, outside: Outside) -> None:
    """D 69: rebinding. The second answer would have led to another address, and is never given."""
    names = Names(site_example=[[LOOPBACK], ["169.254.169.254"]])
    cell = open_cell(f"site.example:{outside.port}", f"{LOOPBACK}:{outside.port}", resolver=names)

    answer = cell.get(f"http://site.example:{outside.port}/")

    assert b" 200 " in answer
    assert names.asked == ["site.example"]
    assert cell.proxy.traffic().decisions[0].address == LOOPBACK


def test_the_next_request_is_checked_anew(open_cell: Open, outside: Outside) -> None:
    """What was right a moment ago says nothing of now."""
    names = Names(site_example=[[LOOPBACK], ["169.254.169.254"]])
    cell = open_cell(f"site.example:{outside.port}", f"{LOOPBACK}:{outside.port}", resolver=names)

    first, second = (cell.get(f"http://site.example:{outside.port}/") for _ in range(2))

    assert b" 200 " in first
    assert b" 403 Forbidden: site.example is allowed, but its address 169.254.169.254 is a metadata service" in second
    assert len(outside.heard) == 1


@pytest.mark.parametrize("address", ["169.254.169.254", "127.0.0.1", "::ffff:10.0.0.1", "fe80::1%2", "64:ff9b::7f00:1"])
def test_a_name_below_a_star_that_leads_inwards_is_denied(open_cell: Open, outside: Outside, address: str) -> None:
    """D 65: the name is allowed, where it leads is not; nobody is connected to, and both are on record."""
    cell = open_cell(f"*.example:{outside.port}", resolver=Names(imds_example=[[address]]))

    answer = cell.get(f"http://imds.example:{outside.port}/latest/meta-data/")

    assert answer.startswith(b"HTTP/1.1 403 Forbidden: imds.example is allowed, but its address ")
    (decision,) = cell.proxy.traffic().decisions
    assert (decision.allowed, decision.host, decision.address) == (False, "imds.example", "")
    assert "the policy's network needs the entry '" in decision.why
    assert outside.heard == []


def test_of_several_addresses_only_those_that_are_allowed_are_tried(open_cell: Open, outside: Outside) -> None:
    """In their order; one that does not answer is no reason to give up."""
    names = Names(site_example=[["10.0.0.1", "127.0.0.2", LOOPBACK]])  # nobody listens at the second
    listed = [f"{address}:{outside.port}" for address in ("127.0.0.2", LOOPBACK)]
    cell = open_cell(f"site.example:{outside.port}", *listed, resolver=names)

    assert b" 200 " in cell.get(f"http://site.example:{outside.port}/")

    (decision,) = cell.proxy.traffic().decisions
    assert (decision.address, decision.why) == (LOOPBACK, "")


def test_an_address_is_never_resolved(open_cell: Open, outside: Outside) -> None:
    """It is one already."""
    names = Names()
    cell = open_cell(f"{LOOPBACK}:{outside.port}", resolver=names)

    assert b" 200 " in cell.get(f"http://{LOOPBACK}:{outside.port}/")
    assert names.asked == []


def test_a_name_that_is_not_listed_is_never_resolved(open_cell: Open) -> None:
    """D 69: else a name server of the recipe's author's would hear whatever the name says."""
    names = Names()
    cell = open_cell("*.example:443", resolver=names)

    for url in ("http://stolen-words.evil.test/", "http://stolen-words.example:80/"):
        assert b" 403 " in cell.get(url)

    assert names.asked == []


def test_the_systems_own_resolver_knows_this_host() -> None:
    """From the hosts file, as every other program here."""
    assert LOOPBACK in SystemResolver().addresses("localhost", 80)


def test_an_address_of_this_host_is_known_as_such() -> None:
    """By asking the kernel, which sends nothing for that."""
    assert _is_own(LOOPBACK, 80)
    assert not _is_own("192.0.43.8", 80)


OWN = """
import socket, sys, threading
from isolation.clock import SystemClock
from isolation.model.network import Network
from isolation.sandbox.egress.bounds import Bounds
from isolation.sandbox.egress.proxy import Proxy

def ask(*entries):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("\\0proxy")
    listener.listen()
    allowed = Network(allow=entries)
    proxy = Proxy(listener, allowed, resolver=Leads(), clock=SystemClock(), bounds=Bounds())
    client = socket.socket(socket.AF_UNIX)
    client.connect("\\0proxy")
    client.sendall(b"CONNECT site.example:8080 HTTP/1.1\\r\\nHost: site.example:8080\\r\\n\\r\\n")
    print(client.recv(1000).decode().splitlines()[0])
    client.close()
    proxy.close()

class Leads:
    def addresses(self, host, port):
        return ["192.0.43.8"]

server = socket.create_server(("192.0.43.8", 8080))
ask("site.example:8080")
ask("site.example:8080", "192.0.43.8:8080")
"""


@pytest.mark.root
def test_a_public_address_of_this_host_is_denied_unless_listed() -> None:
    """Its firewall keeps others from what listens there, and not this host itself. In a network of the test's own."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("only root may make a network, and only with iproute2")
    setup = 'ip link set lo up && ip addr add 192.0.43.8/32 dev lo && exec "$0" -c "$1"'

    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", setup, sys.executable, OWN],  # noqa: S607 - where it lies differs
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    why = "site.example is allowed, but its address 192.0.43.8 is an address of this host's own"
    needs = "the policy's network needs the entry '192.0.43.8:8080'"
    told = [f"HTTP/1.1 403 Forbidden: {why}; {needs}", "HTTP/1.1 200 Connection established"]
    assert done.stdout.splitlines() == told, done.stderr
