"""Recipes: those that a namespace has brought or run, by name, and what the newest package of each does."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from isolation.packaging.tree import read_manifest
from isolation.service.bodies import said
from isolation.service.here import MayReadRuns
from isolation.service.problems import answers
from isolation.service.refusals import NotThereError
from isolation.service.run_bodies import RecipeBody, RecipesBody

router = APIRouter(prefix="/v1/recipes", tags=["recipes"])

MOST_A_PAGE = 500
_MOST_PACKAGES = 100


@router.get("", response_model=RecipesBody, responses=answers(422))
def list_recipes(
    here: MayReadRuns,
    after: Annotated[str, Query(max_length=200, description="Go on after this one.")] = "",
    limit: Annotated[int, Query(ge=1, le=MOST_A_PAGE, description="At most so many.")] = MOST_A_PAGE,
) -> Response:
    """Return the recipes that this namespace has brought or run, by name, each with its newest package."""
    found = here.stores.uploads.recipes(limit, after)
    return said({"recipes": found, "next": found[-1].recipe if len(found) == limit else None})


@router.get("/{name}", response_model=RecipeBody, responses=answers(404, 422))
def get_recipe(here: MayReadRuns, name: Annotated[str, Path(max_length=200)]) -> Response:
    """Return what a recipe does, as its newest package has it, and its packages, the newest first."""
    packages = here.stores.uploads.of_recipe(name, _MOST_PACKAGES)
    if not packages:
        raise NotThereError(f"there is no recipe {name!r}", hint="GET /v1/recipes lists those that there are.")
    recipe = read_manifest(here.stores.blobs.get(packages[0].digest)).recipe
    return said({"recipe": name, "definition": recipe.model_dump(mode="json", by_alias=True), "packages": packages})
