"""What an attempt takes from the results of earlier runs, and what it leaves to later ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isolation.contract import Malformed
from isolation.model.step_result import LARGEST_RESULT_BYTES, StepResult
from isolation.sandbox.frames import StepEndedFrame

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence


class Recall:
    """
    Looks after the steps that have ``cache``: ``cached`` names them, and ``kept`` has what each of them may take.

    What a step takes is what we have kept: its runner says no more than which.
    """

    def __init__(self, cached: Collection[str] = (), kept: Mapping[str, Sequence[StepResult]] | None = None) -> None:
        self._cached = frozenset(cached)
        self._kept = kept or {}
        self._made: list[StepResult] = []
        self._secret_told = False

    def take(self, step: str, frame: StepEndedFrame) -> tuple[StepEndedFrame, StepResult]:
        """Return the end of a step that took a result, with that in it. Raises Malformed for one that is not there."""
        kept = self._kept.get(step, ())
        if frame.cached is None or frame.cached >= len(kept) or frame.outcome != "succeeded" or frame.tries:
            raise Malformed(f"the step {step!r} took a result that is not there")
        taken = kept[frame.cached]
        whole = StepEndedFrame.model_construct(
            step=frame.step,
            outcome="succeeded",
            tries=0,
            cause="",
            cached=frame.cached,
            reads=[*taken.reads],
            set=taken.set,
            deleted=[*taken.deleted],
            writers=taken.writers,
            outputs=taken.outputs,
        )
        return whole, taken

    def spoil(self) -> None:
        """Keep nothing from now on: a step put a secret out, and what others find may come from it."""
        self._secret_told = True

    def note(self, step: str, frame: StepEndedFrame, *, altered: bool) -> str:
        """
        Note what a step made that ran and succeeded; returns why it is not kept, empty where it is or need not be.

        ``altered``: the frame is not what the step said, since that holds a secret.
        """
        if step not in self._cached:
            if frame.found or frame.unkept:
                raise Malformed(f"the step {step!r} is not one whose result is kept")
            return ""
        why = frame.unkept or self._why_not(altered=altered)
        if why or not frame.found:
            return _not_kept(why) if why else ""
        result = StepResult(
            step=step,
            found=frame.found,
            reads=tuple(frame.reads),
            set=frame.set,
            deleted=tuple(frame.deleted),
            writers=frame.writers,
            outputs=frame.outputs,
        )
        size_bytes = len(result.content().encode())
        if size_bytes > LARGEST_RESULT_BYTES:
            return _not_kept(f"it has {size_bytes} bytes, and {LARGEST_RESULT_BYTES} are kept at most")
        self._made.append(result)
        return ""

    def made(self) -> tuple[StepResult, ...]:
        """Return what may be kept, if the run is merged."""
        return tuple(self._made)

    def _why_not(self, *, altered: bool) -> str:
        return "it may hold a secret" if altered or self._secret_told else ""


def _not_kept(why: str) -> str:
    return f"its result is not kept: {why}"
