import os
import signal


def fork(context, params):
    while True:
        if os.fork() == 0:
            signal.pause()
