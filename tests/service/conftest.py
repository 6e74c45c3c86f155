"""What tests of the service start from: one on an empty context, and somebody who may ask it."""

from __future__ import annotations

import shutil
from itertools import count
from typing import TYPE_CHECKING, Protocol

import httpx2
import pytest
from anyio.from_thread import start_blocking_portal
from starlette.testclient import TestClient

from isolation.clock import SystemClock
from isolation.model.access import Role
from isolation.service.app import create_app
from isolation.service.service import Service
from isolation.settings import Settings
from isolation.wiring import open_stores
from tests.service.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from anyio.from_thread import BlockingPortal
    from fastapi import FastAPI

AT = "2025-01-01T00:00:00.000Z"
_numbers = count(1)

BOTH_WAYS = pytest.mark.parametrize(
    "over_tcp", ["called", pytest.param("over TCP", marks=pytest.mark.slow)], indirect=True
)
"""For a whole file: `client` and `client_for` ask the application itself, and then a server's process."""


class TokenFor(Protocol):
    """What the fixture ``token_for`` gives."""

    def __call__(self, role: Role, *namespaces: str, expires_at: str | None = ...) -> str:
        """Make a token, and return it."""


class ClientFor(Protocol):
    """What the fixture ``client_for`` gives."""

    def __call__(self, role: Role | None, *namespaces: str) -> httpx2.Client:
        """Return a client with such a token, or with none."""


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("process"), "--slots", "0") as server:
        yield server


@pytest.fixture(scope="session")
def application(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    """Make one for all tests, each of which gives it a service: FastAPI reads its routes when they are used first."""
    settings = Settings(state=tmp_path_factory.mktemp("none") / "state")
    with Service(open_stores(settings), settings, SystemClock()) as service:
        return create_app(service)


@pytest.fixture
def over_tcp(request: pytest.FixtureRequest) -> Server | None:
    """Name the process that is asked; None: the application itself is called. BOTH_WAYS has either."""
    is_asked = getattr(request, "param", "called") == "over TCP"
    process: Server | None = request.getfixturevalue("process") if is_asked else None
    return process


@pytest.fixture
def service(tmp_path: Path, new_database: Path, over_tcp: Server | None) -> Iterator[Service]:
    """Open a service on an empty context, beside the process that is asked."""
    if over_tcp is not None:
        settings = Settings(state=over_tcp.state, namespace=f"test-{next(_numbers)}")
    else:
        settings = Settings(state=tmp_path / "state")
        shutil.copytree(new_database, settings.state)
    with Service(open_stores(settings), settings, SystemClock()) as service:
        yield service


@pytest.fixture
def token_for(service: Service, over_tcp: Server | None) -> TokenFor:
    def make(role: Role, *namespaces: str, expires_at: str | None = None) -> str:
        name, where = f"a {role.value}", [*namespaces] or [service.settings.namespace]
        if over_tcp is not None:  # which would not know at once of what another process has made
            with over_tcp.client() as client:
                answer = client.post("/v1/tokens", json={"name": name, "role": role, "namespaces": where})
            return str(answer.json()["token"])
        _, secret = service.tokens.make(name, role, where, AT, expires_at)
        service.door.forget()
        return secret

    return make


@pytest.fixture(scope="module")
def portal() -> Iterator[BlockingPortal]:
    """Run the one event loop of all that a file asks, as a server has: else each request brings a loop and threads."""
    with start_blocking_portal() as portal:
        yield portal


@pytest.fixture
def client_for(
    service: Service, token_for: TokenFor, over_tcp: Server | None, application: FastAPI, portal: BlockingPortal
) -> Iterator[ClientFor]:
    made: list[httpx2.Client] = []
    application.state.service = service

    def make(role: Role | None, *namespaces: str) -> httpx2.Client:
        headers = {} if role is None else {"Authorization": f"Bearer {token_for(role, *namespaces)}"}
        if over_tcp is not None:
            made.append(httpx2.Client(base_url=over_tcp.url, headers=headers))
            return made[-1]
        called = TestClient(application, headers=headers, client=("127.0.0.1", 50000), raise_server_exceptions=False)
        called.portal = portal
        return called

    yield make
    for one in made:
        one.close()


@pytest.fixture
def client(client_for: ClientFor, service: Service) -> httpx2.Client:
    """Ask as an operator of every namespace."""
    return client_for(Role.OPERATOR, service.settings.namespace, "*")
