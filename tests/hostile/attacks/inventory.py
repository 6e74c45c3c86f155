"""List what a cell shows of its kernel and its host, and look in all of it for words that name the host."""

import os
import re

from kernel import tried

OWN = re.compile(r"/proc/(\d+|self|thread-self)(/.*)?")
MOST_BYTES = 65536


def read(path):
    """Read the beginning of a file without waiting for it; None where it cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        return os.read(fd, MOST_BYTES)
    except OSError:
        return None
    finally:
        os.close(fd)


def files():
    for top in ("/proc", "/sys"):
        for folder, folders, names in os.walk(top):
            if folder == "/proc":
                folders[:] = [name for name in folders if not name.isdecimal()]
            yield from (os.path.join(folder, name) for name in names if not os.path.islink(os.path.join(folder, name)))


def run(context, params):
    readable, telling = [], []
    words = [word.encode() for word in params["words"]]
    for path in files():
        content = read(path)
        if content:
            readable.append(path)
            telling += [[path, word.decode()] for word in words if word in content]
    processes = [pid for pid in os.listdir("/proc") if pid.isdecimal()]
    texts = {}
    for pid in processes:
        for name in ("cmdline", "environ", "mountinfo", "cgroup", "maps", "status"):
            content = read(f"/proc/{pid}/{name}") or b""
            telling += [[f"/proc/{pid}/{name}", word.decode()] for word in words if word in content]
            texts[f"{pid}/{name}"] = content.replace(b"\0", b"\n").decode(errors="replace")[:MOST_BYTES]
    os.makedirs("/scratch/artifacts")
    with open("/scratch/artifacts/readable.txt", "w") as file:
        file.writelines(f"{path}\n" for path in readable)
    return {
        "environment": dict(os.environ),
        "telling": telling,
        "own": os.getpid(),
        "texts": texts,
        "listed": {path: tried_list(path) for path in params["folders"]},
    }


def tried_list(path):
    return sorted(os.listdir(path)) if tried(os.listdir, path) == "done" else tried(os.listdir, path)
