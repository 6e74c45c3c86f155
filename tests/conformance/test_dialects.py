"""Recipe files as people have them; what lies in recipes/dialects by itself is run by tests/test_recipes.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from isolation.packaging.load import load_recipe
from isolation.packaging.policy import load_policy
from isolation.settings import Settings
from isolation.wiring import open_controller
from tests.test_recipes import FOLDERS, RECIPES, found_in, read_expected, said

if TYPE_CHECKING:
    from pathlib import Path

DIALECTS = RECIPES / "dialects"
PROJECT = DIALECTS / "project"


@pytest.mark.engine
@pytest.mark.usefixtures("engine")
def test_modules_come_from_beside_the_recipe_from_a_folder_that_is_named_and_built_in(tmp_path: Path) -> None:
    """One recipe takes a step from each, and what only a module of the project imports comes along."""
    expected = read_expected(PROJECT / "expected-nightly.yaml")
    with open_controller(Settings(state=tmp_path / "state", paths=(PROJECT,))) as controller:
        result = controller.run(PROJECT / "flows/nightly.yaml", policy=load_policy("default"))

    assert said(found_in(result, expected)) == said(expected)


def test_every_recipe_of_the_dialects_is_run() -> None:
    """A folder that nobody runs would be a promise that nobody keeps."""
    alone = {path.parent for path in DIALECTS.rglob("recipe.*") if path.suffix != ".lock"}

    assert {path.name for path in alone} == {"metadata", "test-meta", "json"}
    assert alone <= set(FOLDERS)
    assert [path.name for path in PROJECT.rglob("*.yaml")].count("nightly.yaml") == 1


def test_both_heads_say_the_same_things() -> None:
    """And numbers in them mean what is written."""
    recipes = [load_recipe(DIALECTS / name).recipe for name in ("metadata", "test-meta", "json")]

    assert [(one.name, one.version, one.author) for one in recipes] == [
        ("stock-check", "1.10", "Warehouse"),
        ("1042", "", "QA"),
        ("largest-orders", "2", "Sales"),
    ]
    assert recipes[0].tags == ("stock", "nightly", "2026")
