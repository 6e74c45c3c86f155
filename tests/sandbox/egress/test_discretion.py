"""No decision that is kept tells a secret."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isolation.clock import SystemClock
from isolation.model.secret import Secret
from isolation.sandbox.egress.allow import AllowList
from isolation.sandbox.egress.discretion import hide
from isolation.sandbox.egress.log import Log
from tests.sandbox.egress.conftest import LOOPBACK, Names

if TYPE_CHECKING:
    from isolation.model.traffic import Traffic
    from tests.sandbox.egress.conftest import Open, Outside

VALUE = "Correct-Horse-42"
SECRET = Secret("TOKEN", VALUE)


def denied(host: str) -> Traffic:
    """Record a request for a name as the proxy does."""
    log = Log(SystemClock())
    log.begin("connect", host, 443).why = str(AllowList([]).refuse_name(host, 443))
    return replace(log.traffic(), left_out=1)


@pytest.mark.parametrize(
    "written",
    [
        VALUE,
        VALUE.lower(),
        VALUE.upper(),
        VALUE.encode().hex(),
        base64.b64encode(VALUE.encode()).decode().rstrip("=").lower(),
    ],
)
def test_a_secret_in_a_name_is_hidden_in_any_case(written: str) -> None:
    """Clients and we lower-case names, so a secret shows otherwise than it is; the rest of the record stays."""
    shown = hide(denied(f"x.{written}.evil.example"), [SECRET])

    (decision,) = shown.decisions
    assert (decision.host, decision.why) == ("[secret TOKEN]", "[secret TOKEN]")
    assert (decision.port, decision.allowed, shown.left_out) == (443, False, 1)


@given(st.from_regex(r"[a-z0-9-]{6,40}", fullmatch=True), st.text("abcxyz.-", max_size=260))
def test_no_part_of_a_secret_is_left_by_cutting_it(value: str, around: str) -> None:
    """A long reason is cut; a secret across the cut would be half of itself."""
    shown = hide(denied(f"{around}{value}.example"), [Secret("TOKEN", value)])

    assert value not in f"{shown}"
    assert shown.decisions[0].host == "[secret TOKEN]"


def test_without_a_secret_in_it_a_decision_stays() -> None:
    """Nothing is hidden that need not be."""
    traffic = denied("other.example")

    assert hide(traffic, [SECRET]) == traffic
    assert hide(traffic, []) is traffic


@pytest.mark.parametrize(
    "request_",
    ["GET http://a.example/ HTTP/1.1\r\nAuthorization: Correct-Horse\0-42\r\n\r\n",
     "GET http://Correct-Horse-42@a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
     "GET http://correct horse 42/ HTTP/1.1\r\n\r\n",
     "GET correct-horse://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
     "GET http://a.example/ HTTP/1.1\r\nHost: correct-horse-42\r\n\r\n",
     "POST http://a.example/ HTTP/1.1\r\nHost: a.example\r\nContent-Length: horse\r\n\r\n"],
)  # fmt: skip
def test_a_refused_request_is_not_quoted(open_cell: Open, request_: str) -> None:
    """Its headers and its address are nobody's business, and half a secret would not be found."""
    cell = open_cell("a.example:80")

    cell.ask(request_.encode("latin-1"))

    (decision,) = cell.proxy.traffic().decisions
    assert not decision.allowed
    assert "horse" not in f"{decision}".lower()


def test_a_server_that_answers_no_http_is_not_quoted(open_cell: Open, outside: Outside) -> None:
    """It may send back what it was told."""
    cell = open_cell(
        f"site.example:{outside.port}", f"{LOOPBACK}:{outside.port}", resolver=Names(site_example=[[LOOPBACK]])
    )

    cell.get(f"http://site.example:{outside.port}/rubbish")

    assert cell.proxy.traffic().decisions[0].why == "what came back is no HTTP: illegal status line"
