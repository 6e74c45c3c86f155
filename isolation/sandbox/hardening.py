"""
The create body of a cell: what the container may be and do. Nothing of a recipe can reach it but numbers.

The list follows the CIS Docker Benchmark's container section; ``docs/limits.md`` says what each line is for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from isolation.sandbox.egress.inside import FOLDER as EGRESS
from isolation.sandbox.egress.inside import HOSTS
from isolation.sandbox.runtimes import limits_on_host, most_tasks_of_its_user
from isolation.sandbox.seccomp import profile_text

if TYPE_CHECKING:
    from pathlib import Path

    from isolation.model.determinism import Determinism
    from isolation.model.policy import Limits, Policy

ENTRYPOINT = ("/usr/bin/python3", "-s", "-P", "-B", "-S", "/opt/runner/run.py")
"""Isolated but for the environment (``-I`` is ``-s -P -E``): the hash seed comes by it, and all of it is ours."""
_ENVIRONMENT = (
    "PATH=/usr/local/bin:/usr/bin:/bin",
    "HOME=/tmp",
    "TMPDIR=/tmp",
    "LANG=C.UTF-8",
    "PYTHONDONTWRITEBYTECODE=1",
)
_LIBFAKETIME = "/opt/libfaketime.so"
"""Where the image has it."""
MASKED_PATHS = (
    "/proc/acpi", "/proc/asound", "/proc/cmdline", "/proc/config.gz", "/proc/diskstats", "/proc/interrupts",
    "/proc/kcore", "/proc/key-users", "/proc/keys", "/proc/latency_stats", "/proc/locks", "/proc/pressure",
    "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/dmi",
    "/sys/devices/virtual/powercap", "/sys/firmware",
)  # fmt: skip
FOLDERS_WRITABLE = ("/tmp", "/scratch")  # noqa: S108 - the container's own
SNAPSHOT = "/in"
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


@dataclass(frozen=True, kw_only=True, slots=True)
class Mounts:
    """
    What the container sees of the host's files, all read-only.

    ``layer`` None: the package has no requirements. ``base`` None: the snapshot holds all. ``egress`` None: the policy
    allows no network. ``hosts``, a file: None where the policy names no endpoint of TCP.
    """

    package: Path
    snapshot: Path
    layer: Path | None = None
    base: Path | None = None
    egress: Path | None = None
    hosts: Path | None = None


def environment(determinism: Determinism) -> tuple[str, ...]:
    """Return every variable that a cell gets, as ``NAME=value``."""
    return (
        *_ENVIRONMENT,
        f"PYTHONHASHSEED={determinism.hash_seed}",
        f"TZ={determinism.time_zone}",
        *_clock(determinism),
    )


def _clock(determinism: Determinism) -> tuple[str, ...]:
    """Have libfaketime(1) tell another time, but for the monotonic clock, by which the runner holds its deadlines."""
    if determinism.clock == "real":
        return ()
    goes_on = "@" if determinism.clock == "set" else ""
    return (
        f"LD_PRELOAD={_LIBFAKETIME}",
        f"FAKETIME={goes_on}{determinism.clock_at_s}",
        "FAKETIME_FMT=%s",
        "FAKETIME_DONT_FAKE_MONOTONIC=1",
    )


def create_body(
    policy: Policy,
    *,
    image_id: str,
    uid: int,
    mounts: Mounts | None,
    labels: dict[str, str],
    cgroup_parent: str | None,
    cell_memory_bytes: int,
) -> dict[str, Any]:
    """
    Write the Engine API's create body (API 1.41) of a cell.

    ``cell_memory_bytes`` is the limit of the container's own group: the policy's, or a little more where the
    run's parent group holds the policy's. ``mounts`` None: they come when it is claimed.
    """
    host_config = _CLOSED | _limits(policy, cell_memory_bytes)
    host_config["Tmpfs"] = {path: _tmpfs(policy.limits, uid) for path in FOLDERS_WRITABLE}
    host_config["Mounts"] = [] if mounts is None else _mounts(mounts)
    host_config["SecurityOpt"] = ["no-new-privileges:true", f"seccomp={profile_text(policy.runtime)}"]
    if cgroup_parent is not None:
        host_config["CgroupParent"] = cgroup_parent
    own = {"Image": image_id, "User": f"{uid}:{uid}", "Labels": labels, "Env": [*environment(policy.determinism)]}
    return _PROCESS | own | {"HostConfig": host_config}


_PROCESS: dict[str, Any] = {
    "WorkingDir": "/scratch",
    "Entrypoint": [*ENTRYPOINT],
    "Cmd": [],
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
"""The same for every cell: what is started, and how we talk with it."""

_CLOSED: dict[str, Any] = {
    "Privileged": False,
    "ReadonlyRootfs": True,
    "CapAdd": [],
    "CapDrop": ["ALL"],
    "GroupAdd": [],
    "NetworkMode": "none",
    "PidMode": "",
    "UTSMode": "",
    "UsernsMode": "",
    "CgroupnsMode": "private",
    "MaskedPaths": [*MASKED_PATHS],
    "ReadonlyPaths": [*READONLY_PATHS],
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
"""The same for every cell: what is shut."""


HELD_ABOVE: dict[str, Any] = {"Memory": 0, "MemorySwap": 0, "NanoCpus": 0, "PidsLimit": 0}
"""No limits of the container's own, where the group above it holds them, and can be given others."""


