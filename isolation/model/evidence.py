"""Evidence: all that is known about how one attempt ended, before anything is decided from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from isolation.model.changes import Changes, Reads

if TYPE_CHECKING:
    from isolation.model.run import Artifact, StepReport
    from isolation.model.step_result import StepResult

Stop = Literal[
    "", "cancelled", "limits.wall", "limits.step_wall", "limits.memory", "limits.pids", "limits.log", "limits.result",
    "limits.artifacts", "secret",
]  # fmt: skip
"""Why it was us who stopped it; empty if it was not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """
    What the kernel, the engine and the channel told.

    ``lost`` says why the engine cannot be believed, empty if it can; ``refused`` what was wrong with the cell's
    confinement, so that nothing was delivered to it. ``oom_kills`` and ``forks_refused`` are None
    where the kernel's counters cannot be read; then ``engine_saw_oom`` is all there is. ``full_of_tasks``: it had as
    many processes and threads as it may, once at least. ``results`` are of the steps that other runs may take instead
    of running them, if this one is merged.
    """

    lost: str = ""
    refused: str = ""
    stopped: Stop = ""
    oom_kills: int | None = None
    engine_saw_oom: bool = False
    forks_refused: int | None = None
    full_of_tasks: bool = False
    exit_code: int | None = None
    answer: Literal["complete", "missing", "malformed"] = "missing"
    answer_problem: str = ""
    results: tuple[StepResult, ...] = ()
    steps: tuple[StepReport, ...] = ()
    changes: Changes = field(default_factory=Changes)
    reads: Reads = field(default_factory=Reads)
    artifacts: tuple[Artifact, ...] = ()
    diagnostics: str = ""
