"""Where data comes from."""

import csv
from pathlib import Path

from scriptlets.framework import BaseScriptlet, register_scriptlet


@register_scriptlet
class CsvExtractor(BaseScriptlet):
    """Puts the rows of a CSV file into the context, as they are."""

    def run(self, context, params):
        with Path(params["source"]).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        context.set("etl.rows", rows, who=self.name)
        return {"rows": len(rows)}
