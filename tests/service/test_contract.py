"""The contract, held by what schemathesis thinks up: no error of the server's own, and no answer that it leaves out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.service.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from schemathesis import BaseSchema

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Have a process of its own serve all that is thought up: what stands between it and the wire is asked, too."""
    with Server(tmp_path_factory.mktemp("contract"), "--slots", "0") as server:
        yield server
        with server.client() as client:  # else whatever was asked was refused for want of a token, which proves little
            assert client.get("/v1/me").status_code == 200
            assert len(client.get("/v1/audit", params={"allowed": True, "limit": 1000}).json()["decisions"]) == 1000


@pytest.fixture(scope="module")
def contract(server: Server) -> BaseSchema:
    return schemathesis.openapi.from_url(f"{server.url}/openapi.json")


@pytest.fixture(scope="module")
def session(server: Server) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {server.token}"
        yield session


schema = schemathesis.pytest.from_fixture("contract")


@schema.parametrize()
@settings(max_examples=25, deadline=None, suppress_health_check=[*HealthCheck])
def test_whatever_is_asked_the_contract_holds(case: schemathesis.Case[Any], session: requests.Session) -> None:
    """Right and wrong requests alike; but what a schema cannot say, such as which texts are keys, is refused, too."""
    case.call_and_validate(session=session, excluded_checks=[positive_data_acceptance])
