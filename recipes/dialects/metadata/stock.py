"""A scriptlet made from BaseScriptlet, and one that is any class."""

from scriptlets.framework import BaseScriptlet, register_scriptlet


@register_scriptlet
class CountStock(BaseScriptlet):
    """Counts what lies on the shelves."""

    def __init__(self):
        super().__init__()
        self.name = "count_stock"
        self.version = "1.1"

    def setup(self, context, params):
        self.shelves = params["shelves"]

    def run(self, context, params):
        context.set("stock.count", sum(self.shelves.values()), who=self.name)
        context.set("stock.kinds", self.shelves, who=self.name)
        return {"status": "success", "kinds": len(self.shelves)}

    def teardown(self, context):
        self.logger.info("counted %s", context.get("stock.count"))


class Scales:
    """Knows nothing of the framework."""

    def run(self, context, args, **kwargs):
        context.set("stock.grams", context.get("stock.count") * args["grams_each"])
        return 0
