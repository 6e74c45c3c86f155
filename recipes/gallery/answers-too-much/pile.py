def pile(context, params):
    context.set("pile", ["x" * 1024] * 512)
