"""What a policy holds still so that a run comes out the same again, and what may differ all the same."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PlainValidator

from isolation.model.recipe import Leeway

ZONE = r"^[A-Za-z0-9_+\-]{1,30}(/[A-Za-z0-9_+\-]{1,30}){0,2}$"
_LATEST = 4_102_444_800  # 2100


def _number_or(words: tuple[str, ...], least: int, most: int) -> PlainValidator:
    """Take one of the words, or a number."""

    def check(value: object) -> object:
        number = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
        if not number and value not in words:
            raise ValueError(f"{value!r} is none of {', '.join(words)}, and no number from {least} to {most}")
        return value

    return PlainValidator(check)


_Seed = Annotated[int | Literal["random"], _number_or(("random",), 0, 2**32 - 1)]
_Count = Annotated[int | Literal["limit", "host"], _number_or(("limit", "host"), 1, 1024)]


def _moment(text: str) -> str:
    """
    Check a moment of whole seconds, as RFC 3339 writes it.

    >>> _moment("2000-01-01T00:00:00Z")
    '2000-01-01T00:00:00Z'
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or moment.microsecond or not 0 < moment.timestamp() < _LATEST:
        raise ValueError(f"{text!r} is no moment; write one from 1970 to 2099, such as 2000-01-01T00:00:00Z")
    return text


class Determinism(Leeway):
    """
    What is the same in every run, as far as Python can be told.

    ``random`` for a seed, ``as_is``, ``host`` and ``real`` leave it as it is. ``cpu_count`` is what ``os.cpu_count()``
    says; how much is computed at once is ``limits.cpus``. The clock is ``set`` to ``clock_at`` when the cell starts,
    and goes on from there, or stands still there (``frozen``).
    """

    seed: _Seed = 0
    hash_seed: _Seed = 0
    time_zone: str = Field(default="UTC", pattern=ZONE)
    clock: Literal["real", "set", "frozen"] = "real"
    clock_at: Annotated[str, AfterValidator(_moment)] = "2000-01-01T00:00:00Z"
    directory_order: Literal["sorted", "reversed", "as_is"] = "sorted"
    cpu_count: _Count = "limit"

    @property
    def clock_at_s(self) -> int:
        """The moment of the clock, in seconds since 1970."""
        return round(datetime.fromisoformat(self.clock_at).timestamp())

    def cpus_told(self, cpus: float) -> int | None:
        """
        Return how many processors Python is told of under this limit; None: the truth.

        >>> Determinism().cpus_told(1.5), Determinism(cpu_count="host").cpus_told(1.5)
        (2, None)
        """
        if isinstance(self.cpu_count, int):
            return self.cpu_count
        return math.ceil(cpus) if self.cpu_count == "limit" else None
