"""Make a recipe the one for its environment: its own values and features, with what is otherwise there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isolation.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from isolation.model.recipe import Recipe, Step


def for_environment(recipe: Recipe, name: str) -> Recipe:
    """
    Return the recipe as it is in an environment; with an empty ``name``, as it is in none.

    Steps whose feature is not as they want it are disabled. A recipe without environments is the same in all. Raises
    InputError for one that a recipe with environments does not know.
    """
    changed = recipe.environments.get(name)
    if recipe.environments and name and changed is None:
        known = sorted(recipe.environments)
        raise InputError(
            f"the recipe {recipe.name!r} knows no environment {name!r}",
            hint=did_you_mean(name, known) or f"It knows: {', '.join(known)}.",
        )
    features = recipe.features | (changed.features if changed else {})
    return recipe.model_copy(
        update={
            "config": recipe.config | (changed.config if changed else {}),
            "features": features,
            "environments": {},
            "environment": name if changed else "",
            "steps": tuple(_in(step, features) for step in recipe.steps),
        }
    )


def is_on(step: Step, features: dict[str, bool]) -> bool:
    """
    Tell whether a step's feature is as it wants it.

    >>> from isolation.model.recipe import Step
    >>> step = Step(name="a", module="m", function="f", feature="!fast")
    >>> is_on(step, {"fast": True}), is_on(step, {"fast": False})
    (False, True)
    """
    if step.feature is None:
        return True
    name = step.feature.removeprefix("!")
    return features[name] is (name == step.feature)


def _in(step: Step, features: dict[str, bool]) -> Step:
    return step if is_on(step, features) else step.model_copy(update={"enabled": False})
