"""What an idle cell cannot change any more: it waits only for runs of its own shape."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from isolation.model.policy import Limits, Policy, Runtime
from isolation.sandbox.hardening import environment
from isolation.sandbox.runtimes import GVISOR

if TYPE_CHECKING:
    from isolation.model.determinism import Determinism

_IDLE = {"cpus": 1.0, "memory": "64MiB", "tmp": "1MiB", "tmp_inodes": 64}
"""What our own runner needs to come up, and no more."""
_OF_A_PROCESS = ("pids", "open_files", "file_bytes", "shm_bytes")
"""Limits by which the limits of each process are set when it starts, and the size of the shared memory."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """
    Image, runtime, the variables that its interpreter started with, and limits that each process is born with.

    Every cell has the same network: none; what a policy allows goes through a folder that is mounted when it is
    claimed.
    """

    image_id: str
    runtime: Runtime
    environment: tuple[str, ...]
    limits: tuple[int, ...]
    determinism: Determinism = field(compare=False)

    @cached_property
    def policy(self) -> Policy:
        """The policy by which it is made, and stands until it is claimed."""
        limits = Limits().model_copy(update=dict(zip(_OF_A_PROCESS, self.limits, strict=True)))
        limits = Limits.model_validate(limits.model_dump(by_alias=True) | _IDLE)
        return Policy(name="idle", limits=limits, runtime=self.runtime, determinism=self.determinism)


def shape_of(policy: Policy, image_id: str) -> Shape | None:
    """
    Return the shape of a cell for runs of that policy and image; None where each must be made for its run.

    That is gVisor, into whose kernel nobody mounts, and a policy that limits no inodes, tmpfs(5): a limit that was set
    cannot be taken away.

    >>> shape_of(Policy(name="walled", runtime="runsc"), "sha256:0") is None
    True
    """
    if policy.runtime == GVISOR or policy.limits.tmp_inodes is None:
        return None
    return Shape(
        image_id=image_id,
        runtime=policy.runtime,
        environment=environment(policy.determinism),
        limits=tuple(getattr(policy.limits, name) for name in _OF_A_PROCESS),
        determinism=policy.determinism,
    )
