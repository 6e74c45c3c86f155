"""The thread that keeps a process present, and hears of cancels."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from isolation.clock import SystemClock
from isolation.errors import RunNotFoundError
from isolation.keeper import Keeper
from isolation.storage import presence
from isolation.stores import Stores
from tests.site import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from isolation.model.run import Digests


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stores]:
    monkeypatch.setattr("isolation.keeper._LOOK_S", 0.01)
    monkeypatch.setattr(presence, "BEAT_S", 0.0)
    with Stores(tmp_path) as made:
        yield made


@pytest.fixture
def keeper(stores: Stores) -> Iterator[Keeper]:
    made = Keeper(stores, SystemClock())
    yield made
    made.close()


def beats(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    told: list[bool] = []
    beat = presence.Presence.beat

    def beats_and_tells(of: presence.Presence) -> bool:
        told.append(beat(of))
        return told[-1]

    monkeypatch.setattr(presence.Presence, "beat", beats_and_tells)
    return told


def test_a_run_that_is_not_recorded_yet_is_not_ended(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is still laid out, for longer than a beat."""
    told, cancel = beats(monkeypatch), threading.Event()
    with keeper.watching("r1", cancel):
        until(lambda: len(told) >= 2)

        assert not cancel.is_set()


def test_the_runs_of_one_who_was_taken_for_dead_are_ended(keeper: Keeper, stores: Stores, digests: Digests) -> None:
    """Somebody else has them by now."""
    cancel = threading.Event()
    with keeper.watching("r1", cancel):
        stores.ledger.start("r1", "etl", "default", digests, "t1")
        with Stores(stores.folder) as another:
            until(lambda: bool(another.presence.bury(another.presence.others()[0], "t2").abandoned))

        assert cancel.wait(60)


def test_a_run_that_came_back_is_watched_twice(keeper: Keeper, stores: Stores, digests: Digests) -> None:
    """It was taken from this process, and then by it again, before the first attempt had noticed."""
    first, second = threading.Event(), threading.Event()
    stores.ledger.start("r1", "etl", "default", digests, "t1")
    with keeper.watching("r1", first):
        with keeper.watching("r1", second):
            pass
        stores.ledger.cancel("r1", "t2")

        assert first.wait(60)


def test_what_was_never_recorded_is_not_owed(keeper: Keeper, stores: Stores) -> None:
    """Else it would be asked for twice a second, for ever."""
    asked: list[str] = []

    def record(at: str) -> None:
        asked.append(at)
        stores.ledger.abandon("r1", at)

    with pytest.raises(RunNotFoundError):
        record("t1")
    keeper.give_up(record)
    with keeper.watching("r2", threading.Event()):
        keeper.close()

    assert len(asked) == 2
