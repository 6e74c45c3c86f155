import time


def sleep(context, params):
    while True:
        time.sleep(3600)
