import os


def leave(context, params):
    context.set("leave.done", "nobody will know")
    os._exit(0)
