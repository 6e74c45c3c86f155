"""How often each fault is made: the tests use these figures, and docs/reliability.md shows them."""

from __future__ import annotations

AT_ONCE = 64
"""Merges that meet."""
RUNS_EACH = 1
"""How many runs each of them makes."""
DELIVERIES = 10
"""How often the same result comes, at most."""
RUNS = 10_000
"""Runs that are merged one after another into one store."""
KEYS_EACH = 10
"""Keys that each of them changes."""
POWER_CUTS = 10
"""How often a machine loses its power while it merges."""
JUMPS = {"+1h": 3600, "-1h": -3600, "+1d": 86400}
"""How far the time of day is set, as libfaketime has it, and in seconds."""
