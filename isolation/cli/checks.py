"""
Shows a person what the doctor found.

::

    engine
      warning  engine version  docker 20.10.24  may have known holes; ...
      ...subject by subject, in each the worst first...

    known holes, unless the distribution mended them
      engine version docker 20.10.24
        CVE-... (fixed in 29.5.1)
          needs what an attack takes; why it does not get it

    what to do
      engine version: Upgrade to ...
        a command to paste

    recipes can run here; 2 warnings, 3 pieces of advice
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from isolation.cli.table import table
from isolation.rules.escape import escape

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from isolation.cli.paint import Paint
    from isolation.sandbox.doctor import Check

_STYLES = {"ok": "green", "advice": "dim", "warning": "yellow", "missing": "red"}
_SYSCTL = "sysctl -w "
_WIDTH = max(map(len, _STYLES))


def checks_text(checks: Sequence[Check], paint: Paint) -> str:
    """Lay out the checks, what is known of holes, and what can be done."""
    lines = [*_findings(checks, paint)]
    holes = [*_holes(checks)]
    if holes:
        lines += ["", "known holes, unless the distribution mended them", *holes]
    advice = [*_advice(checks)]
    if advice:
        lines += ["", "what to do", *advice]
    return "\n".join([*lines, "", _verdict(checks)])


def _findings(checks: Sequence[Check], paint: Paint) -> Iterator[str]:
    for number, (subject, group) in enumerate(groupby(checks, key=lambda check: check.subject)):
        if number:
            yield ""
        yield paint("bold", subject)
        yield from _of_a_subject([*group], paint)


def _of_a_subject(checks: Sequence[Check], paint: Paint) -> list[str]:
    def painted(row: int, column: int, cell: str) -> str:
        return paint(_STYLES[checks[row].status], cell) if column == 0 else cell

    rows = [
        [f"{check.status:<{_WIDTH}}", escape(check.name), escape(_found(check)), escape(check.meaning)]
        for check in checks
    ]
    return table(rows, paint=painted)


def _found(check: Check) -> str:
    return f"{check.found}, wanted {check.wanted}" if check.wanted and check.status != "ok" else check.found


def _holes(checks: Sequence[Check]) -> Iterator[str]:
    for check in checks:
        if check.holes:
            yield f"  {escape(check.name)} {escape(check.found)}"
        for hole in check.holes:
            yield f"    {', '.join(hole.ids)} (fixed in {', '.join(hole.fixed)})"
            yield f"      needs {hole.needs}; {hole.ours}"


def _advice(checks: Sequence[Check]) -> Iterator[str]:
    """Write what can be mended; settings of the kernel that need no words are one command together."""
    wrong = [check for check in checks if check.status != "ok"]
    for check in wrong:
        if check.mend:
            yield f"  {escape(check.name)}: {escape(check.mend)}"
            if check.command:
                yield f"    {escape(check.command)}"
    settings = [check.command.removeprefix(_SYSCTL) for check in wrong if check.command and not check.mend]
    if settings:
        yield "  settings of the kernel, until the next boot (to keep them: a file in /etc/sysctl.d):"
        yield f"    {_SYSCTL}{' '.join(map(escape, settings))}"


def _verdict(checks: Sequence[Check]) -> str:
    counts = {status: sum(check.status == status for check in checks) for status in _STYLES}
    if counts["missing"]:
        return f"{counts['missing']} missing: recipes cannot run here"
    said = [
        f"{counts['warning']} {'warning' if counts['warning'] == 1 else 'warnings'}",
        f"{counts['advice']} {'piece' if counts['advice'] == 1 else 'pieces'} of advice",
    ]
    told = [text for text in said if not text.startswith("0 ")]
    return "; ".join(["recipes can run here", ", ".join(told)]) if told else "recipes can run here"
