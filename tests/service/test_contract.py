"""The contract, held by what schemathesis thinks up: no error of the server's own, and no answer that it leaves out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from isolation.clock import SystemClock
from isolation.model.access import Role
from isolation.service.app import create_app
from isolation.service.service import Service
from isolation.settings import Settings
from isolation.wiring import open_stores
from tests.service.conftest import AT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi import FastAPI
    from schemathesis import BaseSchema

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FastAPI, str]]:
    """Serve one state folder for all that is thought up."""
    own = Settings(state=tmp_path_factory.mktemp("contract"))
    with Service(open_stores(own), own, SystemClock()) as service:
        _, token = service.tokens.make("all", Role.OPERATOR, ["default", "*"], AT)
        yield create_app(service), token


@pytest.fixture(scope="module")
def contract(asked: tuple[FastAPI, str]) -> BaseSchema:
    return schemathesis.openapi.from_asgi("/openapi.json", asked[0])


schema = schemathesis.pytest.from_fixture("contract")


@schema.parametrize()
@settings(max_examples=25, deadline=None, suppress_health_check=[*HealthCheck])
def test_whatever_is_asked_the_contract_holds(case: schemathesis.Case[Any], asked: tuple[FastAPI, str]) -> None:
    """Right and wrong requests alike; but what a schema cannot say, such as which texts are keys, is refused, too."""
    case.call_and_validate(headers={"Authorization": f"Bearer {asked[1]}"}, excluded_checks=[positive_data_acceptance])
