"""The context in a Dash application: the example, asked over HTTP as a browser asks it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from src.dash_integration import DashContextIntegration

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from tests.service.server import Server

pytestmark = pytest.mark.slow

APP = Path(__file__).parents[2] / "examples/dashboard/app.py"


@pytest.fixture
def context(server: Server, namespace: str) -> Iterator[DashContextIntegration]:
    port = int(server.url.rpartition(":")[2])
    with DashContextIntegration(
        context_host="127.0.0.1", context_port=port, token=server.token, namespace=namespace
    ) as one:
        yield one


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dashboard", APP)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def set_all(server: Server, namespace: str, values: dict[str, object]) -> None:
    with server.client() as client:
        client.post("/v1/context/changes", params={"namespace": namespace}, json={"set": values}).raise_for_status()


def refreshed(app: Any) -> dict[str, Any]:  # noqa: ANN401 - Dash has no types
    """Ask the callback as the page does, and return what it is given for each element."""
    asked = {
        "output": "..state.children...state.className...numbers.figure...chart.hidden...values.children..",
        "outputs": [
            {"id": "state", "property": "children"},
            {"id": "state", "property": "className"},
            {"id": "numbers", "property": "figure"},
            {"id": "chart", "property": "hidden"},
            {"id": "values", "property": "children"},
        ],
        "inputs": [{"id": "refresh", "property": "n_intervals", "value": 1}],
        "changedPropIds": ["refresh.n_intervals"],
    }
    answer = app.server.test_client().post("/_dash-update-component", json=asked)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = json.loads(answer.text)["response"]
    return told


def test_an_application_reads_values_and_histories(
    context: DashContextIntegration, server: Server, namespace: str
) -> None:
    """By the names that Framework0's applications call."""
    set_all(server, namespace, {"a.x": 1, "b": "two"})
    set_all(server, namespace, {"a.x": 2})

    assert context.get_all_context() == {"a.x": 2, "b": "two"}
    assert context.get_all_context("a.*") == {"a.x": 2}
    assert (context.get_context("b"), context.get_context("none", 7)) == ("two", 7)
    assert [(one["before"], one["after"]) for one in context.get_history("a.x")] == [(None, 1), (1, 2)]


def test_the_example_draws_numbers_and_writes_everything(
    context: DashContextIntegration, server: Server, namespace: str, example: ModuleType
) -> None:
    """As they are when it is refreshed; what looks like a page stays text."""
    app = example.create_app(context)
    assert refreshed(app)["state"]["children"] == "0 keys"

    values = {"<b>n</b>": 3, "load": 0.5, "on": True, "who": "<script>alert(1)</script>", "with": [1]}
    set_all(server, namespace, values)
    told = refreshed(app)
    (bars,) = told["numbers"]["figure"]["data"]
    assert (bars["y"], bars["x"]) == ([0, 1], [3, 0.5])
    assert told["numbers"]["figure"]["layout"]["yaxis"]["ticktext"] == ["&lt;b&gt;n&lt;/b&gt;", "load"]
    rows = [[cell["props"]["children"] for cell in row["props"]["children"]] for row in told["values"]["children"]]
    assert rows == [
        ["<b>n</b>", "3"],
        ["load", "0.5"],
        ["on", "true"],
        ["who", "<script>alert(1)</script>"],
        ["with", "[1]"],
    ]


def test_the_example_brings_its_layout(context: DashContextIntegration, example: ModuleType) -> None:
    """With a page around it, and each element that the callback fills."""
    browser = example.create_app(context).server.test_client()

    assert browser.get("/").status_code == 200
    layout = browser.get("/_dash-layout").text
    for element in ("state", "numbers", "chart", "values", "refresh"):
        assert f'"id":"{element}"' in layout


def test_the_example_says_when_no_server_answers(example: ModuleType) -> None:
    """With what to do, and goes on: the next refresh may find it."""
    with DashContextIntegration(context_port=1, token="") as nowhere:
        told = refreshed(example.create_app(nowhere))

    assert "no server answers at http://127.0.0.1:1" in told["state"]["children"]
    assert "isolation serve" in told["state"]["children"]
