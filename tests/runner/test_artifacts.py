"""Which files leave the container, and how."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runner.conftest import Load

ARTIFACT, CHUNK = 6, 7


class Channel:
    """Keeps what is sent."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[int | None, str | None]] = {}
        self.content = b""

    def send_json(self, kind: int, value: dict[str, Any]) -> None:
        """Take an announcement."""
        assert kind == ARTIFACT
        self.files[value["name"]] = (value["size"], value["refused"])

    def send(self, kind: int, piece: bytes) -> None:
        """Take a chunk."""
        assert kind == CHUNK
        self.content += piece


@pytest.fixture
def folder(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "artifacts"
    folder.mkdir()
    monkeypatch.setattr(load("artifacts"), "FOLDER", str(folder))
    return folder


def sent(load: Load, most: int = 10) -> Channel:
    channel = Channel()
    load("artifacts").send_artifacts(channel, {"artifact_count": most})
    return channel


def test_regular_files_are_sent_in_the_order_of_their_names(load: Load, folder: Path) -> None:
    """So that two runs that left the same say the same."""
    (folder / "b").write_bytes(b"bb")
    (folder / "a").mkdir()
    (folder / "a" / "c").write_bytes(b"ccc" * 50_000)
    (folder / "empty").touch()

    channel = sent(load)

    assert list(channel.files.items()) == [("a/c", (150_000, None)), ("b", (2, None)), ("empty", (0, None))]
    assert channel.content == b"ccc" * 50_000 + b"bb"


def test_what_is_no_regular_file_is_named_and_not_sent(load: Load, folder: Path, tmp_path: Path) -> None:
    """F 84 to 89: links to files and folders, pipes; and names that nobody could keep."""
    (tmp_path / "secret").write_text("secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "folder").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    (folder / ".hidden").touch()
    (folder / os.fsdecode(b"\xff\n")).touch()

    channel = sent(load)

    plain = "not a plain name: letters, digits and -_.,+=@() in at most 8 parts, none led by - or ."
    assert channel.files == {
        "link": (None, "Too many levels of symbolic links"),
        "folder": (None, "Too many levels of symbolic links"),
        "pipe": (None, "not a regular file"),
        ".hidden": (None, plain),
        "\\xff\n": (None, plain),
    }
    assert channel.content == b""


def test_a_folder_that_is_a_link_elsewhere_is_not_walked(load: Load, folder: Path, tmp_path: Path) -> None:
    """Else the whole image, and /proc, would be sent."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a").touch()
    folder.rmdir()
    folder.symlink_to(tmp_path / "elsewhere")

    assert sent(load).files == {}


def test_one_file_more_than_allowed_is_sent_so_that_the_host_sees_it(load: Load, folder: Path) -> None:
    """What is not sent does not count: many links before it must not hide a file."""
    for number in range(5):
        (folder / f"a{number}").symlink_to("nowhere")
        (folder / f"b{number}").touch()

    files = sent(load, most=2).files

    assert [name for name, (size, _) in files.items() if size is not None] == ["b0", "b1", "b2"]


def test_no_folder_is_no_artifact(load: Load, folder: Path) -> None:
    """Most recipes leave none."""
    folder.rmdir()

    assert sent(load).files == {}
