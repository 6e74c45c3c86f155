"""No row of the catalogue is forgotten: each has a test that bears its number."""

from __future__ import annotations

import re
from pathlib import Path

from tests.hostile.conftest import RUNTIMES
from tests.hostile.on_gvisor import DIFFERENCES
from tests.hostile.rows import ROWS

_TEST = re.compile(r"^def test_row_(\d{3})_", re.MULTILINE)
_DIFFERS = re.compile(r"(?:differs|rights)\([^()]*, (\d+)\)")


def _tested() -> set[int]:
    """Read the numbers off the names of all tests: those that need no attack lie in folders beside this one."""
    files = Path(__file__).parents[1].rglob("test_*.py")
    return {int(number) for file in files for number in _TEST.findall(file.read_text())}


def test_every_row_has_a_test() -> None:
    """What has none was forgotten; and a number that is no row's is a slip."""
    assert _tested() == {row for section in ROWS.values() for row in section}


def test_row_166_every_difference_on_gvisor_is_explained_and_none_is_only_explained() -> None:
    """A test that expects another end there names its row, and the list says why; else the list is out of date."""
    files = Path(__file__).parent.glob("test_*.py")
    used = {int(number) for file in files for number in _DIFFERS.findall(file.read_text())}

    assert used == {*DIFFERENCES}
    assert {"runc", "runsc"} <= {*RUNTIMES}
