"""The folders of a cell: nameless where this user may mount, and gone afterwards."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from isolation.errors import EngineError
from isolation.sandbox import stage as stages
from isolation.sandbox.attestation.mounts import names_of_the_host, read_mounts
from isolation.sandbox.stage import Stage, staged

if TYPE_CHECKING:
    from collections.abc import Iterator

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "work.py").write_text("x = 1\n")
    return folder


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path / "cells" / "231099")
    yield stage
    stage.strike()


def mounted_below(folder: Path) -> str:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return "\n".join(line for line in lines if line.split()[4].startswith(f"{folder}/"))


@needs_root
@pytest.mark.root
def test_what_is_mounted_shows_its_content_and_not_its_place(stage: Stage, package: Path, tmp_path: Path) -> None:
    """A bind mount's root is a path of the host; a file system of its own has the root /."""
    base = tmp_path / "base"
    base.mkdir()
    (base / "values").write_text("1")
    mounts = stage.set_up(package=package, layer=None, base=base)
    stage.put(b"{}")

    assert (mounts.package / "work.py").read_text() == "x = 1\n"
    assert mounts.base is not None
    assert (mounts.base / "values").read_text() == "1"
    assert (mounts.snapshot / "snapshot.json").read_bytes() == b"{}"
    seen = mounted_below(stage.folder).replace(f"{stage.folder}/", "/")
    assert names_of_the_host(read_mounts(seen), ("/package", "/in", "/base")) == "none"
    assert str(package) not in seen
    assert str(base) not in seen


@needs_root
@pytest.mark.root
def test_nobody_can_change_a_package_through_its_mount(stage: Stage, package: Path) -> None:
    """Not even root: what runs is what was packed."""
    mounts = stage.set_up(package=package, layer=None)

    with pytest.raises(OSError, match="Read-only file system"):
        (mounts.package / "work.py").write_text("x = 2\n")


@needs_root
@pytest.mark.root
def test_what_was_laid_out_ahead_stays_when_the_rest_comes(stage: Stage, package: Path) -> None:
    """A cell that stands ready has the snapshot's folder mounted already."""
    (stage.lay() / "mark").touch()
    mounts = stage.set_up(package=package, layer=None)

    assert (mounts.snapshot / "mark").exists()
    assert (mounts.package / "work.py").exists()


@needs_root
@pytest.mark.root
def test_a_stage_that_was_struck_leaves_neither_mount_nor_folder(tmp_path: Path, package: Path) -> None:
    """And can be struck again: whoever cleans up may come second."""
    stage = Stage(tmp_path / "cells" / "231100")
    stage.set_up(package=package, layer=package)
    assert [*staged(tmp_path / "cells")] == [231_100]

    stage.strike()
    stage.strike()

    assert [*staged(tmp_path / "cells")] == []
    assert mounted_below(tmp_path) == ""
    assert (package / "work.py").exists(), "what was mounted is not what was removed"


def test_without_the_right_to_mount_the_folders_are_the_states_own(
    stage: Stage, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It works, and says that it is not nameless."""
    monkeypatch.setattr(stages, "_may_mount", lambda: False)

    mounts = stage.set_up(package=package, layer=None)

    assert (mounts.package, stage.nameless) == (package, False)


@needs_root
def test_mounts_that_the_engine_would_not_see_are_refused(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each run would find its package empty; tests/vm/inside/test_unit.py has it with a namespace of its own."""
    first = tmp_path / "first"
    first.symlink_to("mnt:[1]")
    monkeypatch.setattr(stages, "_FIRST", first)
    with subprocess.Popen(
        ["/usr/bin/unshare", "--mount", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as engine:
        assert engine.stdin is not None
        assert engine.stdout is not None
        engine.stdin.write(b"x")
        engine.stdin.flush()
        engine.stdout.read(1)  # by now it has mounts of its own
        monkeypatch.setattr(stages, "_engine_pid", lambda: engine.pid)
        with pytest.raises(EngineError, match="which the engine does not see"):
            stage.lay()
        engine.stdin.close()
    assert mounted_below(tmp_path) == ""


@needs_root
def test_an_engine_in_the_same_mounts_sees_them(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine's first process has: a container or a service may hold both."""
    first = tmp_path / "first"
    first.symlink_to("mnt:[1]")
    monkeypatch.setattr(stages, "_FIRST", first)
    monkeypatch.setattr(stages, "_engine_pid", os.getpid)
    assert stage.lay().is_dir()


@needs_root
@pytest.mark.engine
def test_the_engine_is_who_listens_where_engines_do() -> None:
    """On this machine it is a process of the same mounts."""
    assert Path(f"/proc/{stages._engine_pid()}/ns/mnt").readlink() == Path("/proc/self/ns/mnt").readlink()


@needs_root
@pytest.mark.root
def test_a_package_that_is_gone_is_our_failure(stage: Stage, tmp_path: Path) -> None:
    """In our words, and nothing stays mounted."""
    with pytest.raises(EngineError, match="the folders of a cell cannot be laid out"):
        stage.set_up(package=tmp_path / "gone", layer=None)


@needs_root
@pytest.mark.root
def test_what_was_left_of_another_stage_is_no_hindrance(tmp_path: Path, package: Path) -> None:
    """A uid is drawn at random: a run must not fail because somebody who had it once left its folders behind."""
    folder = tmp_path / "cells" / "231099"
    Stage(folder).set_up(package=package, layer=None)
    stage = Stage(folder)

    stage.set_up(package=package, layer=None)
    stage.put(b"{}")
    stage.strike()

    assert mounted_below(tmp_path) == ""
    assert not folder.exists()
