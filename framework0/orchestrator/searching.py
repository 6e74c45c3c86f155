"""
Modules of a recipe, found in this process as a cell finds them, and forgotten again.

    the framework ─▶ the recipe's folder ─▶ the other folders ─▶ built-in scriptlets ─▶ what this Python has

What is found in a recipe's folders takes the place of what this process had under the same name, which comes back.
"""

from __future__ import annotations

import importlib
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import orchestrator
import scriptlets
import src.core
from scriptlets.framework import REGISTERED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import ModuleType

_FRAMEWORK = Path(scriptlets.__path__[0]).parent
_MERGING = {"orchestrator": orchestrator, "scriptlets": scriptlets, "src": src, "src.core": src.core}
"""Packages that a recipe's folders of the same names add to."""
_NEVER = {"isolation", *sys.stdlib_module_names}
"""What carries out the run, of which a cell has nothing that a recipe could mean, and what no recipe may replace."""


@contextmanager
def searching(roots: Sequence[Path]) -> Iterator[None]:
    """
    Have the modules of these folders importable, afresh, for as long as the block lasts; then none of them is left.

    Modules of Python and of installed packages stay, whoever imported them first. Not for two threads at once.
    """
    tops = {path.stem for root in roots for path in root.iterdir() if _is_module(path)} - _NEVER - {*_MERGING}
    before, registered, writes = [*sys.path], dict(REGISTERED), sys.dont_write_bytecode
    paths = {name: [*package.__path__] for name, package in _MERGING.items()}
    hidden = _take(roots, tops)
    sys.path[:0] = map(str, roots)
    sys.dont_write_bytecode = True  # byte code is found by whole seconds: a file that is edited at once would be old
    importlib.invalidate_caches()
    for name, package in _MERGING.items():
        package.__path__[1:1] = [str(root / name.replace(".", "/")) for root in roots]
    try:
        yield
    finally:
        _take(roots, tops)
        _put(hidden)
        for name, package in _MERGING.items():
            package.__path__[:] = paths[name]
        sys.path[:], sys.dont_write_bytecode = before, writes
        REGISTERED.clear()
        REGISTERED.update(registered)


def _is_module(path: Path) -> bool:
    return path.suffix == ".py" or (path / "__init__.py").is_file()


def _take(roots: Sequence[Path], tops: set[str]) -> dict[str, ModuleType]:
    """Take away the modules that these folders have, or would have, and return them."""
    folders = [str(root / "_")[:-1] for root in roots]  # as text: this process may have thousands of modules
    taken = {name: module for name, module in [*sys.modules.items()] if _is_theirs(name, module, folders, tops)}
    for name, module in taken.items():
        del sys.modules[name]
        parent, _, child = name.rpartition(".")
        if parent in sys.modules and vars(sys.modules[parent]).get(child) is module:
            delattr(sys.modules[parent], child)
    return taken


def _put(modules: dict[str, ModuleType]) -> None:
    sys.modules.update(modules)
    for name, module in modules.items():
        parent, _, child = name.rpartition(".")
        if parent in sys.modules:
            setattr(sys.modules[parent], child, module)


def _is_theirs(name: str, module: ModuleType, folders: Sequence[str], tops: set[str]) -> bool:
    top = name.partition(".")[0]
    if top in tops:
        return True
    file = getattr(module, "__file__", None)
    if top in _MERGING:
        return name not in _MERGING and file is not None and not _is_ours(name, Path(file))
    stem = name.replace(".", "/")
    if file is None:  # a folder without __init__.py
        found = [*getattr(module, "__path__", ())]
        return any(folder + stem in found for folder in folders)
    return top not in _NEVER and any(
        file in {f"{folder}{stem}.py", f"{folder}{stem}/__init__.py"} for folder in folders
    )


def _is_ours(name: str, file: Path) -> bool:
    """Tell whether it is the framework's own, which nothing of a recipe's replaces; the built-in scriptlets are not."""
    place = _FRAMEWORK / name.replace(".", "/")
    return file in {place.with_suffix(".py"), place / "__init__.py"} and not name.startswith("scriptlets.builtin")
