"""What whoever runs a recipe may want otherwise than it says."""

from __future__ import annotations

import pytest

from isolation.errors import InputError
from isolation.model.adjustments import Adjustments
from isolation.model.recipe import Recipe
from isolation.rules.adjust import adjust

RECIPE = Recipe.model_validate(
    {
        "name": "r",
        "execution": {"timeout_seconds": 60, "continue_on_error": False},
        "steps": [
            {"name": "a", "module": "m", "function": "f", "timeout": 3, "retry_count": 2, "retry_delay": "250ms"},
            {"name": "b", "module": "m", "function": "f"},
        ],
    }
)


def test_who_wants_nothing_otherwise_gets_the_recipe() -> None:
    """Its digest stays what it was."""
    assert adjust(RECIPE, Adjustments()) == RECIPE


def test_a_time_for_all_steps_makes_none_longer() -> None:
    """The recipe's author may know a step that must be quick."""
    assert [step.timeout_s for step in adjust(RECIPE, Adjustments(step_timeout_s=5)).steps] == [3, 5]
    assert [step.timeout_s for step in adjust(RECIPE, Adjustments(step_timeout_s=1)).steps] == [1, 1]


def test_tries_and_their_delay_hold_for_every_step() -> None:
    """None of it is what the recipe says any more."""
    steps = adjust(RECIPE, Adjustments(max_retries=1, retry_delay_s=0.5)).steps

    assert [(step.retry_count, step.retry_delay_s) for step in steps] == [(1, 0.5), (1, 0.5)]


def test_to_go_on_after_a_failure_is_for_the_caller_to_say() -> None:
    """And the rest of what the recipe says of its run is kept."""
    execution = adjust(RECIPE, Adjustments(continue_on_error=True)).execution

    assert (execution.continue_on_error, execution.timeout_s) == (True, 60)


def test_who_wants_every_step_to_run_has_a_recipe_without_a_cache() -> None:
    """Another package, then: nothing that it makes is taken for the recipe's own."""
    cached = RECIPE.model_copy(
        update={"steps": tuple(step.model_copy(update={"cache": True}) for step in RECIPE.steps)}
    )

    assert adjust(cached, Adjustments(max_retries=1)).steps[0].cache
    assert not any(step.cache for step in adjust(cached, Adjustments(no_cache=True)).steps)


@pytest.mark.parametrize(
    ("wanted", "word"),
    [
        (Adjustments(step_timeout_s=0), "step_timeout cannot be 0"),
        (Adjustments(step_timeout_s=-1), "step_timeout cannot be -1"),
        (Adjustments(max_retries=101), "max_retries cannot be 101"),
        (Adjustments(max_retries=-1), "max_retries cannot be -1"),
        (Adjustments(retry_delay_s=-0.5), "retry_delay cannot be -0.5"),
        (Adjustments(retry_delay_s=float("nan")), "retry_delay cannot be nan"),
    ],
)
def test_what_no_recipe_could_say_is_refused_by_the_callers_word(wanted: Adjustments, word: str) -> None:
    """Before anything runs."""
    with pytest.raises(InputError) as refused:
        adjust(RECIPE, wanted)

    assert refused.value.sentence.startswith(word)
    assert refused.value.hint
