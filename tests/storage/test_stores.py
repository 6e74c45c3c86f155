"""The stores that one process opens, from several threads."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from isolation.state.database import Database
from isolation.stores import Stores

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_threads_that_ask_first_at_once_share_one_presence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two, one would have the runs and the other would beat; and a second database would never be closed."""
    both = threading.Barrier(2)
    opens = Database.open

    def slowly(folder: Path, url: str | None) -> Database:
        with contextlib.suppress(threading.BrokenBarrierError):  # nobody else is let in
            both.wait(timeout=0.2)
        return opens(folder, url)

    monkeypatch.setattr(Database, "open", slowly)
    with Stores(tmp_path) as stores, ThreadPoolExecutor(2) as pool:
        databases = {*pool.map(lambda _: stores.database, range(2))}
        presences = {*pool.map(lambda _: stores.presence, range(2))}

    assert (len(databases), len(presences)) == (1, 1)
