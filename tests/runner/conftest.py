"""The runner's own modules, imported as the image has them: at the top level."""

from __future__ import annotations

import importlib
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tests.runner.kit import Kit
from tests.runner.plans import Json, document

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent.parent
FOLDERS = ("runner_image", "framework0")
OURS = {path.stem for folder in FOLDERS for path in (ROOT / folder).iterdir()}
"""What can be imported from there, at the top level."""


class Load(Protocol):
    """What the fixture ``load`` gives."""

    def __call__(self, name: str) -> Any:  # noqa: ANN401 - a module
        """Import a module of the image."""


@contextmanager
def imported() -> Iterator[Load]:
    """Have modules of the image importable for as long as the block lasts, and none of them left then."""
    hosts, path = {name: sys.modules.pop(name) for name in _ours()}, sys.path
    sys.path = [*(str(ROOT / folder) for folder in FOLDERS), *path]
    try:
        yield importlib.import_module
    finally:
        sys.path = path
        for name in _ours():
            del sys.modules[name]
        sys.modules |= hosts


def _ours() -> list[str]:
    """Name the modules of the image that are imported; the host has some of them, too."""
    named = [(name, module) for name, module in [*sys.modules.items()] if name.partition(".")[0] in OURS]
    files = [(name, getattr(module, "__file__", None) or "") for name, module in named]
    return [name for name, file in files if "/runner_image/" in file or "/framework0/" in file]


@pytest.fixture
def load() -> Iterator[Load]:
    with imported() as load:
        yield load


@pytest.fixture
def plan_of(load: Load, monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401 - the class of another world
    monkeypatch.setattr(load("plan"), "_TMPFS", ())  # the container's own

    def make(*steps: Json, values: Json | None = None, **more: Any) -> Any:  # noqa: ANN401
        return load("plan").Plan(document(*steps, **more), values if values is not None else {})

    return make


@pytest.fixture
def kit(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kit:
    return Kit(load, tmp_path, monkeypatch)
