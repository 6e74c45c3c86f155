"""Knock at the doors of the kernel. Numbers of system calls are those of x86_64; arguments do no harm where let in."""

import ctypes
import os
import socket
import time

from kernel import HERE, LIBC, call, files_below, opened, tried, written

CALLS = {
    "io_uring_setup": (425, 8, bytes(256)),
    "io_uring_enter": (426, 0, 0, 0, 0, 0, 0),
    "io_uring_register": (427, 0, 0, 0, 0),
    "io_setup": (206, 65536, bytes(8)),
    "io_submit": (209, 0, 0, 0),
    "io_destroy": (207, 0),
    "add_key": (248, b"user", b"left", b"behind", 6, 2**64 - 4),
    "request_key": (249, b"user", b"left", 0, 2**64 - 4),
    "keyctl": (250, 0, 2**64 - 4, 1),
    "bpf": (321, 0, bytes(128), 128),
    "perf_event_open": (298, bytes(128), 0, 2**64 - 1, 2**64 - 1, 0),
    "userfaultfd": (323, 1),
    "fanotify_init": (300, 0, 0),
    "fanotify_mark": (301, 0, 0, 0, 0, 0),
    "kcmp": (312, os.getpid(), os.getpid(), 0, 0, 0),
    "pidfd_getfd": (438, 0, 0, 0),
    "process_madvise": (440, 0, 0, 0, 0, 0),
    "memfd_secret": (447, 0),
    "modify_ldt": (154, 0, bytes(16), 16),
    "name_to_handle_at": (303, HERE, b"/", bytes(128), bytes(8), 0),
    "open_by_handle_at": (304, HERE, bytes(32), 0),
    "init_module": (175, b"", 0, b""),
    "finit_module": (313, 0, b"", 0),
    "delete_module": (176, b"nothing", 0),
    "kexec_load": (246, 0, 0, 0, 0xFFFF),
    "kexec_file_load": (320, 0, 0, 0, b"", 0xFFFF),
    "reboot": (169, 0, 0, 0, 0),
    "swapon": (167, b"/nowhere", 0),
    "swapoff": (168, b"/nowhere"),
    "syslog": (103, 10, 0, 0),
    "quotactl": (179, 0, b"", 0, 0),
    "acct": (163, b"/nowhere"),
    "sethostname": (170, b"x", 1),
    "setdomainname": (171, b"x", 1),
    "iopl": (172, 3),
    "ioperm": (173, 0, 1, 1),
    "vhangup": (153,),
    "sync": (162,),
    "syncfs": (306, 1),
    "vmsplice": (278, 0, 0, 0, 0),
    "tee": (276, 0, 0, 0, 0),
    "mknod": (133, b"/tmp/device", 0o20666, 0x0101),
    "mknodat": (259, HERE, b"/tmp/device", 0o20666, 0x0101),
    "mknod_fifo": (133, b"/tmp/fifo", 0o10600, 0),
    "personality_executable": (135, 0x0400000),
    "personality_no_random": (135, 0x0040000),
    "personality_query": (135, 0xFFFFFFFF),
    "clock_adjtime": (305, 0, bytes(208)),
    "adjtimex": (159, bytes(208)),
}
KINDS = {"stream": 1, "datagram": 2, "raw": 3, "sequenced": 5}
INTERNET = {"stream", "datagram"}


def families():
    """Tell which sockets can be had, by family and kind, and the answers where they cannot."""
    had, answers = [], set()
    for family in range(64):
        for name, kind in KINDS.items():
            answer = tried(lambda: socket.socket(family, kind).close())
            if answer == "done":
                had.append([family, name])
            elif family not in (1, 2, 10):
                answers.add(answer)
    return {
        "had": had,
        "answers": sorted(answers),
        "raw_icmp": tried(lambda: socket.socket(2, 3, 1).close()),
        "ping": tried(lambda: socket.socket(2, 2, 1).close()),
        "af_alg": tried(lambda: socket.socket(38, 5, 0).close()),
        "netlink_pair": call(53, 16, 3, 0, bytes(8)),
    }


