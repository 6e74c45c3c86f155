"""Two changes of one value: what becomes of both, and what no rule may decide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from isolation.rules.combine import ABSENT, COMBINING, ClashError, combine, same

if TYPE_CHECKING:
    from isolation.rules.combine import Value

INTEGERS = some.integers(-(2**50), 2**50)
LISTS = some.lists(some.integers(0, 5), max_size=5)
LEAVES = some.integers(0, 2)
OBJECTS = some.dictionaries(some.sampled_from("abc"), LEAVES | some.dictionaries(some.sampled_from("xy"), LEAVES))
ANYTHING = some.recursive(
    some.none() | some.booleans() | some.integers(-9, 9) | some.sampled_from([0.5, 1.0]) | some.text(max_size=2),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.sampled_from("ab"), inner, max_size=2),
    max_leaves=6,
)


@given(INTEGERS, some.permutations([3, -5, 7]))
def test_additions_all_count_in_any_order(base: int, added: list[int]) -> None:
    """Each run saw the base, and none the others."""
    total: Any = base
    for one in added:
        total = combine("add", base, total, base + one)

    assert total == base + 5


def test_an_addition_to_nothing_begins_at_zero_and_fractions_are_rounded_once() -> None:
    """0.1 and 0.2 and so on: as exact as the numbers are."""
    assert combine("add", ABSENT, 2, 3) == 5
    assert combine("add", 0.1, 0.3, 0.2) == pytest.approx(0.4)
    assert same(combine("add", 1, 2, 3), 4)
    assert same(combine("add", 1, 2.0, 3), 4.0)


@given(LISTS, some.lists(LISTS, max_size=3))
def test_everything_that_was_appended_is_there(base: Any, tails: list[Any]) -> None:  # noqa: ANN401 - JSON
    """In the order in which the runs ended, behind what all of them saw."""
    content: Any = base
    for tail in tails:
        content = combine("append", base, content, base + tail)

    assert content == base + [item for tail in tails for item in tail]


@given(LISTS, LISTS, LISTS)
def test_a_union_has_the_items_of_both_once(base: Any, theirs: Any, ours: Any) -> None:  # noqa: ANN401 - JSON
    """And what theirs has stays as it is, in its order."""
    united: Any = combine("union", base, theirs, ours)

    assert united[: len(theirs)] == theirs
    assert {*united} == {*theirs, *ours}
    assert len(united) == len(theirs) + len({*ours} - {*theirs})


@given(INTEGERS, INTEGERS, INTEGERS)
def test_the_larger_and_the_smaller_of_both(base: int, theirs: int, ours: int) -> None:
    """Whatever it was before."""
    assert combine("max", base, theirs, ours) == max(theirs, ours)
    assert combine("min", base, theirs, ours) == min(theirs, ours)


@given(OBJECTS, OBJECTS, OBJECTS)
def test_what_one_alone_changed_within_an_object_is_there(base: Any, theirs: Any, ours: Any) -> None:  # noqa: ANN401 - JSON
    """At the first level, key by key; and it does not matter who came first."""
    try:
        combined: Any = combine("deep", base, theirs, ours)
    except ClashError:
        with pytest.raises(ClashError):
            combine("deep", base, ours, theirs)
        return

    assert same(combined, combine("deep", base, ours, theirs))
    for key in {*base, *theirs, *ours}:
        was, other, own = (one.get(key, ABSENT) for one in (base, theirs, ours))
        if same(was, other):
            assert same(combined.get(key, ABSENT), own)
        if same(was, own):
            assert same(combined.get(key, ABSENT), other)


@given(some.sampled_from(sorted(COMBINING)), ANYTHING | some.just(ABSENT), ANYTHING | some.just(ABSENT), ANYTHING)
def test_of_any_values_a_rule_makes_one_or_says_why_not(rule: str, base: Any, theirs: Any, ours: Any) -> None:  # noqa: ANN401 - JSON
    """No other error ever; and where ours changed nothing, theirs stays, but for what unites or compares."""
    try:
        combined = combine(rule, base, theirs, ours)
    except ClashError:
        return
    if rule in {"add", "append", "deep"} and same(base, ours):
        assert same(combined, theirs) or (isinstance(combined, float) and combined == theirs)


CLASHES: dict[str, tuple[str, Value, Value, Value, str]] = {
    "a text is no number": ("add", 1, 2, "3", "ours is a text, not a number"),
    "true is no number": ("max", 1, True, 3, "theirs is true or false, not a number"),
    "deleted by them": ("add", 1, ABSENT, 3, "theirs is gone, not a number"),
    "deleted by us": ("deep", {}, {"a": 1}, ABSENT, "ours is gone, not an object"),
    "it was something else": ("append", "text", [1], [2], "it began with a text, not a list"),
    "not behind what was there": ("append", [1, 2], [1, 2, 3], [2], "ours does not begin with what was there"),
    "one as a number, one as a fraction": ("append", [1], [1, 2], [1.0, 3], "ours does not begin with"),
    "both within": ("deep", {"a": {"b": 1}}, {"a": {"b": 2}}, {"a": {"b": 3}}, "both changed 'a.b' within it"),
    "changed here, deleted there": ("deep", {"a": 1}, {}, {"a": 2}, "both changed 'a' within it"),
    "too large": ("add", 0, 1.7e308, 1.7e308, "too large"),
}


@pytest.mark.parametrize(("rule", "base", "theirs", "ours", "why"), CLASHES.values(), ids=CLASHES)
def test_what_a_rule_is_not_for_clashes_and_says_why(
    rule: str, base: Value, theirs: Value, ours: Value, why: str
) -> None:
    """A guess would be somebody's loss."""
    with pytest.raises(ClashError, match=why):
        combine(rule, base, theirs, ours)
