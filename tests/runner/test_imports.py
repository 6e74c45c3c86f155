"""How a step's process imports the step's module: as Python does, by another way for a plain file."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.runner.conftest import Load

SAYS = """
'''What it is.'''
from __future__ import annotations
number: int = 1
def run(context, params):
    raise LookupError(params)
"""


@pytest.fixture
def step(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module ``step``, for a package that is empty yet."""
    module = load("step")
    (tmp_path / "package").mkdir()
    (tmp_path / "library").mkdir()
    for name, folder in (("PACKAGE", "package"), ("LIBRARY", "library")):
        monkeypatch.setattr(module, name, str(tmp_path / folder))
        monkeypatch.syspath_prepend(str(tmp_path / folder))
    monkeypatch.setattr(module, "_found", {})
    before = {*sys.modules}
    yield module
    for name in {*sys.modules} - before:
        del sys.modules[name]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], None]:
    def write(name: str, source: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(source, encoding="utf-8")

    return write


def test_a_module_is_what_import_makes_of_it(step: Any, write: Callable[[str, str], None]) -> None:  # noqa: ANN401
    """Every name in it, and what Python keeps of its origin."""
    write("package/plain_file.py", SAYS)
    step._import("plain_file")
    ours = vars(sys.modules.pop("plain_file"))
    __import__("plain_file")
    theirs = vars(sys.modules["plain_file"])

    assert step.find("plain_file") is ours["__spec__"]
    assert {*ours} == {*theirs}
    for name in {*ours} - {"__spec__", "__loader__", "run"}:
        assert ours[name] == theirs[name], name
    for spec in ("name", "origin", "cached", "has_location", "parent", "submodule_search_locations"):
        assert getattr(ours["__spec__"], spec) == getattr(theirs["__spec__"], spec)
    assert type(ours["__loader__"]) is type(theirs["__loader__"])
    assert ours["run"].__code__ == theirs["run"].__code__


@pytest.mark.parametrize(
    ("source", "error"),
    [("1 / 0", ZeroDivisionError), ("def", SyntaxError), ("# coding: none\n", SyntaxError), ("exit(3)", SystemExit)],
)
def test_of_a_module_that_fails_nothing_is_left(
    step: Any,  # noqa: ANN401
    write: Callable[[str, str], None],
    source: str,
    error: type[BaseException],
) -> None:
    write("package/fails.py", source)
    with pytest.raises(error):
        step._import("fails")
    assert "fails" not in sys.modules


def test_modules_that_import_each_other_are_told_so(step: Any, write: Callable[[str, str], None]) -> None:  # noqa: ANN401
    write("package/hen.py", "from egg import shell")
    write("package/egg.py", "from hen import feather")
    with pytest.raises(ImportError, match=r"partially initialized module 'hen'"):
        step._import("hen")


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("first", ("package/first/__init__.py", "package/first.py")),
        ("both", ("library/both.py", "package/both.py")),
        ("inside.deep", ("package/inside/deep.py", "package/inside/__init__.py")),
        ("this", ("package/this.py",)),
    ],
    ids=["folder", "library", "dotted", "named as one of Python's"],
)
def test_what_is_no_plain_file_is_left_to_import(
    step: Any,  # noqa: ANN401
    write: Callable[[str, str], None],
    tmp_path: Path,
    name: str,
    files: tuple[str, ...],
) -> None:
    """The order in which Python looks is Python's: the first of these files is what it finds."""
    for path in files:
        write(path, "")
    step._import(name)

    assert step.find(name) is None
    assert sys.modules[name].__file__ == str(tmp_path / files[0])


def test_a_module_that_is_there_is_not_made_again(step: Any, write: Callable[[str, str], None]) -> None:  # noqa: ANN401
    """One that another has imported before the step's own turn comes."""
    write("package/once.py", "made = []")
    step._import("once")
    first = sys.modules["once"]
    step._import("once")

    assert sys.modules["once"] is first


def test_a_module_that_is_not_there_is_missed_as_ever(step: Any) -> None:  # noqa: ANN401
    with pytest.raises(ModuleNotFoundError, match="No module named 'nowhere'"):
        step._import("nowhere")
