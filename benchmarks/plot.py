"""
Draw the figures of benchmarks/speed.py as SVG: ``python benchmarks/plot.py speed.json docs/performance.svg`` (pygal).

Bars are medians, on a logarithmic scale: a warm run and `docker run` are not of one size.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pygal
from pygal.style import CleanStyle

KINDS = {"docker run": "docker run --rm", "cold": "a run, cold", "warm": "a run, warm", "shared": "a run, shared cell"}


def main() -> None:
    """Draw."""
    source, target = map(Path, sys.argv[1:3])
    figures = json.loads(source.read_text())["start"]
    chart = pygal.HorizontalBar(
        style=CleanStyle,
        logarithmic=True,
        print_values=True,
        show_legend=False,
        height=260,
        title="One run, from the call to the merged result (ms, median)",
        value_formatter=lambda value: f"{value:.0f}",
        js=[],
    )
    chart.x_labels = [KINDS[name] for name in reversed(KINDS)]
    chart.add("median", [figures[name]["median ms"] for name in reversed(KINDS)])
    target.write_bytes(chart.render(is_unicode=False))


if __name__ == "__main__":
    main()
