"""What one running cell has mounted as its snapshot."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from isolation.errors import StorageError
from isolation.storage.slots import Slots

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def slots(tmp_path: Path) -> Slots:
    return Slots(tmp_path / "slots")


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_cell_may_read_its_snapshot_and_nobody_else_finds_it(slots: Slots, tmp_path: Path, umask: int) -> None:
    """The folder around all slots is closed to other users; inside, the mode is ours whatever the umask."""
    before = os.umask(umask)
    try:
        with slots.holding("cell") as slot:
            slot.put(b'{"values": {}}')
            file = slot.path / "snapshot.json"
            assert file.read_bytes() == b'{"values": {}}'
            assert (mode(tmp_path / "slots"), mode(slot.path), mode(file)) == (0o700, 0o755, 0o444)
    finally:
        os.umask(before)


def test_a_slot_goes_with_its_block(slots: Slots) -> None:
    """Also one that ended by an error: a snapshot may hold what others must not see."""

    def fail() -> None:
        with slots.holding("cell") as slot:
            slot.put(b"{}")
            assert slots.names() == ("cell",)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert slots.names() == ()


def test_a_slot_is_held_once(slots: Slots) -> None:
    """Two cells of one name would see each other's snapshots; the first keeps its own."""
    with slots.holding("cell"), pytest.raises(StorageError), slots.holding("cell"):
        pass
    with slots.holding("cell") as slot:
        assert list(slot.path.iterdir()) == []


def test_removing_what_is_gone_is_no_error(slots: Slots) -> None:
    """Two may clean up at once."""
    slots.remove("cell")

    assert slots.names() == ()


def test_old_slots_are_told_from_new_ones(slots: Slots) -> None:
    """A slot is made an instant before its cell's lease: the young ones are not left over yet."""
    with slots.holding("old") as old, slots.holding("new") as new:
        os.utime(old.path, (1000, 1000))
        os.utime(new.path, (3000, 3000))

        assert slots.older_than(2000) == ("old",)
        assert slots.names() == ("new", "old")
