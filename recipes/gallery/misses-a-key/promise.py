def promise(context, params):
    context.set("promise.made", "yes")
