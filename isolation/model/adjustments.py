"""What whoever runs a recipe wants done otherwise than it says. Cheap to import: the command line does, each time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Adjustments:
    """
    None leaves what the recipe says; times are in seconds.

    ``step_timeout_s`` holds for every step whose own time is not shorter. ``max_retries`` are the further tries of
    every step, after ``retry_delay_s`` each. Without ``continue_on_error`` the first failure is the last.
    With ``no_cache`` every step runs, and nothing of it is kept to be taken by others.
    """

    continue_on_error: bool | None = None
    step_timeout_s: float | None = None
    max_retries: int | None = None
    retry_delay_s: float | None = None
    no_cache: bool = False


NO_ADJUSTMENTS = Adjustments()
