"""From a template and values to a recipe: as text, or as the recipe itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isolation.packaging.load import recipe_of
from isolation.packaging.text import read
from isolation.templates.fill import fill
from isolation.templates.write import to_json, to_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

    from isolation.model.recipe import Recipe
    from isolation.templates.template import Template


def render(template: Template, values: Mapping[str, object], *, as_json: bool = False) -> str:
    """
    Write the recipe that a template makes of values, as YAML or JSON; what has no placeholder keeps its value.

    Whether it is a good recipe is not looked at: ``render_recipe`` does. Raises InputError for values, and RecipeError,
    with the template's lines, for what cannot be filled in, or makes more than a recipe's file may hold.
    """
    tree = fill(template, values).value
    text = to_json(tree) if as_json else to_yaml(tree)
    read(text.encode(), f"what {template.path} makes{'.json' if as_json else ''}")
    return text


def render_recipe(template: Template, values: Mapping[str, object]) -> Recipe:
    """Make the recipe itself, checked as one that is read from a file. Raises as ``render``, and for a bad recipe."""
    return recipe_of(fill(template, values), template.path, template.folder_name)
