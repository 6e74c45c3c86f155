"""The create body and the seccomp profile, line by line against what SECURITY asks for."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from isolation.model.policy import Limits, Policy
from isolation.sandbox import seccomp
from isolation.sandbox.cell import cell_labels
from isolation.sandbox.hardening import Mounts, create_body

UID = 231_099
LIMITS = Limits.model_validate({"memory": "64MiB", "pids": 32, "cpus": 0.5, "tmp": "8MiB", "tmp_inodes": 99})
MOUNTS = Mounts(package=Path("/state/packages/abc"), snapshot=Path("/state/slots/x"))


def body_of(limits: Limits = LIMITS, mounts: Mounts = MOUNTS, parent: str | None = "/isolation/x") -> dict[str, Any]:
    return create_body(
        Policy(name="test", limits=limits),
        image_id="sha256:abc",
        uid=UID,
        mounts=mounts,
        labels=cell_labels("run", 1),
        cgroup_parent=parent,
        cell_memory_bytes=limits.memory_bytes + 4,
    )


TMPFS = f"rw,noexec,nosuid,nodev,size={8 * 2**20},nr_inodes=99,mode=0700,uid={UID},gid={UID}"
BIND = {"Propagation": "rprivate", "NonRecursive": True}
GOLDEN: dict[str, object] = {
    "Image": "sha256:abc",
    "User": f"{UID}:{UID}",
    "WorkingDir": "/scratch",
    "Entrypoint": ["/usr/bin/python3", "-s", "-P", "-B", "-S", "/opt/runner/run.py"],
    "Cmd": [],
    "Env": [
        "PATH=/usr/local/bin:/usr/bin:/bin",
        "HOME=/tmp",
        "TMPDIR=/tmp",
        "LANG=C.UTF-8",
        "PYTHONDONTWRITEBYTECODE=1",
        "PYTHONHASHSEED=0",
        "TZ=UTC",
    ],
    "Tty": False,
    "OpenStdin": True,
    "StdinOnce": True,
    "AttachStdin": True,
    "AttachStdout": True,
    "AttachStderr": True,
    "NetworkDisabled": True,
    "Hostname": "cell",
    "StopSignal": "SIGKILL",
    "Healthcheck": {"Test": ["NONE"]},
    "Volumes": {},
}
GOLDEN_HOST: dict[str, object] = {
    "Privileged": False,
    "ReadonlyRootfs": True,
    "CapAdd": [],
    "CapDrop": ["ALL"],
    "GroupAdd": [],
    "NetworkMode": "none",
    "IpcMode": "none",
    "PidMode": "",
    "UTSMode": "",
    "UsernsMode": "",
    "CgroupnsMode": "private",
    "Runtime": "runc",
    "CgroupParent": "/isolation/x",
    "Memory": 64 * 2**20 + 4,
    "MemorySwap": 64 * 2**20 + 4,
    "OomKillDisable": False,
    "OomScoreAdj": 1000,
    "NanoCpus": 500_000_000,
    "CpuShares": 256,
    "PidsLimit": 32,
    "Tmpfs": {"/tmp": TMPFS, "/scratch": TMPFS},  # noqa: S108 - the container's own
    "Mounts": [
        {"Type": "bind", "Source": "/state/packages/abc", "Target": "/package", "ReadOnly": True, "BindOptions": BIND},
        {"Type": "bind", "Source": "/state/slots/x", "Target": "/in", "ReadOnly": True, "BindOptions": BIND},
    ],
    "ReadonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
    "Init": False,
    "AutoRemove": False,
    "RestartPolicy": {"Name": "no"},
    "LogConfig": {"Type": "none", "Config": {}},
    "Devices": [],
    "DeviceCgroupRules": [],
    "DeviceRequests": [],
    "Sysctls": {},
    "StorageOpt": {},
    "VolumesFrom": [],
    "Binds": [],
    "PortBindings": {},
    "PublishAllPorts": False,
    "ExtraHosts": [],
    "Dns": [],
    "Links": [],
}
CHECKED_BELOW = {"SecurityOpt", "Ulimits", "MaskedPaths"}


@pytest.mark.parametrize("field", GOLDEN)
def test_each_field_of_the_container_is_as_security_asks(field: str) -> None:
    """SECURITY 3.1: a setting that is merely absent is the engine's default, and not ours."""
    assert body_of()[field] == GOLDEN[field]


