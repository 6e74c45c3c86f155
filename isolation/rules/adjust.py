"""Make a recipe the one that is to be run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from isolation.errors import InputError
from isolation.model.recipe import Recipe

if TYPE_CHECKING:
    from isolation.model.adjustments import Adjustments
    from isolation.model.recipe import Step

_WORDS = {"timeout": "step_timeout", "retry_count": "max_retries", "retry_delay": "retry_delay"}


def adjust(recipe: Recipe, wanted: Adjustments) -> Recipe:
    """Return the recipe as it is to be run. Raises InputError for what no recipe could say either."""
    document = recipe.model_dump(by_alias=True)
    if wanted.continue_on_error is not None:
        document["execution"]["continue_on_error"] = wanted.continue_on_error
    document["steps"] = [
        written | _adjusted(step, wanted) for written, step in zip(document["steps"], recipe.steps, strict=True)
    ]
    try:
        return Recipe.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        word = _WORDS[str(first["loc"][-1])]
        raise InputError(
            f"{word} cannot be {first['input']!r}",
            hint="Times are between 0 and 30 days, and a step has at most 100 further tries.",
        ) from error


def _adjusted(step: Step, wanted: Adjustments) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    if wanted.step_timeout_s is not None:
        longest_s = wanted.step_timeout_s
        changed["timeout"] = longest_s if step.timeout_s is None else min(step.timeout_s, longest_s)
    if wanted.max_retries is not None:
        changed["retry_count"] = wanted.max_retries
    if wanted.retry_delay_s is not None:
        changed["retry_delay"] = wanted.retry_delay_s
    if wanted.no_cache:
        changed["cache"] = False
    return changed
