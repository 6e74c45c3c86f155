"""Artifacts go where a person wants them, never elsewhere, and never over another file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from isolation.cli.artifacts import ArtifactFolder
from isolation.errors import InputError, StorageError
from isolation.model.run import Artifact
from isolation.storage.blobs import BlobStore

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


def artifact(blobs: BlobStore, name: str, content: bytes = b"text") -> Artifact:
    return Artifact(name=name, digest=blobs.put(content), size_bytes=len(content))


def test_artifacts_lie_under_their_names(tmp_path: Path, blobs: BlobStore) -> None:
    """Folders are made; the files are for their owner alone, since nobody has looked at them yet."""
    folder = ArtifactFolder.prepare(tmp_path / "new" / "out")
    assert folder.copy([artifact(blobs, "a.txt"), artifact(blobs, "deep/er/b.txt")], blobs) is None
    copied = tmp_path / "new" / "out" / "deep" / "er" / "b.txt"
    assert copied.read_bytes() == b"text"
    assert copied.stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_there_stays_and_the_others_are_copied(tmp_path: Path, blobs: BlobStore) -> None:
    """The error names what could not be copied; exit code 4."""
    folder = ArtifactFolder.prepare(tmp_path / "out")
    (tmp_path / "out" / "a.txt").write_bytes(b"mine")
    error = folder.copy([artifact(blobs, "a.txt"), artifact(blobs, "b.txt")], blobs)
    assert error is not None
    assert (error.sentence, error.exit_code) == (
        f"artifacts were not copied to {tmp_path / 'out'}: a.txt: a file of that name is there already",
        4,
    )
    assert (tmp_path / "out" / "a.txt").read_bytes() == b"mine"
    assert (tmp_path / "out" / "b.txt").read_bytes() == b"text"


def test_the_same_file_again_is_in_order(tmp_path: Path, blobs: BlobStore) -> None:
    """So that a run can be repeated into the same folder."""
    folder = ArtifactFolder.prepare(tmp_path / "out")
    folder.copy([artifact(blobs, "a.txt")], blobs)
    assert folder.copy([artifact(blobs, "a.txt")], blobs) is None


@pytest.mark.parametrize("name", ["../a", "/etc/a", "a/../../b", "a//b", "", ".", "a/\0"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, blobs: BlobStore, name: str) -> None:
    """Such names never pass the channel; if one ever did, it would stop here."""
    with pytest.raises(StorageError):
        ArtifactFolder.prepare(tmp_path / "out").copy([artifact(blobs, name)], blobs)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("name", ["link/a.txt", "file"])
def test_links_are_never_followed(tmp_path: Path, blobs: BlobStore, name: str) -> None:
    """A link laid into the folder would let an artifact be written anywhere."""
    folder = ArtifactFolder.prepare(tmp_path / "out")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "out" / "file").symlink_to(tmp_path / "elsewhere" / "a.txt")
    assert folder.copy([artifact(blobs, name)], blobs) is not None
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_pipe_of_that_name_does_not_hold_us_up(tmp_path: Path, blobs: BlobStore) -> None:
    """Reading it to compare would wait for ever."""
    folder = ArtifactFolder.prepare(tmp_path / "out")
    os.mkfifo(tmp_path / "out" / "a.txt")
    assert folder.copy([artifact(blobs, "a.txt")], blobs) is not None


def test_a_folder_that_cannot_be_is_refused_before_the_run(tmp_path: Path) -> None:
    """Nobody waits an hour for a run to hear that its files had no place to go."""
    (tmp_path / "file").touch()
    with pytest.raises(InputError) as caught:
        ArtifactFolder.prepare(tmp_path / "file")
    assert caught.value.sentence == f"artifacts cannot go to {tmp_path / 'file'}: a file of that name is there already"