@pytest.mark.parametrize("field", GOLDEN_HOST)
def test_each_field_of_its_host_config_is_as_security_asks(field: str) -> None:
    """SECURITY 3.1, one by one."""
    assert body_of()["HostConfig"][field] == GOLDEN_HOST[field]


def test_there_is_nothing_else_in_it() -> None:
    """A field that nobody expected may undo one that everybody relies on."""
    body = body_of()

    assert {*body} == {*GOLDEN} | {"Labels", "HostConfig"}
    assert {*body["HostConfig"]} == {*GOLDEN_HOST} | CHECKED_BELOW


def test_no_privilege_can_be_gained_and_system_calls_are_filtered() -> None:
    """By our own profile's text, never by a name that a host may understand otherwise."""
    privileges, filtered = body_of()["HostConfig"]["SecurityOpt"]

    assert privileges == "no-new-privileges:true"
    assert json.loads(filtered.removeprefix("seccomp=")) == seccomp.profile()


def test_every_ulimit_is_hard() -> None:
    """A soft one is advice. Processes are counted by the kernel's group first, so that refusals are seen there."""
    limits = {one["Name"]: (one["Soft"], one["Hard"]) for one in body_of()["HostConfig"]["Ulimits"]}

    assert limits == {
        "nofile": (1024, 1024),
        "core": (1, 1),
        "fsize": (64 * 2**20, 64 * 2**20),
        "memlock": (65536, 65536),
        "msgqueue": (0, 0),
        "sigpending": (256, 256),
        "nproc": (128, 128),
        "rtprio": (0, 0),
        "nice": (0, 0),
    }


@pytest.mark.parametrize(
    "path",
    ["acpi", "asound", "interrupts", "kcore", "keys", "latency_stats", "pressure", "sched_debug", "scsi", "timer_list",
     "timer_stats", "config.gz", "diskstats", "cmdline", "locks", "key-users"],
)  # fmt: skip
def test_what_tells_of_the_host_is_masked(path: str) -> None:
    """SECURITY 3.1 and E 75."""
    assert f"/proc/{path}" in body_of()["HostConfig"]["MaskedPaths"]


def test_what_tells_of_the_hosts_hardware_is_masked() -> None:
    """Power counters are a side channel, firmware tables hold serial numbers."""
    hardware = {"/sys/firmware", "/sys/devices/virtual/powercap", "/sys/devices/virtual/dmi"}

    assert hardware <= {*body_of()["HostConfig"]["MaskedPaths"]}


def test_shared_memory_is_given_only_when_the_policy_asks() -> None:
    """Without a size there is no /dev/shm at all."""
    without = body_of()["HostConfig"]
    shared = body_of(Limits.model_validate({"shm": "1MiB"}))["HostConfig"]

    assert (without["IpcMode"], without.get("ShmSize")) == ("none", None)
    assert (shared["IpcMode"], shared["ShmSize"]) == ("private", 2**20)


def test_requirements_are_mounted_read_only_too() -> None:
    """Every mount is: there is no way out but the channel."""
    mounts = Mounts(package=Path("/p"), snapshot=Path("/s"), layer=Path("/l"))
    made = body_of(mounts=mounts)["HostConfig"]["Mounts"]

    assert [(one["Target"], one["ReadOnly"]) for one in made] == [("/package", True), ("/in", True), ("/layer", True)]


def test_without_a_group_of_ours_the_engines_own_is_taken() -> None:
    """An empty parent would mean the root to some versions."""
    assert "CgroupParent" not in body_of(parent=None)["HostConfig"]


def test_nothing_of_a_recipe_reaches_the_engine_but_numbers() -> None:
    """Names in a recipe are its author's: labels carry our ids alone."""
    labels = body_of()["Labels"]

    assert {*labels} == {"isolation.run", "isolation.owner", "isolation.attempt"}


