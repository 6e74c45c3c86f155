"""A table, drawn by a third-party package."""

from tabulate import tabulate


def draw(context, params):
    drawn = tabulate(params["rows"], headers=params["columns"], tablefmt="github")
    print(drawn)
    context.set("table.drawn", drawn.splitlines())
