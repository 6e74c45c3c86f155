"""Rows 98 to 100: archives that bite whoever opens them. Nobody here does: they are kept as the bytes they are."""

from __future__ import annotations

import base64
import io
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest

from isolation.cli.artifacts import ArtifactFolder
from isolation.model.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.hostile.conftest import Attack
    from tests.hostile.kit import Arena

pytestmark = pytest.mark.engine

LEAVE = """
    import base64, os
    def run(context, params):
        os.mkdir("/scratch/artifacts")
        for name, content in params["files"].items():
            with open(f"/scratch/artifacts/{name}", "wb") as file:
                file.write(base64.b64decode(content))
    """


def members(target: str) -> Iterator[tarfile.TarInfo]:
    """Make what has led an unwary reader out of its folder."""
    for name in ("../up", "/etc/evil", "a/../../b"):
        yield tarfile.TarInfo(name)
    for kind, name, link in (
        (tarfile.SYMTYPE, "link", target),
        (tarfile.REGTYPE, "link/through", ""),
        (tarfile.LNKTYPE, "hard", "link"),
        (tarfile.CHRTYPE, "device", ""),
        (tarfile.FIFOTYPE, "pipe", ""),
        (tarfile.GNUTYPE_SPARSE, "sparse", ""),
        (tarfile.REGTYPE, "twice", ""),
        (tarfile.REGTYPE, "twice", ""),
    ):
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, link
        yield member


def a_tar(target: str) -> bytes:
    """Write them all into one."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member in members(target):
            archive.addfile(member)
    return whole.getvalue()


def a_tar_without_end() -> bytes:
    """Write a header that sends its reader back to itself: the next one lies at a negative distance."""
    header = bytearray(tarfile.TarInfo("again").tobuf())
    header[124:136] = b"\xff" * 11 + b"\x00"  # the size, as a negative number in base 256
    checksum = sum(header[:148]) + 8 * ord(" ") + sum(header[156:])
    header[148:156] = b"%06o\0 " % checksum
    return bytes(header) * 2


def a_zip() -> bytes:
    """Write names that lead out, and much out of little."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("../up", "/etc/evil", "a/../../b"):
            archive.writestr(name, "evil")
        archive.writestr("bomb", bytes(50 * 2**20))
    return whole.getvalue()


def check_kept_as_it_is(attack: Attack, arena: Arena, folder: Path, name: str, content: bytes) -> None:
    """Have a recipe leave the file, and see the same bytes on the host, in one file, in no more than their own size."""
    result = attack(LEAVE, args={"files": {name: base64.b64encode(content).decode()}})
    problem = ArtifactFolder.prepare(folder).copy(result.artifacts, arena.controller.stores.blobs)

    assert (result.outcome, problem) == (Outcome.SUCCEEDED, None)
    assert [path.relative_to(folder).as_posix() for path in folder.rglob("*")] == [name]
    assert (folder / name).read_bytes() == content


def test_row_098_a_tar_of_traps_is_not_opened(attack: Attack, arena: Arena, tmp_path: Path) -> None:
    """Ways up, absolute names, links and files through them, devices, pipes, sparse files, names that stand twice."""
    content = a_tar(str(arena.host.folder))

    check_kept_as_it_is(attack, arena, tmp_path / "copied", "evil.tar", content)


def test_row_099_a_tar_without_end_is_not_opened(attack: Attack, arena: Arena, tmp_path: Path) -> None:
    """Whoever follows its headers does so for ever."""
    check_kept_as_it_is(attack, arena, tmp_path / "copied", "endless.tar", a_tar_without_end())


def test_row_100_a_zip_that_grows_is_not_opened(attack: Attack, arena: Arena, tmp_path: Path) -> None:
    """Fifty megabytes in fifty kilobytes, and names that lead out."""
    content = a_zip()
    assert len(content) < 100_000

    check_kept_as_it_is(attack, arena, tmp_path / "copied", "bomb.zip", content)
