import os
import signal


def strike(context, params):
    os.kill(os.getppid(), signal.SIGKILL)
    signal.pause()