def at_the_runner():
    """Reach into whoever started us, and into the container's first process."""
    found = {}
    for pid in {1, os.getppid()}:
        vector = (ctypes.c_void_p * 2)(ctypes.addressof(ctypes.create_string_buffer(8)), 8)
        pointer = ctypes.addressof(vector)
        found[str(pid)] = {
            "attach": call(101, 16, pid, 0, 0),
            "seize": call(101, 0x4206, pid, 0, 0),
            "read": call(310, pid, pointer, 1, pointer, 1, 0),
            "write": call(311, pid, pointer, 1, pointer, 1, 0),
            **{name: opened(f"/proc/{pid}/{name}", os.O_RDONLY) for name in ("mem", "maps", "environ", "auxv", "fd")},
            "output": opened(f"/proc/{pid}/fd/1"),
        }
    return found


def clocks():
    return {
        "clock_settime": tried(lambda: time.clock_settime(time.CLOCK_REALTIME, time.time() + 3600)),
        "settimeofday": call(164, bytes(16), 0),
        "adjtimex_offset": call(159, (1).to_bytes(8, "little") + bytes(200)),
    }


def schedule():
    highest = os.sched_param(os.sched_get_priority_max(os.SCHED_FIFO))
    return {
        "fifo": tried(lambda: os.sched_setscheduler(0, os.SCHED_FIFO, highest)),
        "round_robin": tried(lambda: os.sched_setscheduler(0, os.SCHED_RR, highest)),
        "nice": tried(os.setpriority, os.PRIO_PROCESS, 0, -20),
        "io_real_time": call(251, 1, 0, 1 << 13),
        "mlockall": call(151, 1 | 2),
        "mlock": tried_mlock(2**20),
        "less_killable": written("/proc/self/oom_score_adj", b"-1000"),
    }


def tried_mlock(size):
    memory = ctypes.create_string_buffer(size)
    return call(149, ctypes.addressof(memory), size)


DEVICES = (
    "mem",
    "kmsg",
    "kvm",
    "fuse",
    "loop0",
    "loop-control",
    "port",
    "vda",
    "sda",
    "net/tun",
    "vhost-vsock",
    "cuse",
)


def devices():
    return {
        "listed": sorted(files_below("/dev")),
        "opened": {name: opened(f"/dev/{name}", os.O_RDONLY | os.O_NONBLOCK) for name in DEVICES},
    }


def knobs():
    """Open everything in /proc and /sys that is not a process's own for writing; what is masked leads to /dev/null."""
    null = os.stat("/dev/null").st_rdev
    own = [f"/proc/{name}" for name in os.listdir("/proc") if name.isdecimal() or name in ("self", "thread-self")]
    paths = [*files_below("/proc", "/sys", but=own)]
    return {"tried": len(paths), "opened": [p for p in paths if opened(p) == "done" and os.stat(p).st_rdev != null]}


def own_program():
    with open("/tmp/again", "w") as file:
        file.write("#!/proc/self/exe\n")
    os.chmod("/tmp/again", 0o755)
    programs = ("/proc/self/exe", "/proc/1/exe", "/usr/bin/python3", "/sbin/docker-init", "/opt/runner/run.py")
    return {
        "opened": {path: opened(path, os.O_RDWR) for path in programs},
        "again": tried(os.execv, "/tmp/again", ["again"]),
    }


def run(context, params):
    return {
        "calls": {name: call(*arguments) for name, arguments in CALLS.items()} | {"ptrace_traceme": traced()},
        "thirty_two_bit": through_the_old_gate(),
        "families": families(),
        "runner": at_the_runner(),
        "clocks": clocks(),
        "schedule": schedule(),
        "devices": devices(),
        "knobs": knobs(),
        "program": own_program(),
        "read_only": [line.split()[1] for line in open("/proc/self/mounts") if "ro" in line.split()[3].split(",")],
        "descriptors": {fd: link(fd) for fd in os.listdir("/proc/self/fd")},
        "personality": LIBC.personality(0),
    }


def link(fd):
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except FileNotFoundError:  # the one that listed them
        return None


def traced():
    """Ask to be traced, in a child: whoever is stops at its next signal."""
    pid = os.fork()
    if pid == 0:
        os._exit(0 if call(101, 0, 0, 0, 0) == "done" else 1)
    return "done" if os.waitpid(pid, 0)[1] == 0 else "EPERM"


def through_the_old_gate():
    """Ask for getpid by int 0x80: a filter for x86_64 alone must not let the other table of calls through."""
    import mmap

    code = b"\xb8\x14\x00\x00\x00\xcd\x80\xc3"  # mov eax, 20; int 0x80; ret
    pid = os.fork()
    if pid == 0:
        page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        page.write(code)
        function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
        os._exit(0 if function() == os.getpid() else 1)
    return "done" if os.waitpid(pid, 0)[1] == 0 else "refused"
