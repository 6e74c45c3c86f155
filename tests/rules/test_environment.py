"""What is otherwise in one environment, and which steps run there."""

from __future__ import annotations

import pytest

from isolation.errors import InputError
from isolation.model.recipe import Recipe
from isolation.rules.environment import for_environment

RECIPE = Recipe.model_validate(
    {
        "name": "r",
        "config": {"batch": 100, "url": "a"},
        "features": {"fast": False, "new": True},
        "environments": {"staging": {"config": {"batch": 10}, "features": {"fast": True}}, "production": {}},
        "steps": [
            {"name": "slow", "module": "m", "function": "f", "feature": "!fast"},
            {"name": "fast", "module": "m", "function": "f", "feature": "fast"},
            {"name": "off", "module": "m", "function": "f", "feature": "new", "enabled": False},
            {"name": "always", "module": "m", "function": "f"},
        ],
    }
)


@pytest.mark.parametrize(
    ("name", "batch", "features", "runs", "made_for"),
    [
        ("", 100, {"fast": False, "new": True}, ["slow", "always"], ""),
        ("production", 100, {"fast": False, "new": True}, ["slow", "always"], "production"),
        ("staging", 10, {"fast": True, "new": True}, ["fast", "always"], "staging"),
    ],
)
def test_an_environment_changes_values_and_features(
    name: str, batch: int, features: dict[str, bool], runs: list[str], made_for: str
) -> None:
    """What it does not name is as it is without it; a step that is disabled stays so."""
    made = for_environment(RECIPE, name)

    assert (made.config, made.features) == ({"batch": batch, "url": "a"}, features)
    assert [step.name for step in made.steps if step.enabled] == runs
    assert (made.environment, made.environments) == (made_for, {})


def test_an_environment_that_the_recipe_does_not_know_is_refused() -> None:
    """A typing mistake must not run production's values in silence."""
    with pytest.raises(InputError, match="knows no environment 'stagin'") as refused:
        for_environment(RECIPE, "stagin")
    assert refused.value.hint == "Did you mean 'staging'?"
    with pytest.raises(InputError) as unknown:
        for_environment(RECIPE, "test")
    assert unknown.value.hint == "It knows: production, staging."


def test_a_recipe_without_environments_is_the_same_in_all() -> None:
    """The setting is one for many recipes."""
    plain = RECIPE.model_copy(update={"environments": {}})

    assert for_environment(plain, "test") == for_environment(plain, "")
