"""
The system calls of a cell, as one readable list; everything else is refused with EPERM.

Left out on purpose, beyond what needs a capability anyway: io_uring and the global AIO pool (shared kernel queues),
ptrace and its relatives (the runner shares a uid with the steps), keyrings (not namespaced), user namespaces,
``memfd_secret``, ``userfaultfd``, ``bpf``, ``perf_event_open``, ``sync`` (stalls the host's disks), device nodes,
every socket family but unix and IP.
"""

from __future__ import annotations

import errno
import functools
import json
from typing import Any

_FILES = """
access chdir chmod chown close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 fadvise64
fallocate fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl fdatasync fgetxattr flistxattr flock
fremovexattr fsetxattr fstat fstatfs fsync ftruncate futimesat getcwd getdents getdents64 getxattr inotify_add_watch
inotify_init inotify_init1 inotify_rm_watch ioctl lchown lgetxattr link linkat listxattr llistxattr lremovexattr
lseek lsetxattr lstat mkdir mkdirat newfstatat open openat openat2 pread64 preadv preadv2 pwrite64 pwritev pwritev2
read readahead readlink readlinkat readv removexattr rename renameat renameat2 rmdir sendfile setxattr splice stat
statfs statx symlink symlinkat sync_file_range truncate umask unlink unlinkat utime utimensat utimes write writev
"""
_MEMORY = """
brk madvise membarrier memfd_create mincore mlock mlock2 mlockall mmap mprotect mremap msync munlock munlockall
munmap pkey_alloc pkey_free pkey_mprotect remap_file_pages get_mempolicy mbind set_mempolicy
"""
_PROCESSES = """
arch_prctl capget capset execve execveat exit exit_group fork futex futex_waitv get_robust_list
get_thread_area getcpu getegid geteuid getgid getgroups getpgid getpgrp getpid getppid getpriority getresgid
getresuid getrlimit getrusage getsid gettid getuid ioprio_get ioprio_set kill pidfd_open pidfd_send_signal prctl
prlimit64 restart_syscall rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn
rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min sched_getaffinity
sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval sched_setaffinity sched_setattr
sched_setparam sched_setscheduler sched_yield seccomp set_robust_list set_thread_area set_tid_address setfsgid
setfsuid setgid setgroups setitimer getitimer setpgid setpriority setregid setresgid setresuid setreuid setrlimit
setsid setuid sigaltstack signalfd signalfd4 sysinfo tgkill time times tkill uname vfork wait4 waitid
"""
_TIME = """
alarm clock_getres clock_gettime clock_nanosleep gettimeofday nanosleep pause timer_create timer_delete
timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime
"""
_WAITING = """
epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 pipe pipe2 poll ppoll
pselect6 select
"""
_SOCKETS = """
accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg recvmsg sendmmsg sendmsg
sendto setsockopt shutdown
"""
_IPC = """
mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink msgctl msgget msgrcv msgsnd semctl semget
semop semtimedop shmat shmctl shmdt shmget
"""
_LANDLOCK = "landlock_add_rule landlock_create_ruleset landlock_restrict_self"
_RANDOM = "getrandom"
_ON_GVISOR = "pselect"
"""What gVisor's own table calls pselect6; it ignores names that are not in it, as runc does."""

_NAMESPACE_FLAGS = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET: clone(2)."""
_AF_UNIX, _AF_INET, _AF_INET6 = 1, 2, 10
_OTHER_FAMILIES = tuple(family for family in range(_AF_INET6) if family not in {_AF_UNIX, _AF_INET})


@functools.cache
def profile_text(runtime: str = "runc") -> str:
    """Write the profile as the engine wants it: JSON text, the same on every call."""
    return json.dumps(profile(runtime), sort_keys=True, separators=(",", ":"))


def profile(runtime: str = "runc") -> dict[str, Any]:
    """Build the profile for x86_64 and arm64; names that an architecture lacks are ignored by the runtime."""
    groups = [_FILES, _MEMORY, _PROCESSES, _TIME, _WAITING, _SOCKETS, _IPC, _LANDLOCK, _RANDOM]
    groups += [_ON_GVISOR] if runtime == "runsc" else []
    plain = sorted({name for group in groups for name in group.split()})
    rules: list[dict[str, Any]] = [_allow(plain)]
    rules += [_allow(["socket"], _equals(0, family)) for family in (_AF_UNIX, _AF_INET, _AF_INET6)]
    # One comparison a rule: libseccomp takes several of one argument as alternatives, so "none of these" is any.
    rules += [_refuse(["socket"], errno.EAFNOSUPPORT, _equals(0, family)) for family in _OTHER_FAMILIES]
    rules.append(_refuse(["socket"], errno.EAFNOSUPPORT, [_compare(0, "SCMP_CMP_GT", _AF_INET6)]))
    rules.append(_allow(["socketpair"], _equals(0, _AF_UNIX)))
    rules.append(_allow(["clone"], [_compare(0, "SCMP_CMP_MASKED_EQ", _NAMESPACE_FLAGS)]))
    rules.append(_no_such_call("clone3", runtime))  # its flags lie in memory, where a filter cannot look
    rules.append(_allow(["personality"], _equals(0, 0)))
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": errno.EPERM,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
        "syscalls": rules,
    }


def _allow(names: list[str], arguments: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"names": names, "action": "SCMP_ACT_ALLOW", "args": arguments or []}


def _refuse(names: list[str], number: int, arguments: list[dict[str, Any]]) -> dict[str, Any]:
    return {"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": number, "args": arguments}


def _no_such_call(name: str, runtime: str) -> dict[str, Any]:
    """
    Answer ENOSYS, after which a C library does without the call; after anything else it makes no thread at all.

    Older gVisor refuses with EPERM, whatever number it is given. There the call is left to a tracer: nobody can be
    one, and without one it is answered with ENOSYS, seccomp(2).
    """
    if runtime == "runsc":
        return {"names": [name], "action": "SCMP_ACT_TRACE", "args": []}
    return _refuse([name], errno.ENOSYS, [])


def _equals(index: int, value: int) -> list[dict[str, Any]]:
    return [_compare(index, "SCMP_CMP_EQ", value)]


def _compare(index: int, how: str, value: int) -> dict[str, Any]:
    return {"index": index, "value": value, "valueTwo": 0, "op": how}
