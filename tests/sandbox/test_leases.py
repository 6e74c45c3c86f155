"""One uid for one cell on one host, whoever asks."""

from __future__ import annotations

import multiprocessing
import os
import secrets
import subprocess
from typing import TYPE_CHECKING

import pytest

from isolation.errors import EngineError
from isolation.owner import this_process
from isolation.sandbox import leases as module
from isolation.sandbox.leases import FIRST_UID, UIDS, Lease, Leases

if TYPE_CHECKING:
    from pathlib import Path


def take_many(folder: Path, count: int) -> list[int]:
    leases = Leases(folder)
    return [leases.take(f"cell-{os.getpid()}-{number}") for number in range(count)]


def test_two_processes_never_get_the_same_uid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a range as small as their demand, so that they meet at nearly every uid."""
    monkeypatch.setattr(module, "UIDS", 80)
    monkeypatch.setattr(module, "_TRIES", 10_000)
    with multiprocessing.get_context("fork").Pool(4) as pool:
        taken = pool.starmap(take_many, [(tmp_path, 20)] * 4)

    uids = [uid for some in taken for uid in some]
    assert sorted(uids) == list(range(FIRST_UID, FIRST_UID + 80))


def test_a_uid_lies_in_the_reserved_range(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the accounts of people, below 32 bits' end, at both ends of the range."""
    for number in (0, UIDS - 1):
        monkeypatch.setattr(secrets, "randbelow", lambda _, number=number: number)
        assert Leases(tmp_path).take("cell") == FIRST_UID + number


def test_a_lease_names_its_cell_and_its_process(tmp_path: Path) -> None:
    """So that nobody takes away what a living controller uses."""
    leases = Leases(tmp_path)
    uid = leases.take("cell")

    assert leases.held() == (Lease(uid=uid, cell="cell", owner=this_process()),)


def test_a_released_uid_is_free_again(tmp_path: Path) -> None:
    """And releasing it twice is no error."""
    leases = Leases(tmp_path)
    uid = leases.take("cell")
    leases.release(uid)
    leases.release(uid)

    assert leases.held() == ()


def test_a_range_that_is_all_taken_is_an_error_with_its_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for one would hang; sharing one would break the quotas."""
    monkeypatch.setattr(module, "UIDS", 1)
    Leases(tmp_path).take("cell")

    with pytest.raises(EngineError) as caught:
        Leases(tmp_path).take("another")
    assert (str(caught.value), caught.value.hint) == (
        "no free uid found for a run in 200 tries",
        "`isolation clean` frees stale leases.",
    )


def test_a_lease_that_is_being_written_has_no_owner_yet(tmp_path: Path) -> None:
    """It is taken all the same; a stranger's file is none."""
    (tmp_path / str(FIRST_UID)).touch()
    (tmp_path / "README").touch()

    assert Leases(tmp_path).held() == (Lease(uid=FIRST_UID, cell="", owner=None),)


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    """Nobody has run anything since the machine was started."""
    assert Leases(tmp_path / "none").held() == ()


@pytest.mark.root
def test_a_lease_that_cannot_be_written_down_is_no_lease(small_disk: Path) -> None:
    """A uid without its holder's name could never be freed."""
    subprocess.run(["dd", "if=/dev/zero", f"of={small_disk}/ballast", "bs=4k"], capture_output=True, check=False)  # noqa: S607

    with pytest.raises(EngineError, match=r"no uid can be leased in .*: No space left on device"):
        Leases(small_disk).take("cell")
    assert Leases(small_disk).held() == ()
