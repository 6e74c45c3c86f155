"""What these tests share with those of cells: tiny recipes, on the machine's own engine."""

from __future__ import annotations

from tests.sandbox.conftest import controller, recipe, run

__all__ = ["controller", "recipe", "run"]
