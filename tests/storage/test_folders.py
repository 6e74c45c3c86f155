"""The folders that are this user's alone."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from isolation.clock import SystemClock
from isolation.state.database import Database
from isolation.storage.blobs import BlobStore
from isolation.storage.logs import Logs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from isolation.model.event import LogLine


def put_a_blob(state: Path) -> None:
    BlobStore(state / "blobs").put(b"content")


def open_the_database(state: Path) -> None:
    Database.open(state).close()


def write_a_log(state: Path) -> None:
    told: list[LogLine] = []
    with Logs(state / "runs").open("run", 1, SystemClock(), 1000, told.append):
        pass


@pytest.mark.parametrize("write", [put_a_blob, open_the_database, write_a_log])
def test_whoever_writes_first_makes_the_state_folder_for_this_user_alone(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    """Contexts, answers and logs lie below it."""
    state = tmp_path / "deep" / "state"

    write(state)

    folders = [tmp_path / "deep", state, *(path for path in state.rglob("*") if path.is_dir())]
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}
