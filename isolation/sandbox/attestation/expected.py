"""What each view of a cell must show, from the policy and from what holds for every cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from isolation.sandbox.attestation import mounts
from isolation.sandbox.attestation.process import NAMESPACES, environment_text, rlimits_text
from isolation.sandbox.groups.group import limits_wanted
from isolation.sandbox.hardening import ENTRYPOINT, environment, ulimits
from isolation.sandbox.runtimes import CRUN, GVISOR, limits_on_host

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from isolation.model.policy import Limits, Policy
    from isolation.sandbox.engine import EngineFacts

_DEVICES = (
    "fd", "full", "null", "ptmx", "pts", "random", "stderr", "stdin", "stdout", "tty", "urandom", "zero",
)  # fmt: skip
_OF_THE_KERNEL = {"runc": ("mqueue",), CRUN: ("mqueue",), GVISOR: ("fuse", "net", "shm")}
"""gVisor's are its own, none is the host's."""
_REFUSED_CALLS = {
    "socket(AF_ALG)": "EAFNOSUPPORT",
    "socket(AF_VSOCK)": "EAFNOSUPPORT",
    "socket(AF_NETLINK)": "EAFNOSUPPORT",
    "io_uring_setup": "EPERM",
    "keyctl": "EPERM",
    "ptrace": "EPERM",
    "syncfs": "EPERM",
    "clone3": "ENOSYS",
    "personality": "EPERM",
}
"""How our filter answers; a kernel without it would answer otherwise."""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """By view: what each fact must be. ``covered``: whether paths of the host's kernel must be masked in there."""

    host: Mapping[str, str]
    in_force: Mapping[str, str]
    cell: Mapping[str, str]
    mounts: Mapping[str, mounts.Rule]
    covered: bool

    @classmethod
    def of(cls, policy: Policy, *, uid: int, engine: EngineFacts, parent: str | None, own: Iterable[str]) -> Expected:
        """Write down what a cell of that policy must show; ``own`` are the targets of our own mounts."""
        group = "the engine's" if parent is None else "the run's own"
        of = _of_gvisor if policy.runtime == GVISOR else _of_linux
        return of(policy, uid, engine, group, own)


def _of_linux(policy: Policy, uid: int, engine: EngineFacts, group: str, own: Iterable[str]) -> Expected:
    both = _everywhere(policy, uid) | {
        "new privileges": "refused",
        "own namespaces": " ".join(NAMESPACES),
        "out-of-memory score": "1000",
    }
    if any("apparmor" in option for option in engine.security):
        both["security module"] = "docker-default (enforce)"
    from_outside = {"command": " ".join(ENTRYPOINT), "closed to its steps": "yes", "cgroup": group}
    if policy.runtime == CRUN:
        from_outside["program"] = CRUN
    return Expected(
        host=both | from_outside,
        in_force=limits_wanted(limits_on_host(policy)),
        cell=both | _from_inside(policy) | {"own cgroup": "/"},
        mounts=mounts.rules(policy.limits, uid, own),
        covered=True,
    )


def _of_gvisor(policy: Policy, uid: int, _engine: EngineFacts, group: str, own: Iterable[str]) -> Expected:
    """
    Write down what is different where gVisor is the kernel of the cell.

    From outside there is only its own sandbox process: another uid, in a user namespace of its own, with nothing in
    its root. What a guest may do is seen from inside alone. Our filter holds there, but always refuses with EPERM.
    """
    sandbox = {
        "uid": "65534",
        "gid": "65534",
        "groups": "none",
        "new privileges": "refused",
        "seccomp": "filter",
        "own namespaces": "ipc mnt net user uts",
        "interfaces": "lo",
        "out-of-memory score": "1000",
        "command": "runsc-sandbox",
        "root of the sandbox": "empty and read-only",
        "cgroup": group,
    }
    inside = _everywhere(policy, uid) | _from_inside(policy)
    inside |= {name: "EPERM" for name in inside if name.startswith("call socket")}
    return Expected(
        host=sandbox,
        in_force=limits_wanted(limits_on_host(policy)),
        cell=inside,
        mounts=mounts.rules_of_gvisor(policy.limits, uid, own),
        covered=False,
    )


def _everywhere(policy: Policy, uid: int) -> dict[str, str]:
    limits: Limits = policy.limits
    hard = {name: (str(value), str(value)) for name, value in ulimits(policy).items()}
    shared = {"shm"} if limits.shm_bytes else set()
    return {
        "uid": str(uid),
        "gid": str(uid),
        "groups": "none",
        "capabilities": "none",
        "seccomp": "filter",
        "mounts": mounts.AS_ASKED,
        "devices": " ".join(sorted({*_DEVICES, *_OF_THE_KERNEL[policy.runtime], *shared})),
        "interfaces": "lo",
        "limits of a process": rlimits_text(hard),
        "environment": environment_text(dict(line.split("=", 1) for line in environment(policy.determinism))),
    }


def _from_inside(policy: Policy) -> dict[str, str]:
    held = policy.determinism
    clock = {} if held.clock == "real" else {"clock": f"{held.clock} at {held.clock_at_s}"}
    seen = clock | {"descriptors": "0 1 2", "names of the host": "none", "time zone": policy.determinism.time_zone}
    return seen | {f"call {name}": answer for name, answer in _REFUSED_CALLS.items()}
