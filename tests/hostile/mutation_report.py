"""What row 167 found, as a table: each line of the hardening, who finds out that it is missing, and which attacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

PROPERTY = "mutation"
FILE = "hardening.md"


def rows_of(reports: Iterable[object]) -> list[tuple[str, bool, list[str]]]:
    """Gather what the tests recorded, whichever process they ran in."""
    found = (value for report in reports for name, value in getattr(report, "user_properties", ()) if name == PROPERTY)
    by_name = {what: (refused, red) for what, refused, red in found}  # a test reports for each of its phases
    return [(what, refused, [*red]) for what, (refused, red) in sorted(by_name.items())]


def write(rows: list[tuple[str, bool, list[str]]], folder: Path) -> Path:
    """Write the table into a folder, and return where it lies."""
    folder.mkdir(exist_ok=True)
    path = folder / FILE
    path.write_text("\n".join(_lines(rows)) + "\n", encoding="utf-8")
    return path


def _lines(rows: list[tuple[str, bool, list[str]]]) -> Iterator[str]:
    yield "| without | refused by attestation | attacks that get through where it is not asked |"
    yield "| --- | --- | --- |"
    for what, refused, red in rows:
        yield f"| {what} | {'yes' if refused else 'not seen'} | {_rows(red)} |"


def _rows(tests: list[str]) -> str:
    numbers = {int(test.split("_")[2]) for test in tests}
    return ", ".join(f"row {number}" for number in sorted(numbers))


def summary(rows: list[tuple[str, bool, list[str]]]) -> Iterator[str]:
    """Say it in lines that fit a terminal."""
    for what, refused, red in rows:
        yield f"{what:<56} {'refused' if refused else 'not seen':<9} {_rows(red) or 'NOTHING'}"
