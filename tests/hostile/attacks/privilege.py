"""Look at what a step is, and ask for more. Numbers of system calls are those of x86_64."""

import os
import resource
import shutil
import stat
import subprocess

from kernel import HERE, LIBC, call, files_below, opened, status, tried, written

NAMESPACES = {"user": 0x10000000, "mount": 0x20000, "cgroup": 0x2000000, "pid": 0x20000000, "net": 0x40000000}
SIGCHLD = 17
REMOUNT, BIND = 32, 4096
CAPABILITIES = b"\1\0\0\2" + b"\xff" * 16


def with_rights():
    for path in files_below("/", but=("/proc", "/sys")):
        found = os.lstat(path)
        if stat.S_ISREG(found.st_mode) and found.st_mode & 0o6000:
            yield f"{path}: setuid or setgid"
        if stat.S_ISREG(found.st_mode) and "security.capability" in os.listxattr(path, follow_symlinks=False):
            yield f"{path}: capabilities"


def own_copy():
    """Give a program of our own the rights that a file can have, and run it."""
    shutil.copy("/usr/bin/python3", "/tmp/own")
    os.chmod("/tmp/own", 0o4755)
    through_the_loader = ["/lib64/ld-linux-x86-64.so.2", "/tmp/own", "-c", "pass"]
    return {
        "set_capability": tried(os.setxattr, "/tmp/own", "security.capability", CAPABILITIES),
        "run": tried(subprocess.run, ["/tmp/own", "-c", "pass"]),
        "through_the_loader": subprocess.run(through_the_loader, capture_output=True, check=False).returncode,
        "setuid": tried(os.setuid, 0),
        "setgid": tried(os.setgid, 0),
        "setgroups": tried(os.setgroups, [0]),
        "euid": os.geteuid(),
    }


def without_a_file():
    """Run a program that lies in no file system, and have it tell its own status."""
    memory = os.memfd_create("own")
    with open("/usr/bin/python3", "rb") as file:
        os.sendfile(memory, file.fileno(), 0, os.fstat(file.fileno()).st_size)
    command = [f"/proc/self/fd/{memory}", "-I", "-c", "print(open('/proc/self/status').read())"]
    done = subprocess.run(command, pass_fds=[memory], capture_output=True, text=True, check=False)
    return dict(line.split(":\t", 1) for line in done.stdout.splitlines() if ":\t" in line)


def cloned(flag):
    pid = LIBC.syscall(56, flag | SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    if pid > 0:
        os.waitpid(pid, 0)
    return "refused" if pid < 0 else "done"


def joined(name):
    fd = os.open(f"/proc/self/ns/{name}", os.O_RDONLY)
    try:
        return call(308, fd, 0)
    finally:
        os.close(fd)


def namespaces():
    return {
        "clone": {name: cloned(flag) for name, flag in NAMESPACES.items()},
        "clone3": call(435, 0, 0),
        "setns": {name: joined(name) for name in os.listdir("/proc/self/ns")},
        "unshare": {name: call(272, flag) for name, flag in NAMESPACES.items()},
        "uid_map": written("/proc/self/uid_map", b"0 0 1"),
    }


def mounts():
    return {
        "proc": call(165, b"proc", b"/tmp", b"proc", 0, 0),
        "cgroup": call(165, b"cgroup", b"/tmp", b"cgroup", 0, b"memory"),
        "tmpfs": call(165, b"none", b"/tmp", b"tmpfs", 0, 0),
        "bind": call(165, b"/", b"/tmp", b"", BIND, 0),
        "remount_root": call(165, b"none", b"/", b"", REMOUNT, 0),
        "remount_proc": call(165, b"none", b"/proc/sys", b"", REMOUNT | BIND, 0),
        "remount_tmp": call(165, b"none", b"/tmp", b"", REMOUNT | BIND, 0),
        "umount": call(166, b"/proc/sys", 2),
        "pivot_root": call(155, b"/", b"/"),
        "chroot": call(161, b"/tmp"),
        "open_tree": call(428, HERE, b"/", 1),
        "move_mount": call(429, HERE, b"/tmp", HERE, b"/scratch", 0),
        "fsopen": call(430, b"tmpfs", 0),
        "mount_setattr": call(442, HERE, b"/", 0, 0, 0),
    }


LIMITS = ("NOFILE", "CORE", "FSIZE", "MEMLOCK", "MSGQUEUE", "SIGPENDING", "NPROC", "RTPRIO", "NICE")


def own_cgroups():
    if not os.path.exists("/proc/self/cgroup"):
        return []
    with open("/proc/self/cgroup") as file:
        return sorted({line.strip().split(":", 2)[-1] for line in file})


def run(context, params):
    cgroup_files = [*files_below("/sys/fs/cgroup")]
    return {
        "status": status(),
        "groups": os.getgroups(),
        "with_rights": [*with_rights()],
        "copy": own_copy(),
        "without_a_file": without_a_file(),
        "namespaces": namespaces(),
        "mounts": mounts(),
        "flags": {line.split()[1]: line.split()[3].split(",") for line in open("/proc/self/mounts")},
        "limits": {name.lower(): resource.getrlimit(getattr(resource, f"RLIMIT_{name}")) for name in LIMITS},
        "own_cgroups": own_cgroups(),
        "oom_score_adj": open("/proc/self/oom_score_adj").read().strip(),
        "release_agents": [path for path in cgroup_files if path.endswith("release_agent")],
        "cgroup_files": len(cgroup_files),
        "writable_cgroups": [path for path in cgroup_files if opened(path) == "done"],
    }
