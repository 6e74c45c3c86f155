"""What each view of a cell must show, from the policy and from what holds for every cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from isolation.sandbox.attestation import mounts as mounting
from isolation.sandbox.attestation.process import NAMESPACES, environment_text, rlimits_text
from isolation.sandbox.groups.group import limits_wanted
from isolation.sandbox.hardening import ENTRYPOINT, ENVIRONMENT, ulimits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from isolation.model.policy import Limits, Policy
    from isolation.sandbox.engine import EngineFacts

DEVICES = (
    "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "stderr", "stdin", "stdout", "tty", "urandom", "zero",
)  # fmt: skip
REFUSED_CALLS = {
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
    """By view: what each fact must be."""

    host: Mapping[str, str]
    in_force: Mapping[str, str]
    cell: Mapping[str, str]

    @classmethod
    def of(cls, policy: Policy, *, uid: int, engine: EngineFacts, parent: str | None) -> Expected:
        """Write down what a cell of that policy must show."""
        both = _of_the_process(policy.limits, uid)
        if any("apparmor" in option for option in engine.security):
            both["security module"] = "docker-default (enforce)"
        host = {
            **both,
            "command": " ".join(ENTRYPOINT),
            "closed to its steps": "yes",
            "cgroup": "the engine's" if parent is None else "the run's own",
        }
        cell = {**both, "descriptors": "0 1 2", "own cgroup": "/", "names of the host": "none"}
        return cls(
            host=host,
            in_force=limits_wanted(policy.limits),
            cell=cell | {f"call {name}": answer for name, answer in REFUSED_CALLS.items()},
        )


def _of_the_process(limits: Limits, uid: int) -> dict[str, str]:
    environment = dict(line.split("=", 1) for line in ENVIRONMENT)
    hard = {name: (str(value), str(value)) for name, value in ulimits(limits).items()}
    return {
        "uid": str(uid),
        "gid": str(uid),
        "groups": "none",
        "capabilities": "none",
        "new privileges": "refused",
        "seccomp": "filter",
        "own namespaces": " ".join(NAMESPACES),
        "mounts": mounting.AS_ASKED,
        "devices": " ".join(sorted((*DEVICES, "shm") if limits.shm_bytes else DEVICES)),
        "interfaces": "lo",
        "limits of a process": rlimits_text(hard),
        "environment": environment_text(environment),
        "out-of-memory score": "1000",
    }
