def divide(context, params):
    context.set("quotient.started", True)  # noqa: FBT003 - a value, not a flag
    context.set("quotient.result", 1 / params["by"])
