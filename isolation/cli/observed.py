"""Shows what each step read and wrote of the context, and what the recipe declared beyond that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isolation.cli.table import table
from isolation.cli.values import clip
from isolation.model.outcome import StepOutcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from isolation.cli.paint import Paint
    from isolation.model.run import Result, StepReport

_KEYS_CHARS = 60
_KEY_CHARS = 40


def observed_lines(result: Result, paint: Paint) -> list[str]:
    """Show a line for each step that used the context; nothing where none did, and nothing was declared in vain."""
    steps = result.attempts[-1].steps if result.attempts else ()
    rows = [row for step in steps if (row := _row(step))]
    use = result.context
    lines: list[str] = []
    if all(step.outcome is StepOutcome.SUCCEEDED for step in steps):  # one that did not run may have needed it
        lines += _told("declared, and never read", use.unused_reads)
        lines += _told("declared, and never written", use.unused_writes)
    lines += _told("asked for, and not shown", use.not_shown)
    if not rows and not lines:
        return []
    head = [["step", "read", "wrote"]] if rows else []

    def painted(row: int, _column: int, cell: str) -> str:
        return paint("dim", cell) if row == 0 else cell

    return ["context", *table([*head, *rows], paint=painted), *lines]


def _row(step: StepReport) -> list[str] | None:
    read = [*(["(everything)"] if step.read_all else []), *(clip(key, _KEY_CHARS) for key in step.keys_read)]
    notes = dict.fromkeys(step.keys_combined, " (combined)") | dict.fromkeys(step.keys_dropped, " (dropped)")
    keys = sorted({*step.keys_written, *step.keys_dropped})
    wrote = [clip(key, _KEY_CHARS) + notes.get(key, "") for key in keys]
    return [clip(step.name, 100), _some(read), _some(wrote)] if read or wrote else None


def _told(what: str, keys: Sequence[str]) -> Iterable[str]:
    return [f"  {what}: {_some([clip(key, _KEY_CHARS) for key in keys])}"] if keys else []


def _some(texts: Sequence[str]) -> str:
    """Write as many as one line takes, and how many more there are."""
    if not texts:
        return "-"
    shown = [texts[0]]
    while len(shown) < len(texts) and len(", ".join(shown)) + 2 + len(texts[len(shown)]) <= _KEYS_CHARS:
        shown.append(texts[len(shown)])
    more = len(texts) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
