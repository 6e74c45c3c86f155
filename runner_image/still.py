"""
What Python lets vary from run to run, held still in a step's process as the policy asks.

A help, and no wall: a step can undo it, and what does not go through these functions of Python is not covered.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # not typing's: run.py says why
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Self


_list_as_is, _scan_as_is = os.listdir, os.scandir


def hold(wanted: dict, step: str) -> None:
    """Hold still what is wanted; each step has a seed of its own, so that none depends on what ran before it."""
    if wanted["seed"] is not None:
        seed = f"{wanted['seed']}:{step}"
        when_imported("random", lambda module: _seed(module, seed))
    if wanted["directory_order"] != "as_is":
        _Folders(backwards=wanted["directory_order"] == "reversed").put_in_place()
    if wanted["cpu_count"] is not None:
        _tell_cpus(wanted["cpu_count"])


def when_imported(name: str, then: Callable[[Any], object]) -> None:
    """Call a function with the module of that name as soon as somebody imports it, or now if somebody has."""
    if name in sys.modules:
        then(sys.modules[name])
        return

    sys.meta_path.insert(0, _Finder(name, then))


class _Finder:
    """Waits for one module to be imported, among ``sys.meta_path``."""

    def __init__(self, name: str, then: Callable[[Any], object]) -> None:
        self._name = name
        self._then = then

    def find_spec(self, wanted: str, _path: object = None, _target: object = None, /) -> Any:  # noqa: ANN401 - as below
        if wanted != self._name:
            return None
        sys.meta_path.remove(self)
        from importlib.util import find_spec

        spec: Any = find_spec(wanted)
        if spec is None or not hasattr(spec.loader, "exec_module"):
            return spec
        load = spec.loader.exec_module

        def load_and_tell(module: Any) -> None:  # noqa: ANN401 - modules have the attributes that they have
            load(module)
            self._then(module)

        spec.loader.exec_module = load_and_tell
        return spec


def _seed(module: Any, seed: str) -> None:  # noqa: ANN401 - as above
    if os.path.dirname(module.__file__) == os.path.dirname(os.__file__):  # a recipe may have a `random.py` of its own
        module.seed(seed)


class _Folders:
    """Lists folders in order; made for all steps before any of them is forked, as classes are not cheap to make."""

    def __init__(self, *, backwards: bool) -> None:
        self._backwards = backwards

    def put_in_place(self) -> None:
        os.listdir = self.listdir
        os.scandir = self.scandir  # type: ignore[assignment]  # os.walk, glob, pathlib and shutil look it up there
        os.supports_fd |= {self.listdir, self.scandir}

    def listdir(self, path: Any = None) -> list:  # noqa: ANN401 - text, bytes, a path or a descriptor
        return sorted(_list_as_is(path), reverse=self._backwards)

    def scandir(self, path: Any = None) -> _Entries:  # noqa: ANN401 - as above
        with _scan_as_is(path) as entries:
            return _Entries(sorted(entries, key=lambda entry: entry.name, reverse=self._backwards))


class _Entries:
    """What os.scandir returns: an iterator that can be closed."""

    def __init__(self, entries: list[os.DirEntry]) -> None:
        self._entries = iter(entries)

    def __iter__(self) -> Iterator[os.DirEntry]:
        return self

    def __next__(self) -> os.DirEntry:
        return next(self._entries)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._entries = iter(())


def _tell_cpus(count: int) -> None:
    affinity_as_is = os.sched_getaffinity
    os.cpu_count = lambda: count
    os.sched_getaffinity = lambda pid, /: set(sorted(affinity_as_is(pid))[:count])
