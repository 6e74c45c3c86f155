"""A plain function over the rows that the step before has left."""


def largest(context, params):
    rows = context.get("etl.rows")
    context.set("orders.largest", max(rows, key=lambda row: row[params["by"]]))
    context.delete("etl.rows")
    return {"of": len(rows)}
