"""Row 53: fifty attacks on every resource at once, and a benign recipe in the midst of them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from typing import TYPE_CHECKING

import pytest

from isolation.model.outcome import Outcome
from tests.hostile.on_gvisor import differs

if TYPE_CHECKING:
    from tests.hostile.kit import Arena

pytestmark = [pytest.mark.engine, pytest.mark.slow]

AT_ONCE = 50
LIMITS = {"memory": "64MiB", "tmp": "32MiB", "pids": 8}
"""A forked process has 3 MiB to itself: sixteen of them came to 60 MiB, and to the limit of memory now and then."""
ON_GVISOR = {"memory": "192MiB", "pids": 16, "wall": 8}
BOMBS = {
    Outcome.TIMED_OUT: """
        def run(context, params):
            print("under way", flush=True)
            while True:
                pass
        """,
    Outcome.OUT_OF_MEMORY: """
        def run(context, params):
            print("under way", flush=True)
            blocks = []
            while True:
                blocks.append(b"x" * 2**20)
        """,
    Outcome.TOO_MANY_PROCESSES: """
        import os
        def run(context, params):
            print("under way", flush=True)
            while True:
                os.fork()
        """,
    Outcome.DISK_FULL: """
        def run(context, params):
            print("under way", flush=True)
            with open("/scratch/file", "wb") as file:
                while True:
                    file.write(bytes(2**20))
        """,
}


def test_row_053_fifty_bombs_at_once_hurt_nobody(arena: Arena) -> None:
    """Each ends in its own class, with nothing of it left; whoever comes in between gets through."""
    stirred = threading.Semaphore(0)
    over = threading.Event()

    def bomb(expected: Outcome) -> Outcome:
        wall_s = 8 if expected is Outcome.TIMED_OUT else 60
        limits = LIMITS | {"wall": wall_s} | (ON_GVISOR if differs(arena, 53) else {})
        return arena.attack(BOMBS[expected], limits=limits, during=stirred.release).outcome

    def probe_till_the_end() -> int:
        probes = 0
        while not over.is_set():
            arena.probe()
            probes += 1
        return probes

    kinds = [*islice(cycle(BOMBS), AT_ONCE)]
    with ThreadPoolExecutor(AT_ONCE + 1) as pool:
        ended = [pool.submit(bomb, kind) for kind in kinds]
        assert stirred.acquire(timeout=120)
        probing = pool.submit(probe_till_the_end)
        try:
            outcomes = [one.result() for one in ended]
        finally:
            over.set()
        probes = probing.result()

    if differs(arena, 53):
        pairs = {*zip(kinds, outcomes, strict=True)}
        assert pairs <= {(kind, end) for kind in BOMBS for end in (kind, Outcome.TIMED_OUT)}
    else:
        assert outcomes == kinds
    assert probes > 0
