"""Numbers of a table, and what they come to."""

import csv
from pathlib import Path


def read(context, params):
    with Path(params["table"]).open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if params["only"].items() <= row.items()]
    return {"rows": len(rows), "numbers": [float(row[params["column"]]) for row in rows]}


def summarise(context, params):
    numbers = params["numbers"]
    mean = round(sum(numbers) / len(numbers), params["decimals"])
    context.set("summary.mean", mean)
    return {"said": f"{params['title']}: {mean}"}
