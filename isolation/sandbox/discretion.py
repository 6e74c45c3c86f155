"""
What becomes of a step's end that tells a secret.

Outputs, errors and names show the mark in its place. The context must not: a value that was altered on its way would be
a lie, and one that was not would be a leak. So a step that wrote a secret there has failed, and wrote nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from isolation.contract import LONGEST
from isolation.rules.judge import SECRET_WRITTEN
from isolation.sandbox.frames import ErrorText

if TYPE_CHECKING:
    from isolation.rules.redaction import Redaction
    from isolation.sandbox.frames import StepEndedFrame


def written_secret(frame: StepEndedFrame, redaction: Redaction) -> str:
    """Say which secret the step wrote to which key of the context, as a key, a value or a writer; empty if none."""
    for key in (*frame.set, *frame.deleted):
        secret = redaction.find([key, frame.set.get(key), frame.writers.get(key)])
        if secret:
            return f"the step wrote the secret {secret} to the context, under the key {redaction.text(key)!r}"
    return ""


def refuse(frame: StepEndedFrame, why: str) -> StepEndedFrame:
    """Make it the end of a step that failed and changed nothing."""
    error = ErrorText(type="PermissionError", message=why, traceback="")
    failed = {"outcome": "failed", "cause": SECRET_WRITTEN, "error": error, "outputs": None}
    return frame.model_copy(update=failed | {"set": {}, "deleted": [], "writers": {}, "combined": [], "dropped": []})


def redact(frame: StepEndedFrame, redaction: Redaction) -> StepEndedFrame:
    """Put marks in the place of secrets in all that the step told of itself; a key that is hidden so stands for all."""
    reads = [redaction.text(key) for key in frame.reads]
    return frame.model_copy(
        update={
            "cause": redaction.text(frame.cause, LONGEST["cause"]),
            "error": frame.error and _redact_error(frame.error, redaction),
            "outputs": redaction.value(frame.outputs),
            "reads": reads,
            "read_all": frame.read_all or reads != frame.reads,
            "combined": [redaction.text(key) for key in frame.combined],
            "dropped": [redaction.text(key) for key in frame.dropped],
            "set": {redaction.text(key): value for key, value in frame.set.items()},
            "deleted": [redaction.text(key) for key in frame.deleted],
        }
    )


def _redact_error(error: ErrorText, redaction: Redaction) -> ErrorText:
    texts = {name: redaction.text(text, LONGEST[name]) for name, text in error.model_dump().items()}
    return error.model_copy(update=texts)  # unchecked: a mark may be longer than what it stands for
