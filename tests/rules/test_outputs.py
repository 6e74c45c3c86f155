"""Which outputs a step may take, and where it may put them."""

from __future__ import annotations

from typing import Any

import pytest

from isolation.errors import InputError
from isolation.model.recipe import Recipe
from isolation.rules.order import order, select
from isolation.rules.outputs import misplaced


def recipe(*steps: dict[str, Any]) -> Recipe:
    return Recipe.model_validate({"name": "r", "steps": [{"module": "m", "function": "f"} | step for step in steps]})


def taking(step: str, *, at: tuple[str | int, ...] = ("n",), **more: Any) -> dict[str, Any]:  # noqa: ANN401 - as people write
    filled = [{"at": at, "parts": [{"step": step, "output": ["total"]}]}]
    return {"name": "take", "args": {"n": None}, "args_from": filled, **more}


def told(made: Recipe) -> list[tuple[str, str]]:
    return [(found.why, found.hint) for found in misplaced(order(made.steps))]


def test_outputs_of_all_steps_that_end_before_may_be_taken() -> None:
    """Also of one that another dependency waits for."""
    chain = ({"name": "a"}, {"name": "b", "depends_on": ["a"]}, {"name": "c", "depends_on": ["b"]})

    assert told(recipe(taking("a", depends_on=["c"]), *chain)) == []


@pytest.mark.parametrize(
    ("step", "hint"),
    [
        ("b", "Add 'b' to its depends_on."),
        ("take", "Its own are not there before it ends."),
        ("gone", "There is no step of that name."),
    ],
)
def test_outputs_that_may_not_be_there_cannot_be_taken(step: str, hint: str) -> None:
    """Of a step that only happens to stand earlier, of oneself, and of nobody."""
    made = recipe({"name": "a"}, {"name": "b"}, taking(step, depends_on=["a"]))

    assert told(made) == [(f"step 'take' takes outputs of {step!r}, and does not come after it", hint)]


@pytest.mark.parametrize("at", [("m",), ("n", "m"), ("n", 0), ("s",), (0,), ("l", 2), ("l", -1), ("l", "0")])
def test_an_output_goes_where_null_stands(at: tuple[str | int, ...]) -> None:
    """Whatever else stands there would be lost, and a place that is not there was misspelt."""
    args = {"n": None, "s": "text", "l": [None, None]}
    made = recipe({"name": "a"}, taking("a", depends_on=["a"], at=at, args=args))

    (found,) = told(made)
    assert found[0].endswith(f"at {'.'.join(map(str, at))!r}, where no null stands")
    assert told(recipe({"name": "a"}, taking("a", depends_on=["a"], at=("l", 1), args=args))) == []


def test_a_place_is_filled_once() -> None:
    """Which of the two would stay is no question that a recipe should ask."""
    step = taking("a", depends_on=["a"])
    step["args_from"] *= 2

    assert len(told(recipe({"name": "a"}, step))) == 1


@pytest.mark.parametrize(("only", "fine"), [(("take",), False), (("a", "take"), False), (("a", "b", "take"), True)])
def test_a_choice_of_steps_cannot_leave_out_what_is_taken(only: tuple[str, ...], *, fine: bool) -> None:
    """Nor the steps between, without which nobody waits."""
    made = recipe({"name": "a"}, {"name": "b", "depends_on": ["a"]}, taking("a", depends_on=["b"]))
    if fine:
        assert [step.name for step in select(made, only).steps] == list(only)
        return
    with pytest.raises(InputError, match="takes outputs of 'a', and does not come after it"):
        select(made, only)


@pytest.mark.slow
def test_thousands_of_steps_that_take_outputs_are_checked() -> None:
    """Each waits for all before it, through the one before: as many as a recipe may have."""
    chain: list[dict[str, Any]] = [{"name": "s0"}]
    chain += [taking("s0", depends_on=[f"s{at - 1}"]) | {"name": f"s{at}"} for at in range(1, 10_000)]

    assert told(recipe(*chain)) == []
