"""Scriptlets for services outside, as people write them: recipes/api and recipes/database have all of it, and more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from isolation.model.outcome import Outcome
from tests.test_integrations import API, CREATE, DATABASE, FRUIT, INSERT, copy, fruit, reaching, run

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg

pytestmark = [pytest.mark.engine, pytest.mark.requirements, pytest.mark.usefixtures("engine")]

PASSWORD = "correct-horse-battery"  # noqa: S105 - the servers of the tests know it
WEB = '''
from typing import Any, Dict

import requests

from orchestrator.context import Context
from scriptlets.framework import BaseScriptlet, register_scriptlet


@register_scriptlet
class APIIntegrationScriptlet(BaseScriptlet):
    """Asks a service, with a token that came as an argument."""

    def __init__(self):
        super().__init__()
        self.name = "api_integration"
        self.version = "1.0"
        self.description = "asks a service"

    def run(self, context: Context, params: Dict[str, Any]) -> Dict[str, Any]:
        headers = params.get("headers", {})
        if "auth_token" in params:
            headers["Authorization"] = f"Bearer {params['auth_token']}"
        method = params.get("method", "GET")
        try:
            response = requests.request(
                method=method,
                url=params["endpoint"],
                headers=headers,
                json=params.get("payload", {}) if method in ["POST", "PUT", "PATCH"] else None,
                timeout=params.get("timeout", 30),
            )
            if response.status_code != 200:
                told = f"answered {response.status_code}: {response.text}"
                context.set(f"{self.name}.error", told, who=self.name)
                raise Exception(told)
            data = response.json() if response.content else {}
            context.set(f"{self.name}.response", data, who=self.name)
            context.set(f"{self.name}.status_code", response.status_code, who=self.name)
            return {"status": "success", "data": data, "response_time": response.elapsed.total_seconds()}
        except Exception as error:
            self.logger.error(f"asking failed: {error}")
            raise
'''


def asking(**args: object) -> list[dict[str, Any]]:
    step = {"name": "ask", "type": "python", "module": "web", "function": "APIIntegrationScriptlet"}
    return [{**step, "secrets": ["API_TOKEN"], "args": {"endpoint": FRUIT, **args}}]


def test_a_scriptlet_that_asks_a_service_stores_what_it_answers(tmp_path: Path) -> None:
    """As who wrote it, with the status, and as the outputs of its step."""
    with fruit() as service:
        folder = copy(API, tmp_path / "recipe", asking(auth_token=PASSWORD), web=WEB)
        result, _ = run(folder, tmp_path, reaching(API), {"API_TOKEN": "unused-here"})

    assert (result.outcome, result.errors) == (Outcome.SUCCEEDED, ())
    assert service.heard == [("GET", "/fruit", None)]
    answer = [{"what": "pears", "left": 7}]
    assert result.changes.set == {"api_integration.response": answer, "api_integration.status_code": 200}
    assert set(result.changes.writers.values()) == {"ask as api_integration"}
    outputs: Any = result.attempts[-1].steps[0].outputs
    assert (outputs["status"], outputs["data"], type(outputs["response_time"])) == ("success", answer, float)


def test_a_scriptlet_that_a_service_turns_away_fails_and_logs_it(tmp_path: Path) -> None:
    """By its own logger and its own exception; of what it stored before nothing is merged."""
    with fruit():
        folder = copy(API, tmp_path / "recipe", asking(auth_token="wrong", method="POST"), web=WEB)  # noqa: S106
        result, log = run(folder, tmp_path, reaching(API), {"API_TOKEN": "unused-here"})

    told = 'answered 401: "who are you?"'
    assert [(error.type, error.message) for error in result.errors] == [("Exception", told)]
    assert log == [f"asking failed: {told}"]
    assert (result.outcome, result.merge.status) == (Outcome.FAILED, "none")


POOLED = '''
from typing import Any, Dict

from orchestrator.context import Context
from scriptlets.framework import BaseScriptlet, register_scriptlet


@register_scriptlet
class DatabaseIntegrationScriptlet(BaseScriptlet):
    """One statement, over a pool that setup opens and teardown closes."""

    def __init__(self):
        super().__init__()
        self.name = "database_integration"
        self.connection_pool = None

    def setup(self, context: Context, params: Dict[str, Any]) -> None:
        import psycopg2.pool

        self.connection_pool = psycopg2.pool.ThreadedConnectionPool(
            minconn=1, maxconn=params.get("pool_size", 5), dsn=params["connection_string"]
        )
        context.set(f"{self.name}.pool_ready", True, who=self.name)

    def run(self, context: Context, params: Dict[str, Any]) -> Dict[str, Any]:
        connection = self.connection_pool.getconn()
        cursor = connection.cursor()
        try:
            cursor.execute(params["query"], params.get("params", []))
            if not params["query"].strip().upper().startswith("SELECT"):
                connection.commit()
                return {"status": "success", "operation": "modify", "affected_rows": cursor.rowcount}
            names = [column[0] for column in cursor.description]
            rows = [dict(zip(names, row)) for row in cursor.fetchall()]
            context.set(f"{self.name}.query_results", rows, who=self.name)
            return {"status": "success", "operation": "select", "row_count": len(rows), "data": rows}
        except Exception:
            connection.rollback()
            raise
        finally:
            cursor.close()
            self.connection_pool.putconn(connection)

    def teardown(self, context: Context) -> None:
        if self.connection_pool:
            self.connection_pool.closeall()
            print("pool closed")
'''


@pytest.mark.postgresql
def test_a_scriptlet_works_on_a_database_over_a_pool(tmp_path: Path, shop: psycopg.Connection[Any]) -> None:
    """It makes a table, fills it, and reads it; what fails is taken back, and the pool is closed each time."""
    url = f"postgresql://app:{PASSWORD}@db.example.org:5432/shop"
    statements = [
        (CREATE["query"], []),
        (INSERT, [1]),
        ("SELECT id, what FROM orders ORDER BY id", []),
        (INSERT, [1]),
    ]
    steps = [
        {
            "name": f"step{number}",
            "module": "pooled",
            "function": "DatabaseIntegrationScriptlet",
            "depends_on": [f"step{number - 1}"] if number else [],
            "args": {"connection_string": url, "pool_size": 2, "query": query, "params": params},
        }
        for number, (query, params) in enumerate(statements)
    ]
    folder = copy(DATABASE, tmp_path / "recipe", steps, pooled=POOLED)
    result, log = run(folder, tmp_path, reaching(DATABASE), {"DATABASE_URL": "unused-here"})

    made, filled, read, again = result.attempts[-1].steps
    assert made.outputs == {"status": "success", "operation": "modify", "affected_rows": -1}
    assert filled.outputs == {"status": "success", "operation": "modify", "affected_rows": 1}
    rows = [{"id": 1, "what": "a pear"}]
    assert read.outputs == {"status": "success", "operation": "select", "row_count": 1, "data": rows}
    assert [(error.step, error.type.rpartition(".")[2]) for error in result.errors] == [("step3", "UniqueViolation")]
    assert again.outputs is None
    assert log == ["pool closed"] * 4
    assert shop.execute("SELECT count(*) FROM orders").fetchone() == (1,)
