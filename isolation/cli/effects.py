"""Shows what a run did to the context, and which files it left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isolation.cli.table import table
from isolation.cli.values import clip, shorten
from isolation.rules.escape import escape
from isolation.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from isolation.cli.paint import Paint
    from isolation.model.changes import Conflict
    from isolation.model.run import Artifact, Result

_KEY_CHARS = 60


def change_lines(result: Result, paint: Paint) -> list[str]:
    """List the changes, and what became of them; nothing if there are none."""
    if not result.changes:
        return []
    lines = [_fate(result)]
    notes = dict.fromkeys(result.merge.dropped, "  (another's value was kept)")
    notes |= dict.fromkeys(result.merge.combined, "  (combined with another's change)")
    for key in result.changes.keys():  # noqa: SIM118 - Changes is no dict
        note = notes.get(key, "")
        name = clip(key, _KEY_CHARS)
        if key in result.changes.set:
            lines.append("  " + paint("green", f"+ {name} = {shorten(result.changes.set[key])}") + note)
        else:
            lines.append("  " + paint("red", f"- {name}") + note)
    return lines


def conflict_lines(result: Result) -> list[str]:
    """List the keys that somebody else changed, with both writers."""
    if not result.merge.conflicts:
        return []
    return ["conflicts", *(line for conflict in result.merge.conflicts for line in _conflict(conflict))]


def artifact_lines(artifacts: tuple[Artifact, ...], where: Callable[[Artifact], str]) -> list[str]:
    """List the files that the run left; ``where`` tells for each where it lies now."""
    if not artifacts:
        return []
    rows = [[clip(item.name, 100), format_bytes(item.size_bytes), escape(where(item))] for item in artifacts]
    return ["artifacts", *table(rows, right=[1])]


def _fate(result: Result) -> str:
    if result.merge.status == "merged":
        return f"changes (merged, the context is at version {result.merge.version})"
    return "changes (not merged)"


def _conflict(conflict: Conflict) -> list[str]:
    run = f", run {escape(conflict.their_run_id)}" if conflict.their_run_id else ""
    why = f"  ({escape(conflict.why)})" if conflict.why else ""
    ours = "nothing" if conflict.missing == "ours" else shorten(conflict.ours)
    theirs = "nothing" if conflict.missing == "theirs" else shorten(conflict.theirs)
    return [
        f"  {clip(conflict.key, _KEY_CHARS)}{why}",
        f"    {'read' if conflict.read else 'ours'}    {ours}  ({clip(conflict.our_writer, _KEY_CHARS)})",
        f"    theirs  {theirs}  ({clip(conflict.their_writer, _KEY_CHARS)}{run})",
    ]
