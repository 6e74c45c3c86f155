"""The recipes that need a server, each with a real one: a PostgreSQL, and one that speaks HTTP."""

from __future__ import annotations

import json
import os
import shutil
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import yaml

from isolation.model.outcome import Outcome
from isolation.packaging.policy import load_policy
from isolation.sandbox.egress.folder import Egresses
from isolation.settings import Settings
from isolation.wiring import open_controller
from tests.postgresql import Server
from tests.sandbox.egress.conftest import Names, network
from tests.test_recipes import RECIPES, check_recipe, policy_of, read_expected

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from isolation.model.policy import Policy
    from isolation.model.run import Result

pytestmark = [pytest.mark.engine, pytest.mark.requirements, pytest.mark.usefixtures("engine")]

ADDRESS = f"127.{100 + (os.getpid() >> 16)}.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"
"""A loopback address that no other process of the tests has: ports are those that the recipes name."""
DATABASE, API = RECIPES / "database", RECIPES / "api"
NAMES = Names(db_example_org=[[ADDRESS]], api_internal=[[ADDRESS]])


def reaching(folder: Path) -> Policy:
    """Return a recipe's policy, with an entry for where the tests' servers are."""
    policy = policy_of(folder)
    port = policy.network.entries[0].port
    entries = network([*map(str, policy.network.allow), f"{ADDRESS}:{port}"], [*map(str, policy.network.tcp)])
    return policy.model_copy(update={"network": entries})


def run(folder: Path, tmp_path: Path, policy: Policy, secrets: dict[str, str]) -> tuple[Result, list[str]]:
    """Run it as the recipes are run; returns the lines of its log, too."""
    with open_controller(Settings(state=tmp_path / "state"), secrets=secrets) as controller:
        controller.cells._egresses = Egresses(controller.clock, resolver=NAMES)
        result = controller.run(folder, policy=policy)
        return result, [line.text for line in controller.stores.logs.read(result.run_id)]


