"""Who comes in, and who does not: every route, with every kind of token."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from itertools import pairwise
from pkgutil import iter_modules
from typing import TYPE_CHECKING

import pytest
from limits import RateLimitItemPerHour
from starlette.testclient import TestClient

from isolation.clock import SystemClock
from isolation.model.access import Permission, Role, Token, permissions_of
from isolation.service import routes
from isolation.service.app import create_app
from isolation.service.doorkeeper import WRONG_A_MINUTE, PerSecond
from isolation.service.service import Service
from isolation.settings import Settings
from isolation.wiring import open_stores
from tests.service.conftest import AT

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from httpx2 import Client

    from tests.service.conftest import ClientFor, TokenFor

OPEN = {"/healthz", "/readyz", "/version"}
"""These tell nothing of anybody's."""


def routes_of(client: Client) -> list[tuple[str, str]]:
    """Name every route, as method and path."""
    paths = client.get("/openapi.json").json()["paths"]
    return sorted((method.upper(), path) for path, methods in paths.items() for method in methods)


def test_without_a_token_nothing_is_said(service: Service, client_for: ClientFor) -> None:
    """Every route, now and in future: one that forgets to ask for a permission is found here."""
    service.door._wrong = RateLimitItemPerHour(10_000)  # there are more routes than an address may be wrong
    client = client_for(None)
    seen = {path: client.request(method, path).status_code for method, path in routes_of(client)}

    assert {path for path, status in seen.items() if status != 401} == OPEN
    assert len(seen) > 8


def test_a_token_of_another_namespace_opens_nothing(client_for: ClientFor) -> None:
    """An operator's of one namespace is nobody in another."""
    client = client_for(Role.OPERATOR, "theirs")
    asked = [(method, path) for method, path in routes_of(client) if path not in OPEN]
    said = {asked_for: client.request(*asked_for, params={"namespace": "default"}) for asked_for in asked}

    assert {asked_for for asked_for, answer in said.items() if answer.status_code != 403} == set()
    assert all(answer.json()["code"] == "forbidden" for answer in said.values())


def test_a_viewer_changes_nothing(client_for: ClientFor) -> None:
    """What is no GET asks for more than looking."""
    client = client_for(Role.VIEWER)
    changing = [(method, path) for method, path in routes_of(client) if method != "GET"]
    assert changing
    assert {client.request(*asked_for).status_code for asked_for in changing} == {403}


@pytest.mark.parametrize("shown", ["Bearer iso_wrong", "Bearer", "Basic YTpi", "iso_wrong", "Bearer \xff"])
def test_what_is_no_token_is_refused(client_for: ClientFor, shown: str) -> None:
    """Whatever it looks like, the answer is the same; also where it is beside an anonymous role."""
    answer = client_for(None).get("/v1/context", headers=[(b"authorization", shown.encode("latin-1"))])
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://127.0.0.1:8080", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Host": "localhost:8080"}, 200),
        ({"Host": "evil.example:8080"}, 401),
        ({"Origin": "http://evil.example"}, 401),
        ({"Origin": "null"}, 401),
        ({"Sec-Fetch-Site": "cross-site"}, 401),
        ({"Host": ""}, 401),
        ({"Host": "["}, 401),
        ({"Origin": "http://["}, 401),
    ],
)
def test_anybody_is_nobody_of_another_page(tmp_path: Path, headers: dict[str, str], status: int) -> None:
    """A browser of this machine's could be made to ask: by a page from elsewhere, or by a name that leads here."""
    settings = Settings(state=tmp_path / "state")
    with Service(open_stores(settings), settings, SystemClock(), anonymous=Role.VIEWER) as service:
        client = TestClient(create_app(service), base_url="http://127.0.0.1:8080")
        assert client.get("/v1/context", headers=headers).status_code == status


def test_a_token_ends_when_it_is_revoked(service: Service, client_for: ClientFor) -> None:
    """Revoked here it counts no more at once."""
    client = client_for(Role.VIEWER)
    (token,) = service.tokens.list()
    assert client.get("/v1/context").status_code == 200
    assert client_for(Role.OPERATOR).delete(f"/v1/tokens/{token.token_id}").status_code == 200
    assert client.get("/v1/context").status_code == 401


