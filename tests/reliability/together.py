"""
Processes that merge at the same time, as a program.

``python -m tests.reliability.together STATE URL PROCESSES RUNS ON_CONFLICT`` forks them, lets all go when the last one
stands ready, and has each make so many runs, which all add one to ``count`` and write a key of their process's own.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from isolation.model.policy import MergeRule
from isolation.stores import Stores
from tests.reliability.one_run import run

if TYPE_CHECKING:
    from pydantic import JsonValue

    from isolation.model.snapshot import Snapshot
    from tests.reliability.one_run import Wants


def add_up(stores: Stores, name: str, runs: int, rule: MergeRule) -> None:
    """Make runs that count."""
    for number in range(1, runs + 1):
        run_id = f"{name}-{number}"
        one_more = with_a_number(name, number) if rule.on_conflict == "add" else with_a_name(name, number, run_id)
        run(stores, run_id, one_more, rule)


def with_a_number(name: str, number: int) -> Wants:
    """Set what was seen and one: the rule adds what two have added."""

    def wants(seen: Snapshot) -> dict[str, JsonValue]:
        count = seen.values.get("count", 0)
        assert isinstance(count, int)
        return {"count": count + 1, f"own.{name}": number}

    return wants


def with_a_name(name: str, number: int, run_id: str) -> Wants:
    """Say whose it is, too: two runs that want the same value agree, and are not in conflict."""

    def wants(seen: Snapshot) -> dict[str, JsonValue]:
        count = seen.values.get("count", {"is": 0})
        assert isinstance(count, dict)
        return {"count": {"is": int(str(count["is"])) + 1, "by": run_id}, f"own.{name}": number}

    return wants


def main(state: str, url: str, processes: str, runs: str, on_conflict: str) -> None:
    """Fork, let go, and wait for all. Exits 1 where one of them failed."""
    rule = MergeRule.model_validate({"on_conflict": on_conflict})
    ready, stand = os.pipe()
    gate, go = os.pipe()
    for number in range(int(processes)):
        if os.fork() == 0:
            os.close(go)
            with Stores(Path(state), url or None) as stores:
                stores.contexts.version()  # it is open now
                os.write(stand, b".")
                os.read(gate, 1)  # until whoever holds the other end has closed it
                add_up(stores, f"p{number}", int(runs), rule)
            os._exit(0)
    standing = 0
    while standing < int(processes):
        standing += len(os.read(ready, int(processes)))
    os.close(go)
    sys.exit(int(any(os.wait()[1] for _ in range(int(processes)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
