import os
import signal


def strike(context, params):
    os.kill(os.getppid(), signal.SIGKILL)  # to the first process of its namespace: the kernel lets it pass by
    return {"runner": os.getppid()}
