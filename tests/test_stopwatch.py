"""The bill: what each phase took, and when it began."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from isolation.stopwatch import Stopwatch


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.at_s = 100.0

    def monotonic_s(self) -> float:
        """Return what it was moved to."""
        return self.at_s

    def now(self) -> datetime:
        """Return a moment that says nothing."""
        return datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def clock() -> Hand:
    return Hand()


@pytest.fixture
def watch(clock: Hand) -> Stopwatch:
    return Stopwatch(clock)


def spend(watch: Stopwatch, clock: Hand, name: str, spent_s: float) -> None:
    with watch.phase(name):
        clock.at_s += spent_s


def test_a_phase_that_comes_again_adds_up_and_keeps_its_first_beginning(watch: Stopwatch, clock: Hand) -> None:
    """The bill has one line for it."""
    for name in ("pack", "freeze", "pack"):
        spend(watch, clock, name, 0.25)

    assert watch.phases_ms == {"pack": 500.0, "freeze": 250.0}
    assert watch.phases_at_ms == {"pack": 0.0, "freeze": 250.0}


def test_what_goes_on_beside_is_seen_to_in_its_beginnings(watch: Stopwatch, clock: Hand) -> None:
    """The sum of all phases is not the time that passed; the moments tell why."""
    spend(watch, clock, "pack", 0.5)
    aside = watch.aside()
    with watch.phase("freeze"):
        spend(aside, clock, "create", 0.25)
    watch.take_in(aside)

    assert watch.phases_ms == {"pack": 500.0, "freeze": 250.0, "create": 250.0}
    assert watch.phases_at_ms == {"pack": 0.0, "freeze": 500.0, "create": 500.0}


def test_a_wait_before_the_work_lies_before_its_beginning(watch: Stopwatch, clock: Hand) -> None:
    """As that of the queue does."""
    watch.waited("queue", 2.0)
    spend(watch, clock, "pack", 0.5)

    assert watch.phases_at_ms == {"queue": -2000.0, "pack": 0.0}
    assert watch.phases_ms == {"queue": 2000.0, "pack": 500.0}


def test_a_phase_may_have_begun_before_it_was_known(watch: Stopwatch, clock: Hand) -> None:
    """Whoever waits for its turn to merge does not know yet whether it will."""
    clock.at_s += 1.0
    with watch.phase("merge", since_s=100.25):
        clock.at_s += 1.0

    assert (watch.phases_at_ms["merge"], watch.phases_ms["merge"]) == (250.0, 1750.0)
