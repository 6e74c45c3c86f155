import os
import signal


def haunt(context, params):
    """Start a daemon as textbooks do: fork, a session of its own, fork again. Return when it stands."""
    heard, told = os.pipe()
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        daemon = int(os.read(heard, 16))
        os.kill(daemon, 0)  # it lives
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.write(told, str(os.getpid()).encode())
    while True:
        signal.pause()
