"""What a run tells while it goes on: one frozen value an event, for whoever watches."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

    from isolation.model.run import StepReport
    from isolation.model.usage import Sample


@dataclass(frozen=True, kw_only=True, slots=True)
class RunStarted:
    """The run has an id; ``steps`` are the names of those that will run, in order."""

    run_id: str
    recipe: str
    steps: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class PhaseStarted:
    """The attempt entered a phase of its life: ``pack``, ``claim``, ``deliver``, ``run``, ``merge``, ..."""

    phase: str
    attempt: int


@dataclass(frozen=True, kw_only=True, slots=True)
class StepStarted:
    """A step began."""

    step: str


@dataclass(frozen=True, kw_only=True, slots=True)
class StepEnded:
    """A step ended, was skipped, or was stopped."""

    report: StepReport


@dataclass(frozen=True, kw_only=True, slots=True)
class LogLine:
    """One line that a step wrote, or a record of its logger with the ``fields`` that came along: all untrusted."""

    step: str
    stream: Literal["stdout", "stderr", "log"]
    text: str
    at: str
    level: str = ""
    fields: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampled:
    """A live reading of what the attempt uses."""

    sample: Sample


@dataclass(frozen=True, kw_only=True, slots=True)
class Retrying:
    """The attempt ended badly and another follows after ``wait_s``."""

    attempt: int
    outcome: str
    cause: str
    wait_s: float


Event = RunStarted | PhaseStarted | StepStarted | StepEnded | LogLine | Sampled | Retrying


class Watcher(Protocol):
    """Whoever wants to see a run go on."""

    def on_event(self, event: Event) -> None:
        """Take one event; called in order, from one thread, and must return soon."""
