"""Where data goes."""

import json
from collections import Counter

from scriptlets.framework import BaseScriptlet, register_scriptlet


@register_scriptlet
class JsonLoader(BaseScriptlet):
    """Keeps the orders as a file, and what each customer owes in the context."""

    def run(self, context, params):
        orders = context.get("etl.orders")
        context.artifact(params["target"]).write_text(json.dumps(orders, indent=2) + "\n", encoding="utf-8")
        totals = Counter()
        for order in orders:
            totals[order["customer"]] += order["cents"]
        context.set("etl.totals", dict(totals))
        return {"orders": len(orders)}
