"""The audit log: written at once, read from its end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from isolation.storage.audit import Audit

if TYPE_CHECKING:
    from pathlib import Path


class Clock:
    """Each look is some hours later than the one before."""

    def __init__(self, step: timedelta) -> None:
        self._now = datetime(2025, 1, 1, tzinfo=UTC)
        self._step = step

    def now(self) -> datetime:
        """Return a time of day."""
        self._now += self._step
        return self._now

    def monotonic_s(self) -> float:
        """Return what nobody asks for."""
        return 0.0


def record(audit: Audit, what: str, *, allowed: bool = True) -> None:
    said = {"who": "ann", "token_id": "t1", "permission": "p", "namespace": "n", "address": "a"}
    audit.record(**said, what=what, allowed=allowed)


def test_the_newest_come_first_however_long_the_log_is(tmp_path: Path) -> None:
    """Whole lines, also where a block of the reading ends within one, or at its end."""
    audit = Audit(tmp_path / "audit", Clock(timedelta(milliseconds=1)))
    whats = [f"{number} " + "ä" * (number * 37 % 900) for number in range(2000)]
    for what in whats:
        record(audit, what)
    audit.close()
    assert [one.what for one in audit.newest(5000)] == whats[::-1]
    assert [one.what for one in audit.newest(3)] == whats[:-4:-1]


def test_a_log_goes_on_from_day_to_day(tmp_path: Path) -> None:
    """A file each, and together one log; only its owner reads it."""
    audit = Audit(tmp_path / "audit", Clock(timedelta(hours=13)))
    for number in range(6):
        record(audit, str(number), allowed=number % 2 == 0)
    audit.close()
    files = sorted(path.name for path in (tmp_path / "audit").iterdir())
    assert files == ["2025-01-01.jsonl", "2025-01-02.jsonl", "2025-01-03.jsonl", "2025-01-04.jsonl"]
    assert [one.what for one in audit.newest(2, lambda one: one.allowed)] == ["4", "2"]
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "audit").iterdir()} == {0o600}


def test_there_may_be_no_log_yet(tmp_path: Path) -> None:
    """Then nothing was decided."""
    assert Audit(tmp_path / "audit", Clock(timedelta(hours=1))).newest(5) == ()