def test_a_token_that_is_revoked_while_it_is_looked_up_counts_no_more(
    service: Service, token_for: TokenFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who looked began before, and knows it still; whoever asks after it was revoked is refused."""
    secret = token_for(Role.VIEWER)
    (token,) = service.tokens.list()
    has_read, is_revoked = threading.Event(), threading.Event()
    by_digest = service.tokens.by_digest

    def slowly() -> dict[str, Token]:
        found = by_digest()
        has_read.set()
        assert is_revoked.wait(60)
        return found

    def revoke() -> None:
        service.tokens.revoke(token.token_id, AT)
        is_revoked.set()
        service.door.forget()

    monkeypatch.setattr(service.tokens, "by_digest", slowly)
    with ThreadPoolExecutor(2) as pool:
        looking = pool.submit(asyncio.run, service.door.token_of(secret))
        assert has_read.wait(60)
        pool.submit(revoke).result()
        assert looking.result() == token
    assert asyncio.run(service.door.token_of(secret)) is None


def test_whoever_comes_at_once_has_the_tokens_looked_up_once(
    service: Service, token_for: TokenFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each of them would, whenever what is known is a second old."""
    secret = token_for(Role.VIEWER)
    looks: list[dict[str, Token]] = []
    by_digest = service.tokens.by_digest

    def counted() -> dict[str, Token]:
        looks.append(by_digest())
        return looks[-1]

    monkeypatch.setattr("isolation.service.doorkeeper.LOOK_S", 3600.0)
    monkeypatch.setattr(service.tokens, "by_digest", counted)

    async def come() -> list[Token | None]:
        return await asyncio.gather(*(service.door.token_of(secret) for _ in range(50)))

    assert None not in asyncio.run(come())
    assert len(looks) == 1


def test_a_token_ends_at_its_time(client_for: ClientFor, token_for: TokenFor) -> None:
    """One that has expired is no better than none."""
    token = token_for(Role.VIEWER, expires_at=AT)
    answer = client_for(None).get("/v1/context", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401


def test_no_token_is_kept_as_it_is(service: Service, token_for: TokenFor) -> None:
    """Whoever reads the state folder, or a copy of it, cannot come in."""
    token = token_for(Role.OPERATOR)
    service.stores.close()
    content = b"".join(path.read_bytes() for path in service.stores.folder.rglob("*") if path.is_file())
    assert token.encode() not in content
    assert b"a operator" in content


def test_an_operator_gives_no_more_than_is_theirs(client_for: ClientFor) -> None:
    """Tokens for other namespaces are neither made, nor seen, nor revoked."""
    theirs, everybodys = client_for(Role.OPERATOR, "theirs", "theirs-*"), client_for(Role.OPERATOR, "*")
    other = everybodys.post("/v1/tokens", json={"name": "ann", "namespaces": ["default"]}).json()

    assert theirs.post("/v1/tokens", json={"name": "bob", "namespaces": ["default"]}).status_code == 403
    assert theirs.post("/v1/tokens", json={"name": "bob", "namespaces": ["*"]}).status_code == 403
    assert theirs.post("/v1/tokens", json={"name": "bob", "namespaces": ["theirs-2"]}).status_code == 201
    assert other["token_id"] not in theirs.get("/v1/tokens").text
    assert theirs.delete(f"/v1/tokens/{other['token_id']}").status_code == 404
    assert other["token_id"] in everybodys.get("/v1/tokens").text


def test_every_decision_is_written_down(client_for: ClientFor) -> None:
    """Who, what, when and from where: of those who came in, and of those who did not."""
    client_for(Role.VIEWER).put("/v1/context/entry", params={"key": "a"}, json={"value": 1})
    client_for(None).get("/v1/context")
    decisions = client_for(Role.OPERATOR, "*").get("/v1/audit", params={"limit": 3}).json()["decisions"]

    told = [(one["who"], one["what"], one["permission"], one["namespace"], one["allowed"]) for one in decisions]
    assert told == [
        ("a operator", "GET /v1/audit", "audit:read", "default", True),
        ("", "GET /v1/context", "context:read", "", False),
        ("a viewer", "PUT /v1/context/entry", "context:write", "default", False),
    ]
    assert {one["address"] for one in decisions} == {"127.0.0.1"}


def test_an_operator_of_one_namespace_reads_its_decisions_alone(client_for: ClientFor) -> None:
    """What somebody else does is no business of theirs."""
    client_for(Role.VIEWER).get("/v1/context")
    told = client_for(Role.OPERATOR, "theirs").get("/v1/audit").json()["decisions"]
    assert {one["namespace"] for one in told} == {"theirs"}


def test_nothing_is_said_that_cannot_be_written_down(service: Service, client_for: ClientFor) -> None:
    """No audit log, no answer."""
    client = client_for(Role.VIEWER)
    service.stores.folder.joinpath("audit").write_text("in the way")
    assert client.get("/v1/context").status_code == 503


def test_who_guesses_tokens_is_slowed_down(client_for: ClientFor) -> None:
    """After some that do not count, their address is told to wait."""
    client = client_for(None)
    said = [client.get("/v1/context", headers={"Authorization": "Bearer iso_x"}) for _ in range(WRONG_A_MINUTE + 1)]
    assert [answer.status_code for answer in said] == [401] * WRONG_A_MINUTE + [429]
    assert said[-1].headers["Retry-After"] == "60"


def test_who_goes_on_guessing_does_not_fill_the_disk(service: Service, client_for: ClientFor) -> None:
    """The first of each minute are written down, and of a long path its beginning."""
    client = client_for(None)
    for _ in range(WRONG_A_MINUTE + 5):
        client.get(f"/v1/runs/{'a' * 50_000}")
    told = service.audit.newest(1_000)
    assert len(told) == WRONG_A_MINUTE
    assert {len(one.what) for one in told} == {len("GET ") + 1_000}


class Still:
    """A clock that goes on when a test says so."""

    at_s = 5.9

    def monotonic_s(self) -> float:
        """Return what the test says."""
        return self.at_s

    def now(self) -> datetime:
        """Return the current time."""
        return SystemClock().now()


def test_who_asks_too_often_is_told_to_wait(service: Service, client_for: ClientFor) -> None:
    """Each token has its own measure, within any second, whenever that begins; who has gone is forgotten."""
    clock = Still()
    service.door._each = PerSecond(2, clock)
    client, other = client_for(Role.VIEWER), client_for(Role.VIEWER)
    assert [client.get("/v1/me").status_code for _ in range(3)] == [200, 200, 429]
    assert other.get("/v1/me").status_code == 200
    clock.at_s += 0.5  # in another second of the clock, and within one of the first
    assert [one.get("/v1/me").status_code for one in (client, other, other)] == [429, 200, 429]
    clock.at_s += 0.5
    assert [client.get("/v1/me").status_code for _ in range(3)] == [200, 200, 429]
    clock.at_s += 60
    other.get("/v1/me")
    assert len(service.door._each._asked) == 1


def test_every_permission_is_some_roles_and_a_higher_role_may_more() -> None:
    """The roles are one order."""
    sets = [permissions_of(role) for role in Role]
    assert all(low < high for low, high in pairwise(sets))
    assert sets[-1] == {*Permission}


def test_me_tells_what_one_may(client_for: ClientFor) -> None:
    """The first namespace that is a name is meant where none is named."""
    me = client_for(Role.RUNNER, "team-*", "ours").get("/v1/me").json()
    assert (me["role"], me["namespace"], me["namespaces"]) == ("runner", "ours", ["team-*", "ours"])
    assert "context:write" in me["permissions"]


def test_no_route_is_left_out_of_the_contract(client: TestClient) -> None:
    """Else the tests above would not ask for it."""
    modules = [import_module(f"{routes.__name__}.{found.name}") for found in iter_modules(routes.__path__)]
    made = {
        (method, route.path_format) for module in modules for route in module.router.routes for method in route.methods
    }
    assert made == {*routes_of(client)}
