"""A secret: a value that a recipe may use and nobody may see."""

from __future__ import annotations

from typing import NoReturn


class Secret:
    """A name and a value that no ``repr``, no comparison and no pickle tells of; only ``reveal`` does."""

    __slots__ = ("_value", "name")

    def __init__(self, name: str, value: str) -> None:
        self.name = name
        self._value = value

    def __repr__(self) -> str:
        return f"Secret({self.name!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is never written down")

    def reveal(self) -> str:
        """Return the value: for the channel, and for whoever looks for it in what comes back."""
        return self._value
