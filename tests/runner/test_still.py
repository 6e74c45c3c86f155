"""What is held still in a step's process: seeds, listings, the count of processors."""

from __future__ import annotations

import glob
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.runner.conftest import Load

NOTHING = {"seed": None, "directory_order": "as_is", "cpu_count": None}
NAMES = ["b", "a", "d", "c"]


@pytest.fixture
def hold(load: Load, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Hold something still in this very process, until the test's end."""
    for name in ("listdir", "scandir", "supports_fd", "cpu_count", "sched_getaffinity"):
        monkeypatch.setattr(os, name, getattr(os, name))
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    monkeypatch.setitem(sys.modules, "random", None)
    del sys.modules["random"]

    def held(step: str = "s", **wanted: object) -> None:
        load("still").hold(NOTHING | wanted, step)

    return held


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in NAMES:
        (tmp_path / name).mkdir()
    return tmp_path


LISTINGS: dict[str, Callable[[Path], list[str]]] = {
    "listdir": lambda path: os.listdir(path),  # noqa: PLW0108, PTH208 - looked up when it is held
    "listdir of bytes": lambda path: [os.fsdecode(name) for name in os.listdir(os.fsencode(path))],  # noqa: PTH208 - it
    "scandir": lambda path: [entry.name for entry in os.scandir(path)],
    "walk": lambda path: next(os.walk(path))[1],
    "glob": lambda path: [found.rpartition("/")[2] for found in glob.glob(f"{path}/*")],  # noqa: PTH207 - the very one
    "pathlib": lambda path: [found.name for found in Path(path).iterdir()],
    "pathlib's glob": lambda path: [found.name for found in Path(path).glob("*")],
}


@pytest.mark.parametrize("order", ["sorted", "reversed"])
@pytest.mark.parametrize("listing", LISTINGS.values(), ids=LISTINGS)
def test_whoever_lists_a_folder_gets_it_in_that_order(
    hold: Callable[..., None], folder: Path, listing: Callable[[Path], list[str]], order: str
) -> None:
    """The ways that Python has; all of them look the same two functions up."""
    hold(directory_order=order)

    assert listing(folder) == sorted(NAMES, reverse=order == "reversed")


def test_a_folder_can_still_be_read_by_its_descriptor_and_removed(hold: Callable[..., None], folder: Path) -> None:
    """shutil.rmtree is safe against links only where listings take a descriptor, and asks whether they do."""
    hold(directory_order="sorted")
    fd = os.open(folder, os.O_RDONLY)
    try:
        with os.scandir(fd) as entries:
            assert next(entries).name == "a"
            entries.close()
            assert [*entries] == []
    finally:
        os.close(fd)

    assert {os.listdir, os.scandir} <= os.supports_fd
    shutil.rmtree(folder)
    assert not folder.exists()


def test_a_folder_that_is_not_there_is_an_error_as_ever(hold: Callable[..., None], tmp_path: Path) -> None:
    """Programs go by the error."""
    hold(directory_order="sorted")
    for function in (os.listdir, os.scandir):
        with pytest.raises(FileNotFoundError):
            function(tmp_path / "none")


def test_a_step_has_the_same_random_numbers_in_every_run_and_another_step_others(hold: Callable[..., None]) -> None:
    """By the step's name: what ran before it, or beside it, changes nothing."""

    def numbers(step: str, seed: int) -> list[float]:
        sys.modules.pop("random", None)
        hold(step, seed=seed)
        import random  # noqa: PLC0415 - it is the import that seeds

        return [random.random() for _ in range(3)]  # noqa: S311 - the very thing

    first = numbers("load", 0)

    assert numbers("load", 0) == first
    assert numbers("save", 0) != first
    assert numbers("load", 1) != first


def test_what_is_imported_already_is_seeded_at_once(hold: Callable[..., None]) -> None:
    """The runner's own imports may bring it."""
    import random  # noqa: PLC0415 - before it is held

    found = []
    for _ in range(2):
        hold(seed=7)
        found.append(random.random())  # noqa: S311 - the very thing

    assert found[0] == found[1]


def test_a_recipes_own_module_of_that_name_is_left_alone(
    hold: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may mean something else by `seed`."""
    (tmp_path / "random.py").write_text("def seed(value):\n    raise AssertionError(value)\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    hold(seed=0)

    import random  # noqa: PLC0415 - as above

    assert random.__file__ == str(tmp_path / "random.py")


def test_python_is_told_of_as_many_processors_as_it_may_use(hold: Callable[..., None]) -> None:
    """A pool of workers has the same size on every host."""
    hold(cpu_count=1)

    assert (os.cpu_count(), len(os.sched_getaffinity(0))) == (1, 1)


def test_what_is_not_to_be_held_stays_as_it_is(hold: Callable[..., None]) -> None:
    """The policy says so."""
    before: list[Any] = [os.listdir, os.scandir, os.cpu_count, os.sched_getaffinity, *sys.meta_path]
    hold()

    assert [os.listdir, os.scandir, os.cpu_count, os.sched_getaffinity, *sys.meta_path] == before
