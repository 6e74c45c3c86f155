"""What rules want, checked."""

from __future__ import annotations

from typing import Any


class RuleError(ValueError):
    """A rule or a condition is none; the text says why."""


def names(wanted: object, rule: str) -> list[str]:
    """Return a list of names. Raises RuleError for what is none, or names one twice."""
    if not isinstance(wanted, list) or not wanted or not all(isinstance(name, str) for name in wanted):
        raise RuleError(f"{rule} wants a list of fields, not {wanted!r:.80}")
    if len({*wanted}) != len(wanted):
        raise RuleError(f"{rule} names a field twice: {', '.join(wanted)}")
    return wanted


def mapping(wanted: object, rule: str, what: str) -> dict[str, Any]:
    """Return a mapping by names. Raises RuleError for what is none, or empty."""
    if not isinstance(wanted, dict) or not wanted or not all(isinstance(name, str) for name in wanted):
        raise RuleError(f"{rule} wants {what}, not {wanted!r:.80}")
    return wanted


def words(wanted: dict[str, Any], rule: str, required: set[str], optional: set[str]) -> None:
    """Check the words of a rule. Raises RuleError for one that is missing, or that nobody knows."""
    for word in wanted:
        if word not in required | optional:
            raise RuleError(f"{rule} knows no {word!r}: {', '.join(sorted(required | optional))}")
    missing = sorted(required - {*wanted})
    if missing:
        raise RuleError(f"{rule} wants {', '.join(missing)}, too")
