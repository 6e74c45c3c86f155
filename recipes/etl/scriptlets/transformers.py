"""What becomes of data on its way."""

from scriptlets.framework import BaseScriptlet, register_scriptlet
from scriptlets.money import cents


@register_scriptlet
class DataTransformerScriptlet(BaseScriptlet):
    """Drops the orders that nobody wants and sets aside those that nobody understands."""

    def run(self, context, params):
        rows = [row for row in context.get("etl.rows") if row["state"] not in params["drop_states"]]
        orders = [
            {"order": int(row["order"]), "customer": row["customer"], "cents": cents(row["amount"])} for row in rows
        ]
        context.set("etl.orders", [order for order in orders if order["cents"] is not None])
        context.set("etl.rejected", [order["order"] for order in orders if order["cents"] is None])
        context.delete("etl.rows")  # it was only on its way
