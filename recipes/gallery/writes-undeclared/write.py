def write(context, params):
    context.set("report.text", "all is well")
    context.set("secrets.token", "mine now")
