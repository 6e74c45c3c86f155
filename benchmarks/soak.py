"""
An hour's traffic in ten minutes: ``.venv/bin/python benchmarks/soak.py [--minutes 10] [--slots 1] [--json FILE]``.

One server process, as ``isolation serve`` starts it, on a disk; what comes in an hour is listed in ``traffic.py``, and
comes six times as fast, for ``--minutes``. Meanwhile the process' memory, descriptors and threads, and its files, are
read every two seconds.

``start`` and ``end`` are the medians of the first and the last tenth, ``a minute`` is the slope of the second half, by
least squares. ``before`` is read when the traffic of a tenth of the time has come and left, ``after`` when all of it
has. It exits with 1 where anything was answered otherwise than expected, or where the server keeps more descriptors or
threads after all have left than before (but for the pools of its slots). Those of the database are counted apart:
SQLite closes none while another of the same file is open, since that would end its locks (fcntl(2)), and uses them
again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from server import on_a_disk, serving
from traffic import KINDS, drive, somebody

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import ClientSession
    from server import Target

SPEED = 6
"""An hour in ten minutes."""
EVERY_S = 2.0
QUIET_S = 0.5
"""So often it is looked at once all have left."""
A_SLOT = 4
"""So many threads, and connections to the engine, may a slot's pools still add to those that they have."""
STILL = 6
"""So often must nothing have changed for the server to be quiet."""
LEFT_S = 60.0
"""So long after everybody has left the server may still hold what was theirs."""
_MIB = 2**20


@dataclass(frozen=True)
class Reading:
    """How the server's process is at a moment, in seconds since the traffic began."""

    at_s: float
    memory_mib: float
    threads: int
    descriptors: int
    database_descriptors: int
    database_mib: float
    audit_mib: float


COUNTED = ("descriptors", "threads")
ROWS = ("memory_mib", "threads", "descriptors", "database_descriptors", "database_mib", "audit_mib")


@dataclass(frozen=True)
class Soaked:
    """What was seen: the server ``before`` and ``after``, and in between."""

    before: Reading
    after: Reading
    readings: Sequence[Reading]
    done: dict[str, int]
    wanted: dict[str, int]
    wrong: dict[str, int]
    slots: int

    def left(self) -> list[str]:
        """Name what the server has more of, now that all have left."""
        room = A_SLOT * self.slots
        return [name for name in COUNTED if getattr(self.after, name) > getattr(self.before, name) + room]


def main() -> int:
    """Soak a server, and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--slots", type=int, default=1, help="runs at once; 0: none is run, and no engine is needed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep all readings here")
    given = parser.parse_args()
    print(f"{platform.platform()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}")
    with on_a_disk() as folder, serving(folder, given.slots) as target:
        soaked = asyncio.run(_soak(target, given.minutes * 60, given.slots))
    if given.json:
        given.json.write_text(json.dumps(asdict(soaked) | {"left": soaked.left()}, indent=1) + "\n")
    _show(soaked)
    return 1 if soaked.wrong or soaked.left() else 0


async def _soak(target: Target, seconds: float, slots: int) -> Soaked:
    numbers = count(1)
    warmed = await drive(target, numbers, seconds / 10, SPEED)
    before = await _quiet(target, None, slots)
    began_s, readings = time.monotonic(), list[Reading]()
    sampling = asyncio.create_task(_sample(target, began_s, readings))
    crowd = await drive(target, numbers, seconds, SPEED)
    sampling.cancel()
    after = await _quiet(target, before, slots)
    wanted = {kind.name: max(1, round(kind.an_hour / 3600 * SPEED * seconds)) for kind in KINDS}
    return Soaked(before, after, readings, dict(crowd.done), wanted, dict(warmed.wrong + crowd.wrong), slots)


async def _sample(target: Target, began_s: float, readings: list[Reading]) -> None:
    while True:
        readings.append(_read(target, began_s))
        await asyncio.sleep(EVERY_S)


async def _quiet(target: Target, before: Reading | None, slots: int) -> Reading:
    """Wait until nothing is held any more that was not held before, or changes any more; and not for ever."""
    async with somebody(target) as session:
        while slots and await _busy(session):  # noqa: ASYNC110 - another process is asked
            await asyncio.sleep(EVERY_S)
    began_s, seen = time.monotonic(), list[Reading]()
    while time.monotonic() - began_s < LEFT_S:
        async with somebody(target) as session, session.get("/readyz") as answer:
            await answer.read()  # a thread that has nothing to do ends when another is asked for
        await asyncio.sleep(QUIET_S)
        seen.append(_read(target, began_s))
        last = [(one.descriptors, one.threads) for one in seen[-STILL:]]
        if before is None and len(last) == STILL and len({*last}) == 1:
            break
        if before and last[-1][0] <= before.descriptors and last[-1][1] <= before.threads:
            break
    return seen[-1]


async def _busy(session: ClientSession) -> bool:
    """Tell whether a run waits or goes on."""
    for state in ("queued", "running"):
        async with session.get(f"/v1/runs?limit=1&state={state}") as answer:
            if (await answer.json())["runs"]:
                return True
    return False


def _read(target: Target, began_s: float) -> Reading:
    process = psutil.Process(target.pid)
    opened = _opened(target.pid)
    of_the_database = sum("isolation.db" in name for name in opened)
    with process.oneshot():
        return Reading(
            at_s=round(time.monotonic() - began_s, 1),
            memory_mib=process.memory_info().rss / _MIB,
            threads=process.num_threads(),
            descriptors=len(opened) - of_the_database,
            database_descriptors=of_the_database,
            database_mib=_size(target.state, "*.db*"),
            audit_mib=_size(target.state / "audit", "*"),
        )


def _opened(pid: int) -> list[str]:
    """Name what a process has open; psutil names no pipes and no sockets."""
    found = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it was closed meanwhile
            found.append(str(descriptor.readlink()))
    return found


def _size(folder: Path, glob: str) -> float:
    total = 0
    for path in folder.glob(glob):
        with suppress(FileNotFoundError):  # it went meanwhile
            total += path.stat().st_size
    return total / _MIB


def _show(soaked: Soaked) -> None:
    print(f"\n{'what came':40} {'wanted':>9} {'done':>9}")
    for name, wanted in soaked.wanted.items():
        print(f"{name:40} {wanted:9} {soaked.done.get(name, 0):9}")
    print(f"\n{'the server':20} {'before':>10} {'start':>10} {'end':>10} {'after':>10} {'a minute':>10}")
    for name in ROWS:
        values = [float(getattr(one, name)) for one in soaked.readings]
        tenth = max(1, len(values) // 10)
        start, end = statistics.median(values[:tenth]), statistics.median(values[-tenth:])
        first, last = getattr(soaked.before, name), getattr(soaked.after, name)
        print(f"{name:20} {first:10.1f} {start:10.1f} {end:10.1f} {last:10.1f} {_slope(soaked.readings, name):+10.2f}")
    for name in soaked.left():
        print(f"left behind: {name}")
    for what, times in soaked.wrong.items():
        print(f"unexpected, {times} times: {what}")


def _slope(readings: Sequence[Reading], name: str) -> float:
    """Return by how much it grows a minute in the second half, by least squares; 0 for too few readings."""
    half = readings[len(readings) // 2 :]
    if not half[1:]:
        return 0.0
    return 60 * statistics.linear_regression([one.at_s for one in half], [getattr(one, name) for one in half]).slope


if __name__ == "__main__":
    sys.exit(main())
