"""A full and a read-only disk, real ones: nothing is torn, people are told, and space brings all back."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from isolation.context.store import ContextStore
from isolation.errors import StorageError
from isolation.state.database import Database
from isolation.storage.blobs import BlobStore

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.root
FULL = "the state folder {} is full"
HINT = "Free some space there (`isolation clean` removes what old runs left), or choose another folder with --state."


def test_a_blob_that_finds_the_disk_full_leaves_no_trace(small_disk: Path) -> None:
    """And the store goes on as soon as there is space."""
    blobs = BlobStore(small_disk)

    with pytest.raises(StorageError) as caught:
        blobs.put(b"x" * 2**20)

    assert (str(caught.value), caught.value.hint) == (FULL.format(small_disk), HINT)
    assert list(blobs.digests()) == []
    assert blobs.get(blobs.put(b"small")) == b"small"


def test_a_context_that_finds_the_disk_full_keeps_all_that_was_acknowledged(small_disk: Path) -> None:
    """Every write that returned is there; the one that failed is not; with space, writing goes on."""
    with Database.open(small_disk / "state") as database:
        contexts = ContextStore(database)
        ballast = small_disk / "ballast"
        ballast.write_bytes(b"x" * 2**15)
        acknowledged = 0
        with pytest.raises(StorageError) as caught:  # noqa: PT012 - which write fails is open
            for number in range(1000):
                contexts.set(f"k{number}", "x" * 1000, "ann", "t")
                acknowledged += 1

        assert (str(caught.value), caught.value.hint) == (FULL.format(small_disk / "state"), HINT)
        assert len(contexts.list()) == acknowledged > 0
        ballast.unlink()
        contexts.set("after", 1, "ann", "t")
        assert len(contexts.list()) == acknowledged + 1


def test_a_new_state_folder_on_a_full_disk_is_refused_whole(small_disk: Path) -> None:
    """No half-made database stays behind to be met by the next command."""
    (small_disk / "ballast").write_bytes(b"x" * (200 * 2**10))

    with pytest.raises(StorageError) as caught:
        Database.open(small_disk / "state")

    assert str(caught.value) == FULL.format(small_disk / "state")
    assert list((small_disk / "state").iterdir()) == []


def test_a_read_only_disk_is_told_from_a_full_one(small_disk: Path) -> None:
    """The way out is another."""
    Database.open(small_disk).close()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)  # noqa: S607 - where it lies differs

    with pytest.raises(StorageError) as of_database, Database.open(small_disk) as database:
        ContextStore(database).set("a", 1, "ann", "t")
    with pytest.raises(StorageError) as of_blobs:
        BlobStore(small_disk).put(b"content")

    assert str(of_database.value) == str(of_blobs.value) == f"the state folder {small_disk} is read-only"
