"""Shows what confined a run's cells: fact by fact, what each view found, and what it should have been."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isolation.cli.table import table
from isolation.cli.values import clip
from isolation.rules.escape import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isolation.cli.paint import Paint
    from isolation.model.attestation import Attestation, Fact
    from isolation.model.run import Attempt

_STYLES = {"held": "green", "unverified": "yellow", "mismatch": "red"}
_TEXT_CHARS = 90


def attestation_text(attempts: Sequence[Attempt], paint: Paint) -> str:
    """Write every attempt's facts, those that did not hold first."""
    sections = []
    for attempt in attempts:
        head = f"attempt {attempt.number}: "
        if attempt.attestation is None:
            sections.append([head + "not attested, its container was gone before it could be looked at"])
        else:
            sections.append([head + attestation_line(attempt.attestation), *_facts(attempt.attestation, paint)])
    return "\n\n".join("\n".join(lines) for lines in sections) or "no attempt has ended yet"


def attestation_line(attestation: Attestation) -> str:
    """Say in one line how an attestation came out."""
    counts = [(verdict, len(attestation.having(verdict))) for verdict in ("mismatch", "unverified", "held")]
    said = ", ".join(f"{count} {_NAMES[verdict]}" for verdict, count in counts if count)
    stood = ", in a cell that stood ready" if attestation.cell == "warm" else ""
    return f"{len(attestation.facts)} facts under {escape(attestation.runtime)}{stood}: {said}"


def _facts(attestation: Attestation, paint: Paint) -> list[str]:
    order = ("mismatch", "unverified", "held")
    facts = sorted(attestation.facts, key=lambda fact: order.index(fact.verdict))
    rows = [["", "seen by", "fact", "found"], *(_row(fact) for fact in facts)]

    def painted(row: int, column: int, cell: str) -> str:
        if row == 0:
            return paint("dim", cell)
        return paint(_STYLES[facts[row - 1].verdict], cell) if column == 0 else cell

    return table(rows, indent="", paint=painted)


def _row(fact: Fact) -> list[str]:
    if fact.verdict == "held":
        told = clip(fact.found, _TEXT_CHARS)
    elif fact.verdict == "unverified":
        told = clip(fact.why, _TEXT_CHARS)
    else:
        told = f"{clip(fact.found, _TEXT_CHARS)}, should be {clip(fact.expected, _TEXT_CHARS)}"
    return [fact.verdict, f"{fact.view}, early" if fact.early else fact.view, escape(fact.name), told]


_NAMES = {"held": "held", "unverified": "unverified", "mismatch": "not as asked"}
