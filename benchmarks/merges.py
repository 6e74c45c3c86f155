"""
What one merge costs as the store grows: ``.venv/bin/python benchmarks/merges.py [--merges N] [--most KEYS]``.

Each row is a store of so many keys, each written so many times before. A run that changes ten of them, drawn at
random, is ended and merged in one transaction; its floor, in turn with it, is a transaction that writes as many rows of
the same size into a table of its own, in the same file. ``growth`` compares a row's median with the first row's. Means
have what SQLite does now and then, for all that was written since: it takes the log into the file.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Column, Integer, MetaData, Table, Text, insert

from isolation.model.changes import Changes, Merge
from isolation.model.outcome import Outcome
from isolation.model.policy import MergeRule
from isolation.model.run import Attempt, Digests, Engine, Result
from isolation.model.usage import Usage
from isolation.stores import Stores

if TYPE_CHECKING:
    from collections.abc import Callable

KEYS = (1_000, 10_000, 100_000)
HISTORY = (1, 10)
KEYS_A_MERGE = 10
AT = "2025-01-02T03:04:05.678Z"
DIGESTS = Digests(package="a" * 64, snapshot="b" * 64, policy="c" * 64, image="sha256:" + "d" * 64)
WARM = 20
A_FILL = 5_000
FLOOR = Table("floor", MetaData(), Column("number", Integer, primary_key=True), Column("value", Text))


def main() -> None:
    """Measure every row and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--merges", type=int, default=400)
    parser.add_argument("--most", type=int, default=max(KEYS), help="leave out the stores of more keys")
    given = parser.parse_args()
    print(f"{platform.platform()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}, {given.merges} merges a row")
    print(
        f"{'keys':>8} {'history':>8} {'merge ms':>9} {'mean':>6} {'floor ms':>9} {'mean':>6} {'ratio':>6} {'growth':>7}"
    )
    first = None
    for keys, times in ((keys, times) for keys in KEYS if keys <= given.most for times in HISTORY):
        ours, floor = measure(keys, times, given.merges)
        median, below = statistics.median(ours), statistics.median(floor)
        first = first or median
        merge_ms = f"{median:9.2f} {statistics.mean(ours):6.2f}"
        floor_ms = f"{below:9.2f} {statistics.mean(floor):6.2f}"
        print(f"{keys:8} {times:7}x {merge_ms} {floor_ms} {median / below:6.2f} {median / first:7.2f}")


def measure(keys: int, times: int, merges: int) -> tuple[list[float], list[float]]:
    """Fill a store, and time merges and their floor in turn; milliseconds each."""
    with tempfile.TemporaryDirectory() as folder, Stores(Path(folder)) as stores:
        for _ in range(times):
            fill(stores, keys)
        with stores.database.writing() as connection:
            FLOOR.create(connection)
        names, numbers = random.Random(keys), count(1)  # noqa: S311 - the same keys each time
        pairs = [
            (merge(stores, f"run-{number}", [name(names.randrange(keys)) for _ in range(KEYS_A_MERGE)]), floor(stores))
            for number, _ in zip(numbers, range(merges + WARM), strict=False)
        ][WARM:]
    ours, below = zip(*pairs, strict=True)
    return [*ours], [*below]


def fill(stores: Stores, keys: int) -> None:
    """Write every key once."""
    for start in range(0, keys, A_FILL):
        some = range(start, min(start + A_FILL, keys))
        stores.contexts.change(Changes(set={name(number): f"value {number}" for number in some}), "bench", AT)


def name(number: int) -> str:
    """Name a key; neighbours are written far apart."""
    return f"bench.{number * 7919 % 100_003:06}.{number}"


def merge(stores: Stores, run_id: str, keys: list[str]) -> float:
    """Begin a run, and time its end: the merge of its changes and its result, in one transaction."""
    stores.ledger.start(run_id, "bench", "default", DIGESTS, AT)
    snapshot = stores.contexts.freeze(keys, ["*"])
    changes = Changes(set=dict.fromkeys(keys, run_id))

    def end() -> None:
        with stores.ledger.settling(run_id) as settling:
            merged = stores.contexts.merge(
                settling.connection, snapshot, changes, MergeRule(), who="bench", run_id=run_id, at=AT
            )
            settling.finish(result(run_id, changes, merged), AT)

    return timed_ms(end)


def floor(stores: Stores) -> float:
    """Time a transaction that writes as many rows, and does nothing else."""
    rows = [{"value": f"{number:0150}"} for number in range(KEYS_A_MERGE)] + [
        {"value": "r" * 2000},
        {"value": "a" * 400},
    ]

    def write() -> None:
        with stores.database.writing() as connection:
            connection.execute(insert(FLOOR), rows)

    return timed_ms(write)


def result(run_id: str, changes: Changes, merged: Merge) -> Result:
    """Make the result of a run of one attempt."""
    attempt = Attempt(number=1, outcome=Outcome.SUCCEEDED, cause="", started_at=AT)
    return Result(
        run_id=run_id,
        recipe="bench",
        outcome=Outcome.SUCCEEDED,
        attempts=(attempt,),
        usage=Usage(),
        changes=changes,
        merge=merged,
        errors=(),
        artifacts=(),
        digests=DIGESTS,
        engine=Engine(name="", version="", runtime="", cgroup_version=1),
    )


def timed_ms(action: Callable[[], object]) -> float:
    """Time an action, in milliseconds."""
    began_s = time.perf_counter()
    action()
    return (time.perf_counter() - began_s) * 1000


if __name__ == "__main__":
    main()
