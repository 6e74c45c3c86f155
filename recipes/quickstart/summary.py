"""Counts, means and extremes of a table of temperatures."""

import csv
from pathlib import Path
from statistics import mean

from scriptlets.framework import BaseScriptlet


class Summarise(BaseScriptlet):
    def run(self, context, params):
        table = Path(params["table"])  # relative names are looked for beside the recipe
        with table.open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        summary = {}
        for city in sorted({row["city"] for row in rows}):
            found = [float(row["celsius"]) for row in rows if row["city"] == city]
            summary[city] = {"days": len(found), "mean": mean(found), "lowest": min(found), "highest": max(found)}
        context.set("weather.summary", summary)
        self.logger.info("read %d rows", len(rows))
        return {"rows": len(rows)}
