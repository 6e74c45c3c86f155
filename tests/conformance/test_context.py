"""Applications that share a context over a server, as the people write them for whom this was made."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
import pytest
from dash import Dash, Input, Output, callback, dcc, html

from src.context_client import AsyncContextClient, ContextClient
from src.dash_integration import DashContextIntegration
from tests.service.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Start a server, and have its token where whoever names none finds it."""
    with Server(tmp_path, "--slots", "0") as server:
        monkeypatch.setenv("ISOLATION_TOKEN", server.token)
        yield int(server.url.rpartition(":")[2])


def test_a_program_sets_and_gets_by_host_and_port(port: int) -> None:
    """And lists all, and has it dumped; what it lets go of without a word is closed with it."""
    client = ContextClient(host="127.0.0.1", port=port)
    client.set("config.database_url", "postgresql://localhost/mydb", who="setup")

    assert client.get("config.database_url") == "postgresql://localhost/mydb"
    assert client.get_all() == {"config.database_url": "postgresql://localhost/mydb"}
    assert [one["who"] for one in client.get_history("config.database_url", who="setup")] == ["setup"]
    told = client.dump_context(format="json", filename="backup_config", include_history=True, who="backup_service")
    assert told["filename"].startswith("backup_config")
    del client


def test_a_program_that_awaits_does_the_same(port: int) -> None:
    """In the one loop that it runs in."""

    async def program() -> object:
        client = AsyncContextClient(host="127.0.0.1", port=port)
        await client.set("status.service_state", "running", who="monitor")
        state = await client.get("status.service_state")
        await client.dump_context()
        dumps = await client.list_dumps()
        newest = await client.download_dump(dumps["dump_files"][0]["filename"])
        await client.close()
        return state, json.loads(newest)["context"]

    assert asyncio.run(program()) == ("running", {"status.service_state": "running"})


def test_a_dashboard_draws_what_the_context_holds(port: int) -> None:
    """With a callback of the module's own, and a layout put together by hand."""
    app = Dash(__name__)
    integration = DashContextIntegration(context_host="127.0.0.1", context_port=port)
    app.layout = html.Div([dcc.Graph(id="metrics"), dcc.Interval(id="interval", interval=5000, n_intervals=0)])

    @callback(Output("metrics", "figure"), Input("interval", "n_intervals"))
    def update(_: int) -> go.Figure:
        values = integration.get_all_context()
        return go.Figure(go.Bar(x=[*values], y=[*values.values()]))

    with ContextClient(port=port) as client:
        client.set("load", 3)
    asked: dict[str, Any] = {
        "output": "metrics.figure",
        "outputs": {"id": "metrics", "property": "figure"},
        "inputs": [{"id": "interval", "property": "n_intervals", "value": 1}],
        "changedPropIds": ["interval.n_intervals"],
    }
    browser = app.server.test_client()
    assert browser.get("/").status_code == 200
    told = browser.post("/_dash-update-component", json=asked).get_json()["response"]

    (bars,) = told["metrics"]["figure"]["data"]
    assert (bars["x"], bars["y"]) == (["load"], [3])
    integration.close()
