"""
What Python lets vary from run to run, held still in a step's process as the policy asks.

A help, and no wall: a step can undo it, and what does not go through these functions of Python is not covered.
"""

from __future__ import annotations

import functools
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self


def hold(wanted: dict, step: str) -> None:
    """Hold still what is wanted; each step has a seed of its own, so that none depends on what ran before it."""
    if wanted["seed"] is not None:
        seed = f"{wanted['seed']}:{step}"
        when_imported("random", lambda module: _seed(module, seed))
    if wanted["directory_order"] != "as_is":
        _order_folders(backwards=wanted["directory_order"] == "reversed")
    if wanted["cpu_count"] is not None:
        _tell_cpus(wanted["cpu_count"])


def when_imported(name: str, then: Callable[[Any], object]) -> None:
    """Call a function with the module of that name as soon as somebody imports it, or now if somebody has."""
    if name in sys.modules:
        then(sys.modules[name])
        return

    def find(wanted: str, *_: object) -> object:
        if wanted != name:
            return None
        sys.meta_path.remove(finder)
        from importlib.util import find_spec

        spec: Any = find_spec(name)
        if spec is None or not hasattr(spec.loader, "exec_module"):
            return spec
        load = spec.loader.exec_module

        def load_and_tell(module: Any) -> None:  # noqa: ANN401 - modules have the attributes that they have
            load(module)
            then(module)

        spec.loader.exec_module = load_and_tell
        return spec

    finder = type("Finder", (), {"find_spec": staticmethod(find)})()
    sys.meta_path.insert(0, finder)


def _seed(module: Any, seed: str) -> None:  # noqa: ANN401 - as above
    if os.path.dirname(module.__file__) == os.path.dirname(os.__file__):  # a recipe may have a `random.py` of its own
        module.seed(seed)


def _order_folders(*, backwards: bool) -> None:
    list_as_is, scan_as_is = os.listdir, os.scandir

    @functools.wraps(list_as_is)
    def listdir(path: Any = None) -> list:  # noqa: ANN401 - text, bytes, a path or a descriptor
        return sorted(list_as_is(path), reverse=backwards)

    class Entries:
        """What os.scandir returns: an iterator that can be closed."""

        def __init__(self, path: Any = None) -> None:  # noqa: ANN401 - as above
            with scan_as_is(path) as entries:
                self._entries = iter(sorted(entries, key=lambda entry: entry.name, reverse=backwards))

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

    os.listdir = listdir
    os.scandir = Entries  # type: ignore[assignment]  # os.walk, glob, pathlib and shutil look it up there
    os.supports_fd |= {listdir, Entries}


def _tell_cpus(count: int) -> None:
    affinity_as_is = os.sched_getaffinity

    @functools.wraps(affinity_as_is)
    def sched_getaffinity(pid: int) -> set[int]:
        return set(sorted(affinity_as_is(pid))[:count])

    os.cpu_count = lambda: count
    os.sched_getaffinity = sched_getaffinity
