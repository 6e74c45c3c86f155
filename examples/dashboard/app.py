"""
A dashboard of a server's context: its numbers as bars, and the rest as text, new every few seconds.

    ISOLATION_TOKEN=iso_... python examples/dashboard/app.py
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import plotly.graph_objects as go
from dash import Dash, Input, Output, dcc, html

from isolation import IsolationError
from src.dash_integration import DashContextIntegration

if TYPE_CHECKING:
    from pydantic import JsonValue

REFRESH_MS = 5_000


def numbers(values: dict[str, JsonValue]) -> dict[str, float]:
    """Return the values that can be drawn; a truth is no number."""
    return {
        key: value for key, value in values.items() if isinstance(value, int | float) and not isinstance(value, bool)
    }


def chart(values: dict[str, JsonValue]) -> go.Figure:
    """Draw each number as a bar, in the order of their keys."""
    drawn = numbers(values)
    bars = go.Bar(x=[*drawn.values()], y=[*drawn], orientation="h")
    figure = go.Figure(bars)
    figure.update_layout(margin={"t": 20}, xaxis_title="value", yaxis={"autorange": "reversed", "type": "category"})
    return figure


def others(values: dict[str, JsonValue]) -> list[html.Tr]:
    """Write what cannot be drawn as rows of a table; Dash shows text as text, whatever is in it."""
    drawn = numbers(values)
    return [html.Tr([html.Td(key), html.Td(str(value))]) for key, value in values.items() if key not in drawn]


def create_app(context: DashContextIntegration) -> Dash:
    """Put the application together."""
    app = Dash(__name__, title="Context")
    app.layout = html.Main(
        [
            html.H1("Context"),
            html.P(id="state", role="status"),
            dcc.Graph(id="numbers"),
            html.Table(html.Tbody(id="others")),
            dcc.Interval(id="refresh", interval=REFRESH_MS),
        ]
    )

    @app.callback(
        Output("state", "children"),
        Output("numbers", "figure"),
        Output("others", "children"),
        Input("refresh", "n_intervals"),
    )
    def refresh(_: int | None) -> tuple[str, go.Figure, list[html.Tr]]:
        try:
            values = context.get_all_context()
        except IsolationError as error:
            return f"{error} {error.hint}", chart({}), []
        return f"{len(values)} keys", chart(values), others(values)

    return app


if __name__ == "__main__":
    with DashContextIntegration(
        context_host=os.environ.get("CONTEXT_HOST", "127.0.0.1"),
        context_port=int(os.environ.get("CONTEXT_PORT", "8080")),
    ) as context:
        create_app(context).run(port=8050)
