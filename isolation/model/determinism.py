"""What a policy holds still so that a run comes out the same again, and what may differ all the same."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from isolation.model.recipe import Leeway

ZONE = r"^[A-Za-z0-9_+\-]{1,30}(/[A-Za-z0-9_+\-]{1,30}){0,2}$"
_Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]


class Determinism(Leeway):
    """
    What is the same in every run, as far as Python can be told.

    ``random`` for a seed, ``as_is`` and ``host`` leave it as it is. ``cpu_count`` is what ``os.cpu_count()`` says; how
    much is computed at once is ``limits.cpus``.
    """

    seed: _Seed | Literal["random"] = 0
    hash_seed: _Seed | Literal["random"] = 0
    time_zone: str = Field(default="UTC", pattern=ZONE)
    directory_order: Literal["sorted", "reversed", "as_is"] = "sorted"
    cpu_count: Annotated[int, Field(ge=1, le=1024)] | Literal["limit", "host"] = "limit"

    def cpus_told(self, cpus: float) -> int | None:
        """
        Return how many processors Python is told of under this limit; None: the truth.

        >>> Determinism().cpus_told(1.5), Determinism(cpu_count="host").cpus_told(1.5)
        (2, None)
        """
        if isinstance(self.cpu_count, int):
            return self.cpu_count
        return math.ceil(cpus) if self.cpu_count == "limit" else None
