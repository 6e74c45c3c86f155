from __future__ import annotations

import pytest

from isolation.errors import InputError, RecipeError
from isolation.model.recipe import Recipe, Step
from isolation.rules.order import find_cycle, order, select


def step(name: str, *needs: str, idx: int | None = None, enabled: bool = True) -> Step:
    return Step(name=name, module="m", function="f", depends_on=needs, idx=idx, enabled=enabled)


def names(steps: tuple[Step, ...]) -> list[str]:
    return [each.name for each in steps]


def test_dependencies_come_before_idx_and_idx_before_the_file() -> None:
    """``idx`` breaks ties only: a step never runs before what it needs."""
    steps = [step("last", "b", idx=0), step("c", idx=5), step("b", idx=1), step("a", idx=1)]
    assert names(order(steps)) == ["b", "last", "a", "c"]


def test_without_idx_the_order_of_the_file_stays() -> None:
    """What people wrote first runs first."""
    assert names(order([step("z"), step("a"), step("m")])) == ["z", "a", "m"]


def test_a_circle_is_named_and_never_ordered() -> None:
    """The circle alone is named, not what merely waits for it."""
    steps = [step("waits", "b"), step("a", "b"), step("b", "a"), step("free")]
    assert find_cycle(steps) == ("b", "a", "b")
    with pytest.raises(RecipeError, match="b -> a -> b"):
        order(steps)


def test_ten_thousand_steps_in_a_row_are_ordered() -> None:
    """No recursion: the longest chain that a recipe may have."""
    steps = [step(f"s{at}", *([f"s{at - 1}"] if at else [])) for at in range(10_000)]
    assert names(order(steps[::-1]))[0] == "s0"


RECIPE = Recipe(name="etl", steps=(step("extract"), step("transform", "extract"), step("load", "transform")))


def test_only_leaves_these_steps_and_takes_the_rest_as_done() -> None:
    """Their inputs are expected in the context."""
    chosen = select(RECIPE, only=["load"])
    assert names(chosen.steps) == ["load"]
    assert chosen.steps[0].depends_on == ()


def test_skip_disables_steps_and_keeps_them_in_sight() -> None:
    """Their dependants are skipped with a reason, which needs the step to be there."""
    chosen = select(RECIPE, skip=["load"])
    assert [each.enabled for each in chosen.steps] == [True, True, False]
    assert select(RECIPE) == RECIPE


@pytest.mark.parametrize("option", ["only", "skip"])
def test_an_unknown_name_is_an_error_with_a_suggestion(option: str) -> None:
    """Upstream's ``--only typo`` reports success with no steps run."""
    with pytest.raises(InputError) as raised:
        select(RECIPE, **{option: ["lod"]})
    assert raised.value.sentence == f"--{option} names 'lod', which is no step of 'etl'"
    assert raised.value.hint == "Did you mean 'load'?"


def test_nothing_left_to_run_is_an_error() -> None:
    """Skipping the first step skips all; success with nothing done would be pretending."""
    with pytest.raises(InputError, match="no step of 'etl' is left to run"):
        select(RECIPE, skip=["extract"])
    with pytest.raises(InputError, match="left to run"):
        select(Recipe(name="etl", steps=(step("a", enabled=False),)))
