"""
What a step takes from outputs of steps before it, put into its ``args`` when it starts; in a cell and on the host.

The standard library only: the image has this file, too.
"""

from __future__ import annotations

import json

TYPE_CHECKING = False  # a cell does without typing
if TYPE_CHECKING:
    from typing import Any


class MissingError(LookupError):
    """A step returned no such output, or one that cannot stand where it is to."""


def sources(step: dict[str, Any]) -> list[str]:
    """Name the steps whose outputs a step takes."""
    named = [part["step"] for filled in step["args_from"] for part in filled["parts"] if isinstance(part, dict)]
    return [*dict.fromkeys(named)]


def fill(step: dict[str, Any]) -> None:
    """Put them into the step's args; ``step["taken"]`` holds what the steps named returned. Raises MissingError."""
    for filled in step["args_from"]:
        parts = [part if isinstance(part, str) else _find(part, step["taken"]) for part in filled["parts"]]
        *way, last = filled["at"]
        owner = step["args"]
        for at in way:
            owner = owner[at]
        owner[last] = parts[0] if len(parts) == 1 else "".join(map(_text, parts))


def _find(part: dict[str, Any], taken: dict[str, Any]) -> object:
    value: Any = taken[part["step"]]
    for at in part["output"]:
        there = at in value if isinstance(value, dict) else isinstance(value, list) and at in range(len(value))
        if not there:
            way = ".".join(map(str, part["output"]))
            raise MissingError(f"step {part['step']!r} returned no output {way!r}")
        value = value[at]
    return json.loads(json.dumps(value))  # a copy for each place


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, dict | list):
        raise MissingError(f"an output that stands inside of a text is {_kind(value)}")
    return json.dumps(value)


def _kind(value: object) -> str:
    return "null" if value is None else "a mapping" if isinstance(value, dict) else "a list"
