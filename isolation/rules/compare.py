"""
Compare two runs: what they came from, what became of them, and what they used.

What came out counts: outcome, steps and their outputs, changes, artifacts. What they logged came out too, and does not
count. Where they ran, what they were made from and what they used explains a difference, and is none by itself.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from isolation.model.difference import Comparison, Difference
from isolation.rules.combine import ABSENT, same
from isolation.rules.compare_logs import log_differences
from isolation.rules.scope import matches

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pydantic import JsonValue

    from isolation.model.difference import Area, Verdict
    from isolation.model.event import LogLine
    from isolation.model.recipe import Leeway
    from isolation.model.run import Result, StepReport
    from isolation.rules.combine import Value

_OUT = {"outcome", "step", "output", "change", "artifact", "log"}
_NOISE = {
    "wall_s": (1.5, 0.25),
    "cpu_s": (1.5, 0.1),
    "memory_peak_bytes": (1.25, 4 * 2**20),
    "pids_peak": (1.25, 2),
}
"""Beside each figure: by what factor, and by how much, two runs of the same may differ."""


class Comparing:
    """Compares with some leeway: what may differ without being another result."""

    def __init__(self, leeway: Leeway | None = None) -> None:
        self._volatile = leeway.volatile if leeway else ()
        self._tolerance = leeway.tolerance if leeway else 0.0

    def compare(
        self, left: Result, right: Result, *, logs: tuple[Iterable[LogLine], Iterable[LogLine]] = ((), ())
    ) -> Comparison:
        """Compare two finished runs, and what each of them logged."""
        found = [
            *self._plain("origin", asdict(left.digests), asdict(right.digests)),
            *self._plain("environment", _engine(left), _engine(right)),
            *self._plain("outcome", _outcome(left), _outcome(right)),
            *self._steps(_steps(left), _steps(right)),
            *self._keyed("change", left.changes.set, right.changes.set),
            *self._deleted(left.changes.deleted, right.changes.deleted),
            *self._keyed("artifact", _artifacts(left), _artifacts(right)),
            *log_differences(*logs),
            *_usage(left, right),
        ]
        counting = [one for one in found if one.counts]
        steps = [one.step for one in counting if one.area in {"step", "output"}]
        names = [step.name for step in _steps(left).values()]
        return Comparison(
            left=left.run_id,
            right=right.run_id,
            verdict=_verdict(found),
            first_step=min(steps, key=lambda name: names.index(name) if name in names else len(names), default=""),
            differences=tuple(found),
        )

    def _plain(self, area: Area, left: Mapping[str, JsonValue], right: Mapping[str, JsonValue]) -> Iterator[Difference]:
        for name in left:
            if left[name] != right[name]:
                counts = area in _OUT
                yield Difference(area=area, what=name, left=left[name], right=right[name], counts=counts, name=name)

    def _steps(self, left: Mapping[str, StepReport], right: Mapping[str, StepReport]) -> Iterator[Difference]:
        for name in [*left, *(name for name in right if name not in left)]:
            one, another = left.get(name), right.get(name)
            if one is None or another is None:
                there = [None if step is None else step.outcome.value for step in (one, another)]
                yield self._of_step(name, "", there[0], there[1])
                continue
            was_said, is_said = _said(one), _said(another)
            for field in was_said:
                if was_said[field] != is_said[field]:
                    yield self._of_step(name, field, was_said[field], is_said[field])
            for path, was, now in differing(one.outputs, another.outputs):
                what = f"step {name}: outputs{f'.{path}' if path else ''}"
                yield self._difference("output", what, f"{name}.{path}" if path else name, was, now, step=name)

    def _of_step(self, step: str, field: str, left: JsonValue, right: JsonValue) -> Difference:
        what, counts = f"step {step}: {field}" if field else f"step {step}", field != "tries"
        return Difference(area="step", what=what, left=left, right=right, counts=counts, name=step, step=step)

    def _keyed(self, area: Area, left: Mapping[str, JsonValue], right: Mapping[str, JsonValue]) -> Iterator[Difference]:
        for key in sorted({*left, *right}):
            for path, was, now in differing(left.get(key, ABSENT), right.get(key, ABSENT)):
                yield self._difference(area, f"{key}: {path}" if path else key, key, was, now)

    def _deleted(self, left: Sequence[str], right: Sequence[str]) -> Iterator[Difference]:
        for key in sorted({*left} ^ {*right}):
            yield self._difference("change", f"{key}: deleted", key, key in left, key in right)

    def _difference(self, area: Area, what: str, name: str, left: Value, right: Value, *, step: str = "") -> Difference:
        return Difference(
            area=area,
            what=what,
            left=None if left is ABSENT else left,
            right=None if right is ABSENT else right,
            counts=not (matches(name, self._volatile) or _near(left, right, self._tolerance)),
            missing="left" if left is ABSENT else "right" if right is ABSENT else "",
            name=name,
            step=step,
        )


def differing(left: Value, right: Value, path: str = "") -> Iterator[tuple[str, Value, Value]]:
    """
    Yield what differs within two values, by its path.

    >>> list(differing({"a": 1, "b": [1, 2]}, {"a": 1, "b": [1, 3], "c": 0}))
    [('b.1', 2, 3), ('c', <Absent.ABSENT: 'absent'>, 0)]
    """
    if same(left, right):
        return
    if isinstance(left, dict) and isinstance(right, dict):
        for key in [*left, *(key for key in right if key not in left)]:
            yield from differing(left.get(key, ABSENT), right.get(key, ABSENT), f"{path}.{key}" if path else key)
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for index, (one, another) in enumerate(zip(left, right, strict=True)):
            yield from differing(one, another, f"{path}.{index}" if path else str(index))
    else:
        yield path, left, right


def _near(left: Value, right: Value, tolerance: float) -> bool:
    numbers = [value for value in (left, right) if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) != len((left, right)) or not tolerance:
        return False
    return abs(numbers[0] - numbers[1]) <= tolerance * max(abs(number) for number in numbers)


def _verdict(found: Sequence[Difference]) -> Verdict:
    if any(one.counts for one in found):
        return "diverged"
    return "equivalent" if any(one.area in _OUT for one in found) else "identical"


def _outcome(result: Result) -> dict[str, JsonValue]:
    return {"outcome": result.outcome.value, "cause": result.cause}


def _engine(result: Result) -> dict[str, JsonValue]:
    return asdict(result.engine) if result.engine else {}


def _said(step: StepReport) -> dict[str, JsonValue]:
    error = step.error.type if step.error else ""
    return {"outcome": step.outcome.value, "cause": step.cause, "error": error, "tries": step.tries}


def _steps(result: Result) -> dict[str, StepReport]:
    return {step.name: step for step in (result.attempts[-1].steps if result.attempts else ())}


def _artifacts(result: Result) -> dict[str, JsonValue]:
    return {artifact.name: artifact.digest for artifact in result.artifacts}


def _usage(left: Result, right: Result) -> Iterator[Difference]:
    for name, (factor, least) in _NOISE.items():
        one, another = getattr(left.usage, name), getattr(right.usage, name)
        if one is None or another is None:
            continue
        low, high = sorted((one, another))
        if high > low * factor and high - low > least:
            yield Difference(area="usage", what=name, left=one, right=another, counts=False)
