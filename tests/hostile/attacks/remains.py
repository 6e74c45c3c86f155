"""Leave a word wherever one can write; or look for it everywhere."""

import ctypes
import os
import re
import socket

from kernel import LIBC

MOST_BYTES = 2**20
NOT_FILES = re.compile(r"/(proc|sys)(/.*)?")


def folders():
    for folder, inner, _ in os.walk("/"):
        inner[:] = [name for name in inner if not NOT_FILES.fullmatch(os.path.join(folder, name))]
        yield folder


def leave(word):
    left = []
    for folder in folders():
        for make in (write, name, link):
            try:
                make(folder, word)
                left.append(folder)
            except OSError:
                continue
    left += [what for what, do in (("shared memory", segment), ("a socket", listen)) if do(word)]
    return {"left": sorted(set(left))}


def write(folder, word):
    with open(f"{folder}/left", "w") as file:
        file.write(word * 100)


def name(folder, word):
    os.mkdir(f"{folder}/{word}")


def link(folder, word):
    os.symlink(word, f"{folder}/link")


def segment(word):
    """Leave a segment that nobody removes, shmget(2)."""
    number = LIBC.shmget(0x5EED, 4096, 0o1666)
    LIBC.shmat.restype = ctypes.c_void_p
    place = LIBC.shmat(number, None, 0)
    if place in (None, 2**64 - 1):
        return False
    ctypes.memmove(place, word.encode(), len(word))
    return True


def listen(word):
    """Keep a name in the abstract space until the process ends, and have a child hold on to it."""
    own = socket.socket(socket.AF_UNIX)
    own.bind("\0" + word)
    if os.fork() == 0:
        os.setsid()
        while True:
            own.listen()
            own.accept()
    return True


def find(word):
    """Look in names, links and contents, in shared memory, sockets, and in the memory that the kernel hands out."""
    found = []
    for folder in folders():
        for entry in os.scandir(folder):
            path = entry.path
            if word in path or (entry.is_symlink() and word in os.readlink(path)):
                found.append(path)
            elif entry.is_file(follow_symlinks=False) and word.encode() in head(path):
                found.append(path)
    for path in ("/proc/sysvipc/shm", "/proc/sysvipc/msg", "/proc/sysvipc/sem", "/proc/net/unix"):
        lines = head(path).splitlines()[1:]
        found += [f"{path}: {line!r}" for line in lines if word.encode() in line or "sysvipc" in path]
    with socket.socket(socket.AF_UNIX) as own:
        try:
            own.connect("\0" + word)
            found.append("a socket")
        except OSError:
            pass
    memory = bytearray(64 * 2**20)
    if word.encode() in memory or any(memory):
        found.append("fresh memory")
    return {"found": found}


def head(path):
    try:
        with open(path, "rb") as file:
            return file.read(MOST_BYTES)
    except OSError:
        return b""


def run(context, params):
    word = context.get("word")[::-1]  # as it is given to us it stands in our own files
    return leave(word) if context.get("role") == "leave" else find(word)
