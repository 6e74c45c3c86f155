"""Adds up orders by country."""

from scriptlets.framework import BaseScriptlet, register_scriptlet


@register_scriptlet
class TotalsScriptlet(BaseScriptlet):
    """Adds up what each country ordered, and writes a report."""

    params = {"least_cents": {"type": "integer", "default": 0, "minimum": 0}}

    def __init__(self):
        super().__init__()
        self.name = "totals"

    def run(self, context, params):
        totals, left_out = {}, 0
        for order in context.get("orders"):
            cents = int(order["cents"])
            if not order["country"]:
                self.logger.warning("an order of no country", extra={"cents": cents})
            elif cents < params["least_cents"]:
                left_out += 1
            else:
                totals[order["country"]] = totals.get(order["country"], 0) + cents
        context.set("totals.by_country", totals)
        context.delete("orders")
        lines = [f"{country} {cents / 100:.2f}\n" for country, cents in sorted(totals.items())]
        context.artifact("totals.txt").write_text("".join(lines))
        return {"countries": len(totals), "left_out": left_out}
