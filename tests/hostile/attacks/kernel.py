"""Ask the kernel, and tell its answer by name."""

import ctypes
import errno
import os

LIBC = ctypes.CDLL(None, use_errno=True)
HERE = 2**64 - 100  # AT_FDCWD


def call(number, *arguments):
    """Make a system call; bytes are passed as a pointer, numbers as they are."""
    given = [ctypes.c_char_p(one) if isinstance(one, bytes) else ctypes.c_ulong(one) for one in arguments]
    ctypes.set_errno(0)
    got = LIBC.syscall(ctypes.c_long(number), *given)
    return errno.errorcode[ctypes.get_errno()] if got == -1 else "done"


def tried(do, *arguments):
    """Do something of Python's own."""
    try:
        do(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"


def opened(path, flags=os.O_WRONLY | os.O_NONBLOCK):
    """Open a file, for writing unless told otherwise, and close it."""
    return tried(lambda: os.close(os.open(path, flags)))


def written(path, content):
    """Write to a file that is there, in one system call."""

    def write():
        fd = os.open(path, os.O_WRONLY)
        try:
            os.write(fd, content)
        finally:
            os.close(fd)

    return tried(write)


def status(pid="self"):
    """Read what the kernel says of a process."""
    with open(f"/proc/{pid}/status") as file:
        return dict(line.rstrip().split(":\t", 1) for line in file if ":\t" in line)


def files_below(*tops, but=()):
    """Yield every file, whatever its kind."""
    for top in tops:
        for folder, folders, names in os.walk(top):
            folders[:] = [name for name in folders if os.path.join(folder, name) not in but]
            yield from (os.path.join(folder, name) for name in names)
