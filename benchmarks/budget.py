"""
What each phase of an attempt may take, as so many times a floor that was measured in the same minutes; no milliseconds.

A budget is two to three times what the phase takes: it tells a phase that does its work twice, or waits where it need
not, and not a slow machine. A busy one it does: runs yield to all else there, and the floors do not. These are, each
measured between the runs (benchmarks/bill.py)::

    commit          a row written to SQLite, and kept through a power cut
    keep            that, and a small file with its name, kept likewise: what freezing leaves
    fork            a plain Python forks; the child imports a small module and calls it
    python          a plain Python, from its start to its end, that imports and calls the same
    bare create     the engine's bare call, and so on: of a container that prints one line, with no thought of safety
    bare start
    bare wait       from its start to its end, as the engine tells it
    bare end        from its start until it is removed
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Columns = Mapping[str, Mapping[str, float]]

COLD, WARM, MANY = "1 step", "1 step, warm", "100 steps"


@dataclass(frozen=True, slots=True)
class Budget:
    """What a phase may take in one column of the bill: ``times`` a floor of that column."""

    phase: str
    column: str
    times: float
    floor: str
    why: str


BUDGETS = (
    Budget("pack", COLD, 0.5, "python", "reads a folder of two files; its program is loaded, a plain Python's is not"),
    Budget("freeze", COLD, 6, "keep", "one commit, that the run begins; the snapshot, kept and synced; the reads"),
    Budget("claim", WARM, 2, "fork", "a cell stands ready: its limits are written, its stage is filled; no process"),
    Budget("create", COLD, 2.5, "bare create", "the same call with all that confines it, and its control group"),
    Budget("start", COLD, 2, "bare start", "the same call, with seccomp, mounts and capabilities for it to set up"),
    Budget("attest", COLD, 3, "bare wait", "a Python starts in the cell, as there; then we look at what confines it"),
    Budget("attest", WARM, 1.5, "fork", "the Python waits already; what is left is to look"),
    Budget("deliver", COLD, 0.25, "fork", "one message"),
    Budget("import", MANY, 1, "fork, all", "a step imports its module in a process of its own, as there"),
    Budget("run", MANY, 3, "fork, all", "a process for each step, as there, and its context, answer, report"),
    Budget("collect", COLD, 1, "bare wait", "it ends, and the kernel or the engine tells how"),
    Budget("judge", COLD, 0.5, "fork", "reads counters, decides: no process, no disk"),
    Budget("remove", COLD, 2.5, "bare end", "the engine has yet to see what the kernel told us: that it ended"),
    Budget("merge", COLD, 1, "fork", "reads what the run saw, writes what it changed; all but the commit"),
    Budget("outside the bill", COLD, 3, "commit", "the commit of the merge, and what is before and behind"),
)


def overruns(columns: Columns) -> Iterator[str]:
    """Tell of each phase that took more than its budget, in a line; and of one that is in no bill."""
    for budget in BUDGETS:
        column = columns[budget.column]
        if budget.phase not in column:
            yield f"{budget.phase} ({budget.column}) is not in the bill, and has a budget"
        elif column[budget.phase] > budget.times * column[budget.floor]:
            yield (
                f"{budget.phase} ({budget.column}) took {column[budget.phase]:.2f} ms, BEYOND its budget of"
                f" {budget.times:g} x {budget.floor} ({column[budget.floor]:.2f} ms): {budget.why}"
            )


def show(columns: Columns) -> None:
    """Print each budget beside what was taken, as so many times the floor."""
    print(f"{'phase':18}{'of a recipe of':16}{'took':>8}{'budget':>8}  times")
    for budget in BUDGETS:
        column = columns[budget.column]
        took = column.get(budget.phase, 0.0) / column[budget.floor]
        print(f"{budget.phase:18}{budget.column:16}{took:8.2f}{budget.times:8g}  {budget.floor}")
