"""What faults are made with."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from isolation.stores import Stores

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def stores(tmp_path: Path, url: str | None) -> Iterator[Stores]:
    """Open the stores of an empty state folder, with each kind of database."""
    with Stores(tmp_path / "state", url) as stores:
        yield stores


@pytest.fixture
def strace() -> str:
    """Tell where it is; Linux has it, and nothing else does."""
    found = shutil.which("strace")
    if found is None:
        pytest.skip("strace is not installed; scripts/test installs it on Debian and Ubuntu")
    return found
