def write(context, params):
    context.set("stops.written", "yes")


def fail(context, params):
    raise RuntimeError("on purpose")
