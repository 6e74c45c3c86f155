"""One mistake a step: none of them is the same on every day, on every machine and in every process."""

import os
import random
import time
from datetime import datetime


def words(context, params):
    context.set("words", list({"apple", "pear", "plum", "cherry", "quince", "medlar"}))  # the order of a set


def report(context, params):
    context.set("report", ", ".join(context.get("words")))  # not its own mistake: what it reads moves


def total(context, params):
    amounts = {"10000000000000000", "1", "2", "-10000000000000000", "0.5"}
    return {"sum": sum(float(amount) for amount in amounts)}  # floats, added up in the order of a set


def folder(context, params):
    return {"first": os.listdir("data")[0]}  # the order of a folder  # noqa: PTH208


def pick(context, params):
    return {"winner": random.randrange(1_000_000)}  # chance  # noqa: S311


def workers(context, params):
    return {"parts": [index * 10 // os.cpu_count() for index in range(10)]}  # split by processors


def hour(context, params):
    return {"opening": time.strftime("%H:%M", time.localtime(1_700_000_000))}  # the local time zone


def year(context, params):
    return {"this": datetime.now().year}  # today  # noqa: DTZ005


def firm(context, params):
    return {"sum": sum(range(10)), "files": sorted(os.listdir("data"))}  # noqa: PTH208
