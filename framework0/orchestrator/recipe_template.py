"""Recipes from templates: ``RecipeTemplateEngine``, over ``isolation.templates``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from isolation.templates import render
from isolation.templates.template import Template, load_template, parse_template

if TYPE_CHECKING:
    from collections.abc import Mapping

    from isolation.model.recipe import Recipe


class RecipeTemplateEngine:
    """
    Fills in templates: recipes with ``{{ }}`` in them.

    A template is a text, or the path of its file. Values are JSON (text, numbers, booleans, None, lists, mappings) and
    enter with their type, after the YAML was parsed: no text can become structure.
    """

    def render(self, template: str | Path, values: Mapping[str, object] | None = None) -> str:
        """
        Return the recipe as YAML.

        Raises InputError for values that are not JSON, and RecipeError, which tells everything that is wrong with the
        parameters, or all placeholders that cannot be filled in, with the template's lines.
        """
        return render.render(_template(template), values or {})

    def render_recipe(self, template: str | Path, values: Mapping[str, object] | None = None) -> Recipe:
        """Return the recipe, checked. Raises as ``render``, and RecipeError for what is no recipe."""
        return render.render_recipe(_template(template), values or {})


def _template(template: str | Path) -> Template:
    return (
        load_template(template)
        if isinstance(template, Path)
        else parse_template(template.encode("utf-8", "surrogatepass"))
    )
