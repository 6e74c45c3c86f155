"""
What a batch runs on: for each run the context values for it alone, from a program, or one JSON object a line.

A file is read line by line, and strictly (RFC 7493); each of its lines is an input, so that the number of an input is
that of its line.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from isolation.contract import MAX_VALUE_BYTES, Malformed, loads
from isolation.errors import FileError, InputError
from isolation.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pydantic import JsonValue

    Context = Mapping[str, JsonValue]

STANDARD_INPUT = "-"
_LONGEST_LINE_BYTES = 16 * MAX_VALUE_BYTES


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """
    Inputs, numbered from 1. ``path`` names their file, for people; empty where they come from a program.

    ``count`` None: they can be read once, and nobody knows how many will come.
    """

    read: Callable[[], Iterator[Context]]
    count: int | None = None
    path: str = ""

    def refused(self, number: int, sentence: str, hint: str = "") -> InputError:
        """Make the error that says what is wrong with one of them."""
        if self.path:
            return FileError(sentence, hint=hint, path=self.path, line=number)
        return InputError(f"input {number}: {sentence}", hint=hint)


def inputs_of(given: Iterable[Context] | Path | str) -> Inputs:
    """
    Return the inputs that are given: a file of them, ``-`` for standard input, or the inputs themselves.

    A pipe is read as it comes; what can be read twice is counted first. Raises FileError where there is no such file.
    """
    if isinstance(given, str | Path):
        path = "standard input" if str(given) == STANDARD_INPUT else str(given)
        return Inputs(read=lambda: _read(given, path), count=_count(given), path=path)
    return Inputs(read=lambda: iter(given), count=len(given) if isinstance(given, Collection) else None)


def _read(given: Path | str, path: str) -> Iterator[Context]:
    with _opened(given) as file:
        number = 0
        while line := file.readline(_LONGEST_LINE_BYTES + 1):
            number += 1
            yield _object(line, path, number)


def _object(line: bytes, path: str, number: int) -> Context:
    hint = 'Each line is a JSON object of context values for one run, as in {"region": "eu"}.'
    if len(line) > _LONGEST_LINE_BYTES:
        raise FileError(f"the line is longer than {format_bytes(_LONGEST_LINE_BYTES)}", path=path, line=number)
    if not line.strip():
        raise FileError("the line is empty", hint=hint, path=path, line=number)
    try:
        value = loads(line)
    except Malformed as error:
        raise FileError(str(error), hint=hint, path=path, line=number) from error
    if not isinstance(value, dict):
        raise FileError("the line is no JSON object", hint=hint, path=path, line=number)
    return value


def _count(given: Path | str) -> int | None:
    if str(given) == STANDARD_INPUT:
        return None
    with _faults(given):
        # Not opened yet: whoever writes to a pipe would lose its reader.
        if not stat.S_ISREG(Path(given).stat().st_mode):
            return None
    with _opened(given) as file:
        return sum(1 for _ in file)


def _opened(given: Path | str) -> IO[bytes]:
    if str(given) == STANDARD_INPUT:
        # Not sys.stdin's own buffer: Python cannot end while a thread waits in that.
        return os.fdopen(0, "rb", closefd=False)
    with _faults(given):
        return os.fdopen(os.open(given, os.O_RDONLY | os.O_CLOEXEC), "rb")


@contextmanager
def _faults(given: Path | str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        raise FileError(f"the inputs cannot be read: {said}", hint="Check the file's name.", path=given) from error
