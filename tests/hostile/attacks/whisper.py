"""Pass a word to another run through what both can open: one holds locks and watches, the other looks and opens."""

import ctypes
import fcntl
import os
import select
import struct

from kernel import LIBC

FLOCK = struct.Struct("hhqqi4x")  # l_type, l_whence, l_start, l_len, l_pid: fcntl(2), on 64 bits
OFD_GETLK, OFD_SETLK = 36, 37
START = 4242  # a number to pass on: where the lock begins


def objects():
    found = ["/usr/bin/python3", "/opt/runner/run.py", "/etc/passwd", "/etc/hostname", "/usr/lib", "/"]
    found += ["/package", "/package/work.py", "/in", "/in/snapshot.json", "/dev/null", "/dev/zero", "/dev/mqueue"]
    found += [
        "/proc/version",
        "/proc/sys/kernel/ostype",
        "/proc/1/comm",
        "/sys/kernel/notes",
        "/sys/devices/system/cpu/online",
    ]
    found += [f"/sys/fs/cgroup/{name}" for name in os.listdir("/sys/fs/cgroup")[:3]]
    found += [f"/proc/self/ns/{name}" for name in os.listdir("/proc/self/ns")]
    return [path for path in found if os.path.exists(path)]


def opened(path):
    try:
        return os.open(path, os.O_RDONLY)
    except OSError:
        return None


def lock(fd, command, kind):
    return fcntl.fcntl(fd, command, FLOCK.pack(kind, 0, START, 1, 0))


def held(fd):
    """Take every lock that one may on a file that is open for reading; returns which could be had."""
    taken = []
    for name, take in {
        "flock": lambda: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB),
        "record lock": lambda: lock(fd, fcntl.F_SETLK, fcntl.F_RDLCK),
        "open file lock": lambda: lock(fd, OFD_SETLK, fcntl.F_RDLCK),
        "lease": lambda: fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK),
    }.items():
        try:
            take()
            taken.append(name)
        except OSError:
            continue
    return taken


def noticed(fd):
    """Tell which locks of somebody else are felt."""
    felt = []
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(fd, fcntl.LOCK_UN)
    except BlockingIOError:
        felt.append("flock")
    except OSError:
        pass
    for name, command in (("record lock", fcntl.F_GETLK), ("open file lock", OFD_GETLK)):
        try:
            kind, _, start, _, _ = FLOCK.unpack(lock(fd, command, fcntl.F_WRLCK))
        except OSError:
            continue
        if kind != fcntl.F_UNLCK and start == START:
            felt.append(name)
    return felt


def watch(paths):
    """Watch files for being opened or read; returns a descriptor and what it means by each number."""
    fd = LIBC.inotify_init1(os.O_NONBLOCK)
    return fd, {LIBC.inotify_add_watch(fd, path.encode(), 0x1 | 0x20): path for path in paths}


def hold(context):
    """Hold on until stopped, and tell of what is noticed."""
    files = {path: fd for path in objects() if (fd := opened(path)) is not None}
    taken = {path: held(fd) for path, fd in files.items()}
    # In its own group's folders the host is noticed, which reads the counters there: nobody else.
    inotify, names = watch([path for path in objects() if not path.startswith("/sys/fs/cgroup")])
    print("taken", sorted({name for one in taken.values() for name in one}), flush=True)
    while True:
        select.select([inotify], [], [])
        buffer = ctypes.create_string_buffer(4096)
        LIBC.read(inotify, buffer, 4096)
        print("noticed", names.get(struct.unpack_from("i", buffer)[0]), flush=True)


def run(context, params):
    if context.get("role") == "holder":
        hold(context)
    felt = {}
    for path in objects():
        fd = opened(path)
        if fd is not None:
            felt[path] = noticed(fd)
            try:
                os.read(fd, 1)
            except OSError:
                pass
            os.close(fd)
    with open("/proc/locks") if os.path.exists("/proc/locks") else open("/dev/null") as file:
        listed = [line for line in file if str(START) in line]
    return {"felt": {path: names for path, names in felt.items() if names}, "tried": sorted(felt), "listed": listed}
