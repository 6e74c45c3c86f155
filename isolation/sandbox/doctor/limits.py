"""What limits and counters stand on: control groups and swap."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from isolation.sandbox.doctor.check import Check, read
from isolation.units import format_bytes

if TYPE_CHECKING:
    from isolation.sandbox.doctor.check import Host
    from isolation.sandbox.engine import EngineFacts

_SWAP = re.compile(r"^SwapTotal: +(\d+) kB$", re.MULTILINE)


def check_driver(facts: EngineFacts) -> Check:
    """Look at what the engine makes groups with."""
    found = f"v{facts.cgroup_version}, {facts.cgroup_driver} driver"
    if facts.cgroup_driver != "none":
        return Check(subject="limits", name="cgroup", status="ok", found=found, meaning="limits hold in the kernel")
    return Check(
        subject="limits",
        name="cgroup",
        status="missing",
        found=found,
        meaning="no limit can hold",
        mend="Give the engine a cgroup driver (rootless: cgroup v2, systemd).",
    )


def check_groups(facts: EngineFacts, host: Host) -> Check:
    """Tell whether a run can have a group of its own, whose counters outlive its container."""
    root = host.cgroup / "memory" if facts.cgroup_version == 1 else host.cgroup
    if host.is_root and os.access(root, os.W_OK):
        return Check(
            subject="limits",
            name="cgroups of our own",
            status="ok",
            found="root, writable",
            meaning="usage is exact after the end",
        )
    return Check(
        subject="limits",
        name="cgroups of our own",
        status="warning",
        found=f"{root} is not writable" if host.is_root else "not root",
        meaning="usage is sampled through the engine, the last moments may be missing",
        mend="Run as root where exact usage matters; limits hold either way.",
    )


def check_swap(host: Host) -> Check:
    """Look whether memory can leave the memory."""
    told = _SWAP.search(read(host.proc / "meminfo"))
    size = int(told[1]) * 1024 if told else None
    if not size:
        return Check(subject="limits", name="swap", status="ok", found="not told" if size is None else "none")
    return Check(
        subject="limits",
        name="swap",
        status="advice",
        found=format_bytes(size),
        wanted="none",
        meaning="cells may not use it, their memory limit counts it too; a host that swaps slows all runs down",
        mend="Switch it off, now and in /etc/fstab.",
        command="swapoff -a",
    )
