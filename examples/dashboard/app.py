"""
A dashboard of a server's context: its numbers as bars, and all of it as a table, new every two seconds.

    ISOLATION_TOKEN=iso_... python examples/dashboard/app.py

ISOLATION_URL says where the server is (http://127.0.0.1:8080), PORT and HOST where this listens (127.0.0.1:8050).
Whoever can open that address sees what the token may see: give it a viewer's, and leave it on this machine.
"""

from __future__ import annotations

import json
import sys
from html import escape
from itertools import islice
from typing import TYPE_CHECKING

import plotly.graph_objects as go
from dash import Dash, Input, Output, dcc, html

from isolation import IsolationError
from src.dash_integration import DashContextIntegration

if TYPE_CHECKING:
    from pydantic import JsonValue

REFRESH_MS = 2_000
MOST_BARS = 40
LONGEST_LABEL = 24
BAR_PX, AXIS_PX = 32, 40


def numbers(values: dict[str, JsonValue]) -> dict[str, float]:
    """Return the values that can be drawn, as many as fit; a truth is no number."""
    found = (one for one in values.items() if isinstance(one[1], int | float) and not isinstance(one[1], bool))
    return dict(islice(found, MOST_BARS))


def chart(values: dict[str, JsonValue]) -> go.Figure:
    """Draw each number as a bar, in the order of their keys. The colours are the page's: assets/page.css."""
    drawn = numbers(values)
    places = [*range(len(drawn))]
    figure = go.Figure(go.Bar(x=[*drawn.values()], y=places, orientation="h", hoverinfo="skip"))
    clear = "rgba(0,0,0,0)"
    fixed = {"automargin": True, "fixedrange": True}
    figure.update_layout(
        height=BAR_PX * len(drawn) + AXIS_PX,
        margin={"t": 0, "r": 0, "b": AXIS_PX, "l": 0},
        paper_bgcolor=clear,
        plot_bgcolor=clear,
        dragmode=False,
        xaxis=fixed,
        yaxis={"autorange": "reversed", "tickvals": places, "ticktext": [*map(label, drawn)], **fixed},
    )
    return figure


def label(key: str) -> str:
    """Write a key beside its bar, short; plotly takes <b> and <a> in a label for what they say."""
    return escape(key if len(key) <= LONGEST_LABEL else f"{key[:LONGEST_LABEL]}…", quote=False)


def rows(values: dict[str, JsonValue]) -> list[html.Tr]:
    """Write all values as rows of a table; Dash shows text as text, whatever is in it."""
    return [html.Tr([html.Th(key, scope="row"), html.Td(shown(value))]) for key, value in values.items()]


def shown(value: JsonValue) -> str:
    """Write a value for people: a text as it is, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def create_app(context: DashContextIntegration) -> Dash:
    """Put the application together."""
    app = Dash(__name__, title="Context", update_title="")
    app.index_string = app.index_string.replace("<html>", '<html lang="en">')
    head = html.Thead(html.Tr([html.Th("key", scope="col"), html.Th("value", scope="col")]))
    app.layout = html.Main(
        [
            html.H1("Context"),
            html.P(id="state", role="status"),
            html.Div(dcc.Graph(id="numbers", figure=chart({}), config={"displayModeBar": False}), id="chart"),
            html.Table([head, html.Tbody(id="values")]),
            dcc.Interval(id="refresh", interval=REFRESH_MS),
        ]
    )

    @app.callback(
        Output("state", "children"),
        Output("state", "className"),
        Output("numbers", "figure"),
        Output("chart", "hidden"),
        Output("values", "children"),
        Input("refresh", "n_intervals"),
    )
    def refresh(_: int | None) -> tuple[str, str, go.Figure, bool, list[html.Tr]]:
        try:
            values = context.get_all_context()
        except IsolationError as error:
            return f"{error}. {error.hint}", "problem", chart({}), True, []
        return f"{len(values)} keys", "", chart(values), not numbers(values), rows(values)

    return app


def main() -> None:
    """Serve it until somebody ends it."""
    try:
        with DashContextIntegration() as context:
            create_app(context).run()
    except IsolationError as error:
        sys.exit(f"{error}\n{error.hint}")


if __name__ == "__main__":
    main()
