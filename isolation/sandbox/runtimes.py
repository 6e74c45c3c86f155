"""
The runtimes that a policy may name, and what the host's kernel is asked for so that its numbers hold on each.

::

    runc, crun   the recipe's processes are the host's own: the policy's numbers are the kernel's
    runsc        gVisor, a kernel in user space: it lies within the limits together with the recipe

``docs/runtimes.md`` says what else differs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from isolation.errors import UnenforceableError
from isolation.units import format_bytes

if TYPE_CHECKING:
    from isolation.model.policy import Limits, Policy
    from isolation.sandbox.engine import EngineFacts

GVISOR = "runsc"
CRUN = "crun"
"""Nothing in a cell tells it from runc, whose name an engine lets nobody register for another program."""
_GVISOR_BYTES = 48 * 2**20
"""What gVisor and our runner need together before the recipe has anything: measured, and half as much again."""
_GVISOR_TASKS = 64
_GVISOR_TASKS_FOR_EACH = 2
"""
gVisor's own threads, and those that it keeps on the host for each process of the recipe: five while that sleeps, up to
18 while all compute. Two for each keep a fork bomb from meeting the limit of memory first, with the policies we ship.
"""


def check_runtime(policy: Policy, engine: EngineFacts) -> None:
    """Raise UnenforceableError where this engine has not the policy's runtime, or the runtime no room in its limits."""
    if policy.runtime not in engine.runtimes:
        raise UnenforceableError(
            f"the runtime {policy.runtime!r} of policy {policy.name!r} is not known to the engine",
            hint=f"It knows: {', '.join(names(engine))}. Register it (on Debian: scripts/runtimes), or choose another "
            "in the policy.",
        )
    if policy.runtime == GVISOR:
        _check_gvisor(policy)


def _check_gvisor(policy: Policy) -> None:
    if policy.network.entries:
        raise UnenforceableError(
            f"policy {policy.name!r} allows a network, which the runtime 'runsc' cannot give: gVisor lets no container "
            "connect to a socket of the host",
            hint="Choose `runtime: runc` or `crun` in the policy, or `network: none`.",
        )
    if policy.limits.tmp_inodes is not None:
        raise UnenforceableError(
            f"limits.tmp_inodes of policy {policy.name!r} cannot be held by gVisor: it counts no inodes",
            hint="Say `tmp_inodes: null`: they count as memory, and limits.memory holds.",
        )
    if policy.limits.memory_bytes < _GVISOR_BYTES:
        raise UnenforceableError(
            f"limits.memory of policy {policy.name!r} is {format_bytes(policy.limits.memory_bytes)}, "
            f"but gVisor alone needs {format_bytes(_GVISOR_BYTES)}",
            hint="Raise it, or choose another runtime.",
        )


def names(engine: EngineFacts) -> tuple[str, ...]:
    """Name the engine's runtimes as a policy could; the engine's own names for its plug-ins have dots."""
    return tuple(name for name in engine.runtimes if "." not in name)


def limits_on_host(policy: Policy) -> Limits:
    """
    Return the limits that the host's kernel is asked for.

    >>> from isolation.model.policy import Policy
    >>> limits_on_host(Policy(name="plain")).pids, limits_on_host(Policy(name="walled", runtime="runsc")).pids
    (128, 320)
    """
    if policy.runtime != GVISOR:
        return policy.limits
    pids = _GVISOR_TASKS + _GVISOR_TASKS_FOR_EACH * policy.limits.pids
    return policy.limits.model_copy(update={"pids": pids})


def most_tasks_of_its_user(policy: Policy) -> int:
    """
    Return RLIMIT_NPROC, setrlimit(2), for the processes of a cell.

    The host's kernel counts refusals by ``limits.pids``, so this limit stands above it and is never met. gVisor's
    kernel has no other that holds for threads, of which its host sees nothing.
    """
    return policy.limits.pids if policy.runtime == GVISOR else 2 * policy.limits.pids + 64
