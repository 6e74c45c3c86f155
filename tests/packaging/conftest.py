"""What the tests of packaging start from: a folder to write a recipe in, and blobs in memory."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from isolation.errors import IsolationError
from isolation.model.package import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Blobs:
    """Blobs in memory."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}

    def put(self, content: bytes) -> str:
        """Keep content."""
        digest = digest_of(content)
        self.contents[digest] = content
        return digest

    def get(self, digest: str) -> bytes:
        """Return content."""
        return self.contents[digest]


class Folder:
    """A recipe's folder; ``write`` makes files in it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, **texts: str) -> Path:
        """Write files: ``__`` in a name is a folder's ``/``, and the last ``_`` stands for the dot."""
        for name, text in texts.items():
            stem, _, suffix = name.replace("__", "/").rpartition("_")
            self.put(f"{stem}.{suffix}", text)
        return self.path

    def put(self, name: str, text: str = "") -> Path:
        """Write one file of any name, and return its path."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), "utf-8")
        return path


@pytest.fixture
def blobs() -> Blobs:
    return Blobs()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    path = tmp_path / "etl"
    path.mkdir()
    return Folder(path.resolve())


@pytest.fixture
def told() -> Callable[[Callable[[], object]], str]:
    """Return what a person reads: the sentence and the hint of the error that a call raises."""

    def tell(call: Callable[[], object]) -> str:
        with pytest.raises(IsolationError) as raised:
            call()
        return "\n".join(part for part in (raised.value.sentence, raised.value.hint) if part)

    return tell
