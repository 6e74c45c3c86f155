"""What tests of the service start from: one on an empty state folder, and somebody who may ask it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest
from starlette.testclient import TestClient

from isolation.clock import SystemClock
from isolation.model.access import Role
from isolation.service.app import create_app
from isolation.service.service import Service
from isolation.settings import Settings
from isolation.wiring import open_stores

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AT = "2025-01-01T00:00:00.000Z"


class TokenFor(Protocol):
    """What the fixture ``token_for`` gives."""

    def __call__(self, role: Role, *namespaces: str, expires_at: str | None = ...) -> str:
        """Make a token, and return it."""


class ClientFor(Protocol):
    """What the fixture ``client_for`` gives."""

    def __call__(self, role: Role | None, *namespaces: str) -> TestClient:
        """Return a client with such a token, or with none."""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    settings = Settings(state=tmp_path / "state")
    with Service(open_stores(settings), settings, SystemClock()) as service:
        yield service


@pytest.fixture
def token_for(service: Service) -> TokenFor:
    def make(role: Role, *namespaces: str, expires_at: str | None = None) -> str:
        _, secret = service.tokens.make(f"a {role.value}", role, namespaces or ["default"], AT, expires_at)
        service.door.forget()
        return secret

    return make


@pytest.fixture
def client_for(service: Service, token_for: TokenFor) -> ClientFor:
    app = create_app(service)

    def make(role: Role | None, *namespaces: str) -> TestClient:
        headers = {} if role is None else {"Authorization": f"Bearer {token_for(role, *namespaces)}"}
        return TestClient(app, headers=headers, client=("127.0.0.1", 50000), raise_server_exceptions=False)

    return make


@pytest.fixture
def client(client_for: ClientFor) -> TestClient:
    """Ask as an operator of every namespace."""
    return client_for(Role.OPERATOR, "default", "*")
