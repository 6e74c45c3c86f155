"""What is written aside: there for nobody else until it is whole, and not for ever if it never is."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from isolation.state import aside
from isolation.state.aside import discard, new_file, new_folder, sweep

if TYPE_CHECKING:
    from pathlib import Path

KILLED = """
import os, pathlib, signal, sys
from isolation.state.aside import new_file, new_folder
place = pathlib.Path(sys.argv[1])
descriptor, _ = new_file(place, "a-")
with new_folder(place, "b-") as folder:
    (folder / "half").write_text("half")
    folder.chmod(0o555)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_swept_and_nothing_of_a_living_one(tmp_path: Path) -> None:
    """Whatever its number: those are given out again, and mean nothing in another container."""
    subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=False)
    left = [*tmp_path.iterdir()]
    assert len(left) == 2
    descriptor, file = new_file(tmp_path, "c-")
    with new_folder(tmp_path, "d-") as folder:
        (folder / "half").write_text("half")
        assert sweep([*tmp_path.iterdir(), tmp_path / "none"]) == 2
        assert {*tmp_path.iterdir()} == {file, folder}
        assert (folder / "half").exists()
    os.close(descriptor)
    assert sweep(tmp_path.iterdir()) == 1


def test_what_has_its_name_by_now_is_no_more_swept(tmp_path: Path) -> None:
    """Whoever looked for it under the first meets nobody there."""
    descriptor, file = new_file(tmp_path, "a-")
    whole = file.rename(tmp_path / "whole")
    os.close(descriptor)
    with new_folder(tmp_path, "b-") as folder:
        folder.rename(tmp_path / "all")
    assert sweep([file, folder]) == 0
    assert whole.exists()
    assert (tmp_path / "all").is_dir()


def test_what_is_swept_before_it_is_locked_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sweeps may come between the two, for a file as for a folder."""
    lock = aside._is_ours

    def late(descriptor: int) -> bool:
        monkeypatch.setattr(aside, "_is_ours", lock)
        assert sweep(tmp_path.iterdir()) == 1
        return lock(descriptor)

    monkeypatch.setattr(aside, "_is_ours", late)
    descriptor, file = new_file(tmp_path, "a-")
    assert file.exists()
    os.close(descriptor)
    discard(file)
    monkeypatch.setattr(aside, "_is_ours", late)
    with new_folder(tmp_path, "b-") as folder:
        assert folder.is_dir()


def test_what_is_not_finished_is_gone_after_the_block(tmp_path: Path) -> None:
    """Read-only or not, and whatever went wrong."""

    def fill() -> None:
        with new_folder(tmp_path, "a-") as folder:
            (folder / "below").mkdir()
            (folder / "below").chmod(0o555)
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fill()
    assert not [*tmp_path.iterdir()]