def limits_of(policy: Policy) -> dict[str, Any]:
    """Return the limits that an engine can give a container that stands (``/containers/{id}/update``)."""
    numbers = _limits(policy, policy.limits.memory_bytes)
    return {name: numbers[name] for name in HELD_ABOVE}


def _limits(policy: Policy, cell_memory_bytes: int) -> dict[str, Any]:
    limits = policy.limits
    numbers: dict[str, Any] = {
        "Runtime": policy.runtime,
        "Memory": cell_memory_bytes,
        "MemorySwap": cell_memory_bytes,
        "OomKillDisable": False,
        "OomScoreAdj": 1000,
        "NanoCpus": round(limits.cpus * 1e9),
        "CpuShares": 256,
        "PidsLimit": limits_on_host(policy).pids,
        "Ulimits": [{"Name": name, "Soft": value, "Hard": value} for name, value in ulimits(policy).items()],
        "IpcMode": "private" if limits.shm_bytes else "none",
    }
    return numbers | {"ShmSize": limits.shm_bytes} if limits.shm_bytes else numbers


def ulimits(policy: Policy) -> dict[str, int]:
    """Return the limits of each process, soft and hard alike, by the engine's names for them."""
    return {
        "nofile": policy.limits.open_files,
        "core": 1,  # no file is so small, and no helper of the host's is started: at 0 one is, as root, core(5)
        "fsize": policy.limits.file_bytes,
        "memlock": 65536,
        "msgqueue": 0,
        "sigpending": 256,
        "nproc": most_tasks_of_its_user(policy),
        "rtprio": 0,
        "nice": 0,
    }


def _tmpfs(limits: Limits, uid: int) -> str:
    return f"rw,noexec,nosuid,nodev,{tmpfs_size(limits)},mode=0700,uid={uid},gid={uid}"


def tmpfs_size(limits: Limits) -> str:
    """Write a policy's limits of a tmpfs as mount options, tmpfs(5)."""
    size = f"size={limits.tmp_bytes}"
    return size if limits.tmp_inodes is None else f"{size},nr_inodes={limits.tmp_inodes}"


def targets(mounts: Mounts) -> dict[str, Path]:
    """Return what is the host's by where the cell sees it."""
    sources = {"/package": mounts.package, SNAPSHOT: mounts.snapshot}
    if mounts.layer is not None:
        sources["/layer"] = mounts.layer
    if mounts.base is not None:
        sources["/base"] = mounts.base
    if mounts.egress is not None:
        sources[EGRESS] = mounts.egress
    if mounts.hosts is not None:
        sources[HOSTS] = mounts.hosts
    return sources


def _mounts(mounts: Mounts) -> list[dict[str, Any]]:
    return [
        {
            "Type": "bind",
            "Source": str(source),
            "Target": target,
            "ReadOnly": True,
            "BindOptions": {"Propagation": "rprivate", "NonRecursive": True},
        }
        for target, source in targets(mounts).items()
    ]
