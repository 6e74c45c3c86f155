"""Blobs: what was put is there, whole and unchanged, or there is an error that says so."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from isolation.errors import StorageError
from isolation.model.package import digest_of
from isolation.state.aside import sweep
from isolation.storage.blobs import BlobStore

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


def files(blobs: BlobStore) -> list[Path]:
    return [path for path in blobs.folder.rglob("*") if path.is_file()]


def test_a_blob_is_named_by_its_content(blobs: BlobStore) -> None:
    """The same content is one blob, whoever puts it."""
    digest = blobs.put(b"content")

    assert digest == digest_of(b"content") == blobs.put(b"content")
    assert blobs.get(digest) == b"content"
    assert blobs.has(digest)
    assert list(blobs.digests()) == [digest]
    assert files(blobs) == [blobs.path(digest)]


def test_a_blob_belongs_to_this_user_alone(blobs: BlobStore) -> None:
    """It may be somebody's data."""
    path = blobs.path(blobs.put(b"content"))

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_blob_written_in_chunks_is_the_same_blob(blobs: BlobStore) -> None:
    """Artifacts come in pieces."""
    with blobs.writer() as writer:
        writer.write(b"con")
        writer.write(b"tent")
        assert list(blobs.digests()) == []
        digest = writer.finish()

    assert digest == writer.digest == digest_of(b"content")
    assert writer.size_bytes == 7
    assert blobs.get(digest) == b"content"


def test_what_was_not_finished_leaves_nothing(blobs: BlobStore) -> None:
    """Neither an exception nor a forgotten finish leaves half a blob."""
    with blobs.writer() as writer:
        writer.write(b"half")
    with pytest.raises(RuntimeError), blobs.writer() as writer:  # noqa: PT012 - the block is what is tested
        writer.write(b"half")
        raise RuntimeError

    assert files(blobs) == []


def test_a_damaged_blob_is_never_returned(blobs: BlobStore) -> None:
    """One flipped bit would make another recipe of it."""
    digest = blobs.put(b"content")
    blobs.path(digest).write_bytes(b"c0ntent")

    with pytest.raises(StorageError, match=f"the blob {digest} in .* is damaged"):
        blobs.get(digest)


def test_a_blob_that_was_cut_short_is_written_anew(blobs: BlobStore) -> None:
    """Being quick when the blob is present must not mean to trust its name alone."""
    digest = blobs.put(b"content")
    blobs.path(digest).write_bytes(b"con")

    blobs.put(b"content")

    assert blobs.get(digest) == b"content"


def test_a_missing_blob_is_an_error_with_a_hint(blobs: BlobStore) -> None:
    """The reader wants to know what that means for the run."""
    with pytest.raises(StorageError, match="is not in") as caught:
        blobs.get("0" * 64)

    assert "cannot be run again" in caught.value.hint


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "\n", "\u0660" * 64])
def test_what_is_no_digest_names_no_file(blobs: BlobStore, name: str) -> None:
    """A name from a record must not lead out of the folder."""
    with pytest.raises(StorageError, match="is not the name of a blob"):
        blobs.path(name)


def test_a_removed_blob_is_gone(blobs: BlobStore) -> None:
    """And removing it twice is no error: two cleaners may meet."""
    digest = blobs.put(b"content")

    blobs.remove(digest)
    blobs.remove(digest)

    assert not blobs.has(digest)
    assert list(blobs.digests()) == []


def test_what_a_killed_process_was_writing_can_be_removed(blobs: BlobStore) -> None:
    """But never what a living one is writing."""
    code = (
        "import os, pathlib, signal, sys\n"
        "from isolation.storage.blobs import BlobStore\n"
        "with BlobStore(pathlib.Path(sys.argv[1])).writer() as writer:\n"
        "    writer.write(b'half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, blobs.folder], check=False)
    assert len(files(blobs)) == 1

    with blobs.writer() as writer:
        assert sweep((blobs.folder / "tmp").iterdir()) == 1
        writer.write(b"whole")
        digest = writer.finish()

    assert files(blobs) == [blobs.path(digest)]


def test_a_folder_that_cannot_be_made_is_said_for_people(tmp_path: Path) -> None:
    """Not as an errno."""
    (tmp_path / "file").write_text("")

    with pytest.raises(StorageError) as caught:
        BlobStore(tmp_path / "file" / "blobs").put(b"content")

    assert str(caught.value) == f"the state folder {tmp_path}/file/blobs is not there, or not a folder"
    assert caught.value.hint == "Create it, or choose another folder with --state."


def test_blobs_cost_nobody_the_import_of_the_database() -> None:
    """SQLAlchemy takes some hundred milliseconds, which a run can spend while its container starts."""
    code = (
        "import sys, isolation.storage.blobs, isolation.model.document\n"
        "print(*{'sqlalchemy', 'sqlite3'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)

    assert done.stdout.split() == []
