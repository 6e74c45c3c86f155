"""How an attempt, a run or a step can end."""

from __future__ import annotations

from enum import Enum


class Outcome(Enum):
    """How an attempt ended, and so its run. ``rules.judge`` decides which."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    OUT_OF_MEMORY = "out_of_memory"
    TIMED_OUT = "timed_out"
    TOO_MANY_PROCESSES = "too_many_processes"
    DISK_FULL = "disk_full"
    OUTPUT_LIMIT = "output_limit"
    NO_ANSWER = "no_answer"
    BAD_ANSWER = "bad_answer"
    CANCELLED = "cancelled"
    REFUSED = "refused"
    LOST = "lost"
    CONFLICT = "conflict"


class StepOutcome(Enum):
    """How one step ended. ``UNKNOWN``: it had started when the attempt was stopped from outside."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    NO_ANSWER = "no_answer"
    BAD_ANSWER = "bad_answer"
    SKIPPED = "skipped"
    DISABLED = "disabled"
    UNKNOWN = "unknown"
