"""Files on their way from a container into the blob store."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from isolation.contract import Malformed
from isolation.model.secret import Secret
from isolation.rules.redaction import Redaction
from isolation.sandbox.artifacts import ArtifactIntake, LimitReachedError
from isolation.storage.blobs import BlobStore

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


@pytest.fixture
def intake(blobs: BlobStore) -> ArtifactIntake:
    return ArtifactIntake(blobs, most_files=2, most_bytes=10)


def test_files_are_kept_by_name_under_their_digest(intake: ArtifactIntake, blobs: BlobStore) -> None:
    """Also an empty one, which has no chunk."""
    intake.begin("b/report.txt", 6)
    intake.add(b"hel")
    intake.add(b"lo\n")
    intake.begin("a", 0)
    intake.close()

    assert [(one.name, one.size_bytes) for one in intake.kept] == [("a", 0), ("b/report.txt", 6)]
    assert blobs.get(intake.kept[1].digest) == b"hello\n"
    assert intake.kept[0].digest == hashlib.sha256().hexdigest()


@pytest.mark.parametrize("name", ["../up", "/etc/passwd", "a\x1b[2J", "", "a/b/c/d/e/f/g/h/i"])
def test_a_name_that_may_not_be_is_refused_whatever_the_runner_did(intake: ArtifactIntake, name: str) -> None:
    """The runner checks too, but inside nothing is believed."""
    with pytest.raises(Malformed, match="not a plain name"):
        intake.begin(name, 1)


def test_two_files_of_one_name_are_refused(intake: ArtifactIntake) -> None:
    """The second would hide the first."""
    intake.begin("a", 0)
    with pytest.raises(Malformed, match="two artifacts"):
        intake.begin("a", 0)


def test_more_files_than_allowed_end_the_attempt(intake: ArtifactIntake) -> None:
    """Empty ones cost an inode each."""
    intake.begin("a", 0)
    intake.begin("b", 0)
    with pytest.raises(LimitReachedError):
        intake.begin("c", 0)


def test_more_bytes_than_allowed_end_the_attempt_before_they_come(intake: ArtifactIntake, blobs: BlobStore) -> None:
    """All files together, by the size that is announced; the bound itself is allowed."""
    intake.begin("a", 4)
    intake.add(b"xxxx")
    intake.begin("b", 6)
    intake.add(b"xxxxxx")
    with pytest.raises(LimitReachedError):
        ArtifactIntake(blobs, most_files=2, most_bytes=10).begin("a", 11)


def test_more_than_was_announced_is_refused(intake: ArtifactIntake) -> None:
    """The limit was checked against the announcement."""
    intake.begin("a", 2)
    with pytest.raises(Malformed, match="bytes of no artifact"):
        intake.add(b"xxx")


def test_bytes_of_no_file_are_refused(intake: ArtifactIntake) -> None:
    """Before the first, after one that is whole, and none at all."""
    with pytest.raises(Malformed):
        intake.add(b"x")
    intake.begin("a", 1)
    with pytest.raises(Malformed):
        intake.add(b"")
    intake.add(b"x")
    with pytest.raises(Malformed):
        intake.add(b"x")


def test_a_file_that_was_cut_off_is_told_and_leaves_nothing(intake: ArtifactIntake, blobs: BlobStore) -> None:
    """Half a file under its full name would be believed."""
    intake.begin("a", 2)
    intake.add(b"x")
    with pytest.raises(Malformed, match="the artifact 'a' was cut off"):
        intake.begin("b", 0)
    with pytest.raises(Malformed, match="the artifact 'a' was cut off"):
        intake.check_whole()
    intake.close()

    assert intake.kept == ()
    assert list(blobs.digests()) == []
    assert list((blobs.folder / "tmp").iterdir()) == []


VALUE = "hunter22-hunter33"


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def discreet(blobs: BlobStore, warnings: list[str]) -> ArtifactIntake:
    redaction = Redaction([Secret("TOKEN", VALUE)])
    return ArtifactIntake(blobs, most_files=3, most_bytes=10_000, redaction=redaction, warn=warnings.append)


def send(intake: ArtifactIntake, name: str, content: bytes, size: int) -> None:
    intake.begin(name, len(content))
    for start in range(0, len(content), size):
        intake.add(content[start : start + size])


@pytest.mark.parametrize("size", [1, 5, 1000])
@pytest.mark.parametrize("written", [VALUE, VALUE.encode().hex(), VALUE + "x" * 500, "x" * 500 + VALUE])
def test_a_file_with_a_secret_is_not_kept(
    discreet: ArtifactIntake, blobs: BlobStore, warnings: list[str], written: str, size: int
) -> None:
    """However it was cut into chunks; those before and after it are, and a person is told."""
    send(discreet, "before", b"hunter22-hunter", size)
    send(discreet, "it", written.encode(), size)
    send(discreet, "after", b"33", size)
    discreet.close()

    assert [(one.name, blobs.get(one.digest)) for one in discreet.kept] == [
        ("after", b"33"),
        ("before", b"hunter22-hunter"),
    ]
    assert warnings == ["the artifact 'it' was not kept: the secret TOKEN stands in it"]
    assert len([*blobs.digests()]) == 2


def test_a_file_with_a_secret_for_a_name_is_not_kept(discreet: ArtifactIntake, warnings: list[str]) -> None:
    """The name stands in the record; what is told of it does not have it."""
    send(discreet, f"{VALUE}.txt", b"harmless", 5)
    discreet.close()

    assert discreet.kept == ()
    assert warnings == ["the artifact '[secret TOKEN].txt' was not kept: the secret TOKEN stands in it"]


def test_no_secret_is_written_on_the_way(discreet: ArtifactIntake, blobs: BlobStore) -> None:
    """What is discarded later was on the disk before."""
    content = b"x" * 500 + VALUE.encode() + b"y" * 500
    discreet.begin("it", len(content))
    for start in range(len(content) - 1):
        discreet.add(content[start : start + 1])
        (file,) = (blobs.folder / "tmp").iterdir()
        assert file.read_bytes() in b"x" * 500


def test_a_file_that_is_not_kept_counts_all_the_same(discreet: ArtifactIntake) -> None:
    """Else a recipe could send for ever."""
    for name in "abc":
        send(discreet, name, VALUE.encode(), 100)
    with pytest.raises(LimitReachedError):
        discreet.begin("d", 0)
    with pytest.raises(Malformed, match="two artifacts"):
        discreet.begin("a", 0)
