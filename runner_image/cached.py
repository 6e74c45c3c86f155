"""
What earlier runs made of what they found, to be taken by a step that would find the same; and what a step found.

Whoever finds the same with the same code is taken to make the same. What a step can find is in its args and in the
context, of which its reads are known. Files are not: so none may lie about, neither before nor after it.
"""

from __future__ import annotations

import json
from _blake2 import blake2b  # what hashlib.blake2b is; its module loads all of OpenSSL

from broom import leaves_nothing

from isolation.rules.combine import ABSENT
from isolation.taken import MissingError, fill

TYPE_CHECKING = False  # not typing's: run.py says why
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Cache:
    """Chooses what a step may take, and says what one that ran has found. ``kept`` are results, by the step's name."""

    def __init__(self, kept: dict) -> None:
        self._kept: dict[str, list[dict]] = kept
        self._began_clean: dict[str, bool] = {}

    def begin(self, name: str) -> None:
        """Remember what a try of a step begins with."""
        self._began_clean[name] = leaves_nothing()

    def find(self, step: dict, values: Mapping) -> tuple[int, dict] | None:
        """Return the newest result that was made of what the step would find now, and its place; None without any."""
        kept = self._kept.get(step["name"], ())
        args = _filled(step) if kept else None
        if args is None or not leaves_nothing():
            return None
        looked_up: dict[str, str] = {}

        def look(key: str) -> str:
            if key not in looked_up:
                looked_up[key] = _digest_under(key, values)
            return looked_up[key]

        for place, result in enumerate(kept):
            if found(args, result["reads"], look) == result["found"]:
                return place, result
        return None

    def tell(self, step: dict, answer: dict, values: Mapping, seen: Mapping) -> dict:
        """
        Say what a step that succeeded had found, or why nobody is to take what it made.

        ``values`` is the context before the step's changes, and ``seen`` what it saw of keys that changed meanwhile.
        """
        why = self._why_not(step["name"], answer)
        args = None if why else _filled(step)
        if args is None:
            return {"found": "", "unkept": why}

        def look(key: str) -> str:
            return _digest_under(key, seen if key in seen else values)

        return {"found": found(args, answer["reads"], look), "unkept": ""}

    def _why_not(self, name: str, answer: dict) -> str:
        if answer["read_all"]:
            return "it counts as having read all that it may see"
        if not self._began_clean.pop(name, False):
            return "files of other steps lay in its folders when it began"
        if not leaves_nothing():
            return "files lay in its folders when it ended"
        if answer.get("combined") or answer.get("dropped"):
            return "a step that ran at once changed the same keys"
        return ""


def found(args: dict, reads: list[str], look: Callable[[str], str]) -> str:
    """
    Write down what a step found as one digest: its args, and under each key the digest that ``look`` gives.

    What differs in the order of a mapping's keys alone is another thing: a step can see it.
    """
    return _digest([args, [[key, look(key)] for key in reads]])


def _digest_under(key: str, values: Mapping) -> str:
    value = values.get(key, ABSENT)
    return "" if value is ABSENT else _digest(value)


def _digest(value: object) -> str:
    content = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    return blake2b(content, digest_size=32).hexdigest()


def _filled(step: dict) -> dict | None:
    """Return a step's args with what they take from other steps; None where something of that is missing."""
    if not step["args_from"]:
        args: dict = step["args"]
        return args
    copied: dict = json.loads(json.dumps(step["args"]))
    try:
        fill({"args": copied, "args_from": step["args_from"], "taken": step["taken"]})
    except MissingError:
        return None
    return copied
