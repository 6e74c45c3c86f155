"""No row of the catalogue is forgotten: each has a test that bears its number, or a reason that pytest -rs shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.hostile.conftest import RUNTIMES
from tests.hostile.on_gvisor import DIFFERENCES
from tests.hostile.rows import NOT_TESTED, ROWS

_TEST = re.compile(r"^def test_row_(\d{3})_", re.MULTILINE)
_DIFFERS = re.compile(r"(?:differs|rights)\([^()]*, (\d+)\)")


def _tested() -> set[int]:
    """Read the numbers off the names of all tests: those that need no attack lie in folders beside this one."""
    files = Path(__file__).parents[1].rglob("test_*.py")
    return {int(number) for file in files for number in _TEST.findall(file.read_text())}


def test_every_row_has_a_test_or_a_reason() -> None:
    """What is neither tested nor explained was forgotten."""
    rows = {row for section in ROWS.values() for row in section}

    assert rows - _tested() - set(NOT_TESTED) == set()
    assert (_tested() | set(NOT_TESTED)) - rows == set()


def test_no_row_has_both() -> None:
    """A reason beside a test is a reason that is not true any more."""
    assert _tested() & set(NOT_TESTED) == set()


def test_row_166_every_difference_on_gvisor_is_explained_and_none_is_only_explained() -> None:
    """A test that expects another end there names its row, and the list says why; else the list is out of date."""
    files = Path(__file__).parent.glob("test_*.py")
    used = {int(number) for file in files for number in _DIFFERS.findall(file.read_text())}

    assert used == {*DIFFERENCES}
    assert {"runc", "runsc"} <= {*RUNTIMES}


@pytest.mark.parametrize("row", sorted(NOT_TESTED), ids="row_{:03}".format)
def test_row_is_not_tested_and_here_is_why(row: int) -> None:
    """Shown with the other skips, so that nobody takes the green for more than it is."""
    pytest.skip(f"row {row}: {NOT_TESTED[row]}")
