"""Property tests judge what comes out, not how long it took on a machine that does other things at the same time."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("unhurried", settings(), deadline=None)
settings.load_profile("unhurried")
