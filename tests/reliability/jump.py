"""
A run in whose midst the time of day is set, as a program under libfaketime.

``python -m tests.reliability.jump STATE RECIPE WALL_S OFFSET``: at the recipe's first line of output, the file that
libfaketime reads (FAKETIME_TIMESTAMP_FILE) gets the offset. Prints the outcome, the run's own seconds, and how far the
clock of this process was seen to jump.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from isolation.api import open_controller
from isolation.model.event import LogLine
from isolation.model.policy import Limits, Policy
from tests.reliability.one_run import say

if TYPE_CHECKING:
    from isolation.model.event import Event


class Jumps:
    """Sets the time of day once."""

    def __init__(self, offset: str) -> None:
        self.offset = offset
        self.seen_s = 0.0

    def on_event(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, LogLine) and not self.seen_s:
            before_s = time.time()
            Path(os.environ["FAKETIME_TIMESTAMP_FILE"]).write_text(self.offset)
            self.seen_s = time.time() - before_s


def main(state: str, recipe: str, wall_s: str, offset: str) -> None:
    """Run it."""
    jumps = Jumps(offset)
    policy = Policy(name="test", limits=Limits.model_validate({"wall": float(wall_s), "step_wall": float(wall_s)}))
    with open_controller(state=Path(state)) as controller:
        result = controller.run(recipe, policy=policy, watcher=jumps)
    say(f"{result.outcome.value} {result.usage.wall_s} {jumps.seen_s}")


if __name__ == "__main__":
    main(*sys.argv[1:])
