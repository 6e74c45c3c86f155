import time
from pathlib import Path


def count(context, params):
    Path("/scratch", params["mine"]).touch()
    while not Path("/scratch", params["other"]).exists():  # so that both have begun, and neither has ended
        time.sleep(0.005)
    context.set("words.count", context.get("words.count", 0) + params["words"])
    context.set("words.longest", max(context.get("words.longest"), params["words"]))
    context.set("seen", ["here"])