def allowed() -> set[str]:
    """Name every call that is allowed under any condition."""
    return {
        name for rule in seccomp.profile()["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]
    }


DENIED = """
acct add_key adjtimex bpf clock_adjtime clock_settime clone3 create_module delete_module fanotify_init fanotify_mark
finit_module fsconfig fsmount fsopen get_kernel_syms init_module io_cancel io_destroy io_getevents io_pgetevents
io_setup io_submit io_uring_enter io_uring_register io_uring_setup ioperm iopl kcmp kexec_file_load kexec_load
keyctl lookup_dcookie memfd_secret mknod mknodat modify_ldt mount mount_setattr move_mount move_pages migrate_pages
name_to_handle_at nfsservctl open_by_handle_at open_tree perf_event_open pidfd_getfd pivot_root process_madvise
process_vm_readv process_vm_writev ptrace quotactl quotactl_fd reboot request_key set_mempolicy_home_node
setdomainname sethostname setns settimeofday stime swapoff swapon sync syncfs sysfs syslog tee umount umount2
unshare uselib userfaultfd ustat vhangup vm86 vm86old vmsplice
"""


@pytest.mark.parametrize("name", DENIED.split())
def test_a_call_that_reaches_the_hosts_kernel_is_denied(name: str) -> None:
    """SECURITY 3.3 and what needs a capability anyway."""
    assert name not in allowed()


@pytest.mark.parametrize("name", ["read", "execve", "clone", "socket", "socketpair", "mmap", "futex", "getrandom"])
def test_a_call_that_every_program_needs_is_allowed(name: str) -> None:
    """A profile that denies everything would pass all other tests."""
    assert name in allowed()


def test_what_is_not_named_is_refused() -> None:
    """New calls of new kernels too, and no 32-bit ones."""
    profile = seccomp.profile()

    assert (profile["defaultAction"], profile["defaultErrnoRet"]) == ("SCMP_ACT_ERRNO", errno.EPERM)
    assert profile["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"]


def test_no_rule_compares_one_argument_twice() -> None:
    """The runtime takes such comparisons as alternatives: "neither unix nor IP" becomes "anything"."""
    for rule in seccomp.profile()["syscalls"]:
        indexes = [argument["index"] for argument in rule["args"]]
        assert len(indexes) == len({*indexes}), rule


@pytest.mark.parametrize("family", range(46))
def test_only_unix_and_ip_sockets_are_allowed(family: int) -> None:
    """One rule decides for each family there is: no vsock, no netlink, no packet, no crypto."""
    compare = {"SCMP_CMP_EQ": lambda value: family == value, "SCMP_CMP_GT": lambda value: family > value}
    rules = [rule for rule in seccomp.profile()["syscalls"] if rule["names"] == ["socket"]]
    matching = [rule for rule in rules if all(compare[one["op"]](one["value"]) for one in rule["args"])]

    expected = ("SCMP_ACT_ALLOW", None) if family in {1, 2, 10} else ("SCMP_ACT_ERRNO", errno.EAFNOSUPPORT)
    assert [(rule["action"], rule.get("errnoRet")) for rule in matching] == [expected]


def test_a_clone_may_make_no_namespace() -> None:
    """CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET, from linux/sched.h."""
    (rule,) = [rule for rule in seccomp.profile()["syscalls"] if rule["names"] == ["clone"]]
    flags = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000

    assert rule["args"] == [{"index": 0, "value": flags, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]


def test_clone3_is_said_not_to_exist() -> None:
    """The C library then falls back to clone, whose flags can be looked at."""
    (rule,) = [rule for rule in seccomp.profile()["syscalls"] if rule["names"] == ["clone3"]]

    assert (rule["action"], rule["errnoRet"]) == ("SCMP_ACT_ERRNO", errno.ENOSYS)


def test_gvisor_gets_the_same_profile_in_words_that_it_understands() -> None:
    """It refuses all that the others do: pselect is pselect6, and clone3 is left to a tracer that nobody can be."""
    ours, gvisors = (rules_by_name(runtime) for runtime in ("runc", "runsc"))

    assert gvisors.pop("pselect") == gvisors["pselect6"]
    assert (ours.pop("clone3"), gvisors.pop("clone3")) == (("SCMP_ACT_ERRNO",), ("SCMP_ACT_TRACE",))
    assert "ptrace" not in allowed()
    assert gvisors == ours


def rules_by_name(runtime: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for rule in seccomp.profile(runtime)["syscalls"]:
        for name in rule["names"]:
            found[name] = (*found.get(name, ()), rule["action"])
    return found


def test_the_profiles_text_is_always_the_same() -> None:
    """It is part of what a run is recorded with."""
    assert seccomp.profile_text() == json.dumps(seccomp.profile(), sort_keys=True, separators=(",", ":"))
