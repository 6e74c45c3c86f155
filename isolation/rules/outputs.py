"""Which outputs of other steps a step may take: those of steps that have surely ended well when it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from pydantic import JsonValue

    from isolation.model.recipe import Filled, Step


class Misplaced(NamedTuple):
    """``step``'s entry ``number`` of ``args_from`` cannot be filled; ``why`` and ``hint`` are for people."""

    step: Step
    number: int
    why: str
    hint: str


def misplaced(steps: Sequence[Step]) -> Iterator[Misplaced]:
    """Yield what is wrong with the ``args_from`` of steps, of which each stands after all that it depends on."""
    before = _before(steps)
    bits = {step.name: 1 << index for index, step in enumerate(steps)}
    for step in steps:
        taken: set[tuple[str | int, ...]] = set()
        for number, filled in enumerate(step.args_from):
            for output in filled.outputs():
                if not before[step.name] & bits.get(output.step, 0):
                    why = f"step {step.name!r} takes outputs of {output.step!r}, and does not come after it"
                    yield Misplaced(step, number, why, _mend(step, output.step, bits))
            if filled.at in taken or not _is_free(step, filled):
                why = f"step {step.name!r} takes outputs into its args at {_shown(filled.at)}, where no null stands"
                yield Misplaced(step, number, why, "Write null there in args, and fill each place once.")
            taken.add(filled.at)


def _before(steps: Sequence[Step]) -> dict[str, int]:
    """Find all steps that each step waits for, directly or not, as bits of a number: thousands are quick that way."""
    bits = {step.name: 1 << index for index, step in enumerate(steps)}
    before: dict[str, int] = {}
    for step in steps:
        before[step.name] = 0
        for name in step.depends_on:
            before[step.name] |= before[name] | bits[name]
    return before


def _mend(step: Step, other: str, known: Collection[str]) -> str:
    if other not in known:
        return "There is no step of that name."
    return "Its own are not there before it ends." if other == step.name else f"Add {other!r} to its depends_on."


def _is_free(step: Step, filled: Filled) -> bool:
    value: JsonValue = step.args
    for part in filled.at:
        found = isinstance(part, str) and isinstance(value, dict) and part in value
        found = found or (isinstance(part, int) and isinstance(value, list) and 0 <= part < len(value))
        if not found:
            return False
        value = value[part]  # type: ignore[index]
    return value is None


def _shown(at: Sequence[str | int]) -> str:
    return repr(".".join(map(str, at)))