def copy(folder: Path, to: Path, steps: list[dict[str, Any]], **files: str) -> Path:
    """Copy a recipe with other steps, and modules beside its own."""
    shutil.copytree(folder, to)
    recipe = yaml.safe_load((to / "recipe.yaml").read_text()) | {"steps": steps}
    (to / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    for name, source in files.items():
        (to / f"{name}.py").write_text(source)
    return to


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server(ADDRESS)
    yield server
    server.stop()


@pytest.fixture
def shop(server: Server) -> Iterator[psycopg.Connection[Any]]:
    """Make an empty database for the recipe's user, whose password is the one that expected.yaml gives."""
    with psycopg.connect(server.url(), autocommit=True) as door:
        door.execute("DROP DATABASE IF EXISTS shop WITH (FORCE)")
        door.execute("DROP ROLE IF EXISTS app")
        door.execute("CREATE ROLE app LOGIN PASSWORD 'correct-horse-battery'")
        door.execute("CREATE DATABASE shop OWNER app")
        with psycopg.connect(f"{door.info.dsn} dbname=shop", autocommit=True) as shop:
            yield shop


@pytest.mark.postgresql
def test_the_database_recipe_comes_out_as_its_folder_says(tmp_path: Path, shop: psycopg.Connection[Any]) -> None:
    """By the name and port that stand in its secret, with a password that the server checks."""
    expected = read_expected(DATABASE / "expected.yaml")

    check_recipe(DATABASE, tmp_path, reaching(DATABASE), expected, names=NAMES)

    rows = shop.execute("SELECT id, what, price::float FROM orders ORDER BY id").fetchall()
    assert rows == [(1, "a pear", 0.5), (2, "a tree", 120.0)]


WATCHED = """
import time
import integration, psycopg2

class Watched(integration.DatabaseIntegration):
    def setup(self, context, params):
        super().setup(context, params)
        self.address = context.secret("DATABASE_URL")

    def teardown(self, context):
        self.say("before")
        super().teardown(context)
        self.say("after", until=0)

    def say(self, when, until=None):
        watcher = psycopg2.connect(self.address)
        watcher.autocommit = True
        cursor, end_s = watcher.cursor(), time.monotonic() + 10
        while True:  # a server's process takes a moment to go
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND pid <> pg_backend_pid()")
            (count,) = cursor.fetchone()
            if until in (None, count) or time.monotonic() > end_s:
                break
        watcher.close()
        print(when, count)
"""
INSERT = "INSERT INTO orders VALUES (%s, 'a pear', 1)"
CREATE = {"query": "CREATE TABLE orders (id integer PRIMARY KEY, what text, price numeric)"}


def step(name: str, module: str, function: str, **args: object) -> dict[str, Any]:
    secrets = yaml.safe_load((DATABASE / "recipe.yaml").read_text())["secrets"]
    return {"name": name, "module": module, "function": function, "secrets": secrets, "args": args}


@pytest.mark.postgresql
def test_a_statement_that_fails_takes_those_before_it_back(tmp_path: Path, shop: psycopg.Connection[Any]) -> None:
    """And the pool is closed all the same: the server has no connection of the recipe's left when teardown returns."""
    steps = [
        step("make", "integration", "DatabaseIntegration", statements=[CREATE, {"query": INSERT, "params": [1]}]),
        step(
            "fail",
            "watched",
            "Watched",
            statements=[{"query": INSERT, "params": [2]}, {"query": INSERT, "params": [1]}],
        )
        | {"depends_on": ["make"]},
    ]
    folder = copy(DATABASE, tmp_path / "recipe", steps, watched=WATCHED)
    secrets = read_expected(DATABASE / "expected.yaml").secrets

    result, said = run(folder, tmp_path, reaching(DATABASE), secrets)

    assert result.outcome is Outcome.FAILED
    assert [(error.step, error.type) for error in result.errors] == [("fail", "psycopg2.errors.UniqueViolation")]
    assert said == ["before 1", "after 0"]
    assert shop.execute("SELECT id FROM orders").fetchall() == [(1,)]
    assert result.merge.status == "none"
    assert {(line.via, line.host, line.port) for line in result.attempts[0].network.decisions} == {
        ("tcp", "db.example.org", 5432)
    }


@pytest.mark.postgresql
@pytest.mark.usefixtures("shop")
def test_another_password_is_refused_by_the_server_and_told_nowhere(tmp_path: Path) -> None:
    """Through to the error that the library raises; what it says has the name, not the password."""
    secrets = {"DATABASE_URL": "postgresql://app:another-password@db.example.org:5432/shop"}

    result, said = run(DATABASE, tmp_path, reaching(DATABASE), secrets)

    (error,) = result.errors
    assert error.type == "psycopg2.OperationalError"
    assert 'connection to server at "db.example.org" (127.64.0.1), port 5432 failed' in error.message
    assert 'password authentication failed for user "app"' in error.message
    assert "another-password" not in f"{result} {said}"


class Fruit(ThreadingHTTPServer):
    """The service that the recipe asks. It remembers who asked for what, and can be out of order."""

    def __init__(self) -> None:
        super().__init__((ADDRESS, 8080), _Answers)
        self.heard: list[tuple[str, str, Any]] = []
        self.keys: list[str | None] = []
        self.is_broken = False


class _Answers(BaseHTTPRequestHandler):
    server: Fruit

    def do_GET(self) -> None:
        self._answer(200, [{"what": "pears", "left": 7}], None)

    def do_POST(self) -> None:
        order = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(201, {"number": 1, **order}, order)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing."""

    def _answer(self, status: int, said: object, asked: object) -> None:
        self.server.heard.append((self.command, self.path, asked))
        self.server.keys.append(self.headers["Idempotency-Key"])
        if self.headers["Authorization"] != "Bearer correct-horse-battery":
            status, said = 401, "who are you?"
        elif self.server.is_broken:
            status, said = 500, "out of order"
        content = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def fruit() -> Iterator[Fruit]:
    with Fruit() as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        yield server
        server.shutdown()
        serving.join()


def test_the_api_recipe_comes_out_as_its_folder_says(tmp_path: Path) -> None:
    """The service hears what the recipe says, with the token that no record has."""
    with fruit() as server:
        check_recipe(API, tmp_path, reaching(API), read_expected(API / "expected.yaml"), names=NAMES)

    assert server.heard == [("GET", "/fruit", None), ("POST", "/orders", {"what": "pears", "count": 3})]
    assert server.keys == [None, "order-1"]


FRUIT = "http://api.internal:8080/fruit"
TOLD = """
import integration

class Told(integration.ApiIntegration):
    def teardown(self, context):
        print("its context says:", context.get("api_integration.error"))
"""


def test_a_service_that_is_out_of_order_fails_the_step_with_its_words(tmp_path: Path) -> None:
    """In the step's own context, in its log and in its error; nothing of it is merged."""
    with fruit() as server:
        server.is_broken = True
        secrets = read_expected(API / "expected.yaml").secrets
        look = {"name": "look", "module": "told", "function": "Told", "args": {"endpoint": FRUIT}}
        folder = copy(API, tmp_path / "recipe", [look | {"secrets": [*secrets]}], told=TOLD)
        result, told = run(folder, tmp_path, reaching(API), secrets)

    said = 'API request failed: 500 - "out of order"'
    assert result.outcome is Outcome.FAILED
    assert [(error.step, error.type, error.message) for error in result.errors] == [("look", "RuntimeError", said)]
    assert told == [said, f"its context says: {said}"]
    assert (result.changes.set, result.merge.status, len(server.heard)) == ({}, "none", 1)


def test_a_service_that_the_policy_does_not_list_is_not_asked(tmp_path: Path) -> None:
    """The step is told which entry it would need."""
    policy = reaching(API).model_copy(update={"network": network(["other.internal:8080"])})
    with fruit() as server:
        result, _ = run(API, tmp_path, policy, read_expected(API / "expected.yaml").secrets)

    (error,) = result.errors
    assert error.message.startswith("API request failed: 403 - isolation: api.internal:8080 is not allowed")
    assert server.heard == []


def test_what_the_two_policies_open_is_one_door_each() -> None:
    """They are examples: what people copy lists no more than the recipe needs."""
    opened = [[*map(str, load_policy(folder / "policy.yaml").network.entries)] for folder in (API, DATABASE)]

    assert opened == [["api.internal:8080"], ["db.example.org:5432"]]
