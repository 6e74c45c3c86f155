import contextlib
import os


def babble(context, params):
    for fd in range(3, 1024):
        with contextlib.suppress(OSError):
            os.write(fd, b"rubbish " * 100)
