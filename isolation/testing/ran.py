"""What a test gets to see of a scriptlet or a recipe that ran: the same from this process and from a container."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from isolation.model.event import LogLine

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pydantic import JsonValue

    from isolation.model.event import Event
    from isolation.model.run import Result, StepError, StepReport


@dataclass(frozen=True, kw_only=True, slots=True)
class Log:
    """A record of a scriptlet's logger; ``level`` is its name, such as INFO, and ``fields`` came as ``extra``."""

    step: str
    level: str
    text: str
    fields: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ran:
    """
    How a run ended.

    ``outcome`` is one of ``isolation.model.outcome.Outcome``, as text. ``outputs`` are those of a scriptlet, or of a
    recipe's steps by their names. ``set`` and ``deleted`` are what it changed in the context: nothing where it failed.
    ``error`` is the first that a step died of. ``artifacts`` are the files that it left, by their names.
    """

    outcome: str
    outputs: JsonValue
    set: Mapping[str, JsonValue]
    deleted: tuple[str, ...]
    logs: tuple[Log, ...]
    error: StepError | None
    steps: Mapping[str, StepReport]
    artifacts: Mapping[str, bytes]

    @property
    def succeeded(self) -> bool:
        """Tell whether all of it succeeded."""
        return self.outcome == "succeeded"

    def messages(self, level: str = "") -> list[str]:
        """Return the texts of the logs, all or those of a level."""
        return [log.text for log in self.logs if level in {"", log.level}]

    def assert_succeeded(self) -> None:
        """Fail the test, and show what the step died of, unless it succeeded."""
        __tracebackhide__ = True
        if not self.succeeded:
            raise AssertionError(f"the run ended as {self.outcome}\n{self._died_of()}")

    def assert_changed(self, set: Mapping[str, JsonValue], deleted: Collection[str] = ()) -> None:  # noqa: A002
        """Fail the test unless it succeeded, and changed these keys in the context and no other."""
        __tracebackhide__ = True
        self.assert_succeeded()
        assert dict(self.set) == dict(set)  # noqa: S101 - pytest shows what differs
        assert sorted(self.deleted) == sorted(deleted)  # noqa: S101 - as above

    def assert_failed(self, kind: str = "", message: str = "") -> None:
        """
        Fail the test unless a step died of an error of this kind, with this in its message.

        ``kind`` is the name of the class, with its module or without it.
        """
        __tracebackhide__ = True
        if self.succeeded:
            raise AssertionError(f"the run succeeded; it changed {dict(self.set)!r:.500}")
        found = self.error.type if self.error else ""
        told = self.error.message if self.error else ""
        if (kind and kind != found and not found.endswith(f".{kind}")) or message not in told:
            raise AssertionError(f"another error was expected: {kind} {message!r}\n{self._died_of()}")

    def _died_of(self) -> str:
        if self.error is None:
            reasons = [f"{name}: {step.outcome.value} {step.reason or step.cause}" for name, step in self.steps.items()]
            return "\n".join(reasons)
        return self.error.traceback or f"{self.error.step}: {self.error.type}: {self.error.message}"


class Listener:
    """Keeps the log records of a run, as its watcher."""

    def __init__(self) -> None:
        self.logs: list[Log] = []

    def on_event(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, LogLine) and event.stream == "log":
            self.logs.append(Log(step=event.step, level=event.level, text=event.text, fields=event.fields))


def ran(result: Result, logs: list[Log], artifacts: Mapping[str, bytes], *, alone: str = "") -> Ran:
    """Tell of a run; ``alone`` names the one step whose outputs are meant, of a scriptlet by itself."""
    steps = {step.name: step for step in result.attempts[-1].steps} if result.attempts else {}
    outputs: JsonValue = {name: step.outputs for name, step in steps.items()}
    return Ran(
        outcome=result.outcome.value,
        outputs=steps[alone].outputs if alone in steps else outputs,
        set=result.changes.set if result.succeeded else {},
        deleted=result.changes.deleted if result.succeeded else (),
        logs=tuple(logs),
        error=next(iter(result.errors), None),
        steps=steps,
        artifacts=artifacts,
    )
