"""The walls of a cell that the kernel and the engine must be built with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isolation.sandbox.doctor.check import Check, read

if TYPE_CHECKING:
    from isolation.sandbox.doctor.check import Host
    from isolation.sandbox.engine import EngineFacts

_MODULES = ("apparmor", "selinux")


def check_seccomp(facts: EngineFacts) -> Check:
    """Look whether system calls can be filtered."""
    if any("seccomp" in option for option in facts.security):
        return Check(subject="walls", name="seccomp", status="ok", found="there", meaning="system calls are filtered")
    return Check(
        subject="walls",
        name="seccomp",
        status="missing",
        found="not there",
        meaning="no recipe runs without it",
        mend="Use a kernel and an engine that are built with seccomp.",
    )


def check_security_module(facts: EngineFacts, host: Host) -> Check:
    """Look whether a security module confines containers once more."""
    used = [name for name in _MODULES if any(name in option for option in facts.security)]
    if used:
        return Check(subject="walls", name="security module", status="ok", found=", ".join(used))
    active = {*read(host.security / "lsm").split(",")} & {*_MODULES}
    if active:
        name = min(active)
        return Check(
            subject="walls",
            name="security module",
            status="warning",
            found=f"{name} in the kernel, not in the engine",
            meaning="one line of defence less: containers are not confined by it",
            mend=f"Install {name}'s tools, and restart the engine when nothing runs.",
            command="apt-get install -y apparmor && systemctl restart docker" if name == "apparmor" else "",
        )
    return Check(
        subject="walls",
        name="security module",
        status="warning",
        found="none",
        meaning="one line of defence less: neither AppArmor nor SELinux confines containers",
        mend="Boot a kernel that has AppArmor or SELinux on (`lsm=`), where you can.",
    )


def check_user_namespaces(host: Host) -> Check:
    """Tell whether processes of this host can make user namespaces; those of a cell cannot, either way."""
    limit = host.setting("user.max_user_namespaces")
    clone = host.setting("kernel.unprivileged_userns_clone")
    closed = limit == "0" or clone == "0"
    if closed or not (limit or clone):
        found = "closed to users" if closed else "not told"
        return Check(subject="walls", name="user namespaces", status="ok", found=found)
    return Check(
        subject="walls",
        name="user namespaces",
        status="advice",
        found="open to users",
        meaning="many holes of the kernel are reached through one; our filter closes them to cells",
        mend="Close them, if nothing else here needs them (a rootless engine does, and some browsers).",
        command="sysctl -w user.max_user_namespaces=0",
    )
