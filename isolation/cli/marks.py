"""One mark and one colour for each way that a step can end."""

from __future__ import annotations

from isolation.model.outcome import StepOutcome

MARKS: dict[StepOutcome, str] = {
    StepOutcome.SUCCEEDED: "✓",
    StepOutcome.FAILED: "✗",
    StepOutcome.TIMED_OUT: "✗",
    StepOutcome.NO_ANSWER: "✗",
    StepOutcome.BAD_ANSWER: "✗",
    StepOutcome.SKIPPED: "-",
    StepOutcome.DISABLED: "-",
    StepOutcome.UNKNOWN: "?",
}
STYLES: dict[StepOutcome, str] = {
    outcome: {"✓": "green", "✗": "red", "-": "dim", "?": "yellow"}[mark] for outcome, mark in MARKS.items()
}
