"""
For tests: of scriptlets and recipes, with pytest (``plugin``, ``kit``, ``ran``), and our own, without containers.

What stands here is imported when it is first used: pytest loads the plugin in every session.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from isolation.testing.engine import IMAGE, FakeContainer, FakeEngine, Inside, answering, idle
    from isolation.testing.kit import RunRecipe, RunScriptlet
    from isolation.testing.ran import Log, Ran

__all__ = [
    "IMAGE",
    "FakeContainer",
    "FakeEngine",
    "Inside",
    "Log",
    "Ran",
    "RunRecipe",
    "RunScriptlet",
    "answering",
    "idle",
]

_HOMES = {"Log": "ran", "Ran": "ran", "RunRecipe": "kit", "RunScriptlet": "kit"}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'engine')}"), name)
