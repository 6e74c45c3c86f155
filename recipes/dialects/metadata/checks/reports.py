"""A plain function, in a folder beside the recipe."""


def order_list(context, params):
    enough = context.config["enough"]
    missing = {kind: enough - there for kind, there in context.get("stock.kinds").items() if there < enough}
    context.set("stock.to_order", missing, who="order_list")
    return {"kinds": sorted(missing)}
