"""What faults are made with."""

from __future__ import annotations

import shutil

import pytest


@pytest.fixture
def strace() -> str:
    """Tell where it is; Linux has it, and nothing else does."""
    found = shutil.which("strace")
    if found is None:
        pytest.skip("strace is not installed; scripts/test installs it on Debian and Ubuntu")
    return found
