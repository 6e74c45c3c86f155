"""``RecipeTemplateEngine``, as a program of a user's calls it."""

from __future__ import annotations

import time
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
import yaml

from isolation.errors import RecipeError
from isolation.model.recipe import Recipe

HOME = Path(__file__).parents[2] / "framework0/orchestrator/recipe_template.py"

ETL = """
metadata:
  name: "etl_{{ at }}"
  version: "1.0"
steps:
  - name: "read"
    idx: 1
    type: "python"
    module: "scriptlets.readers"
    function: "{{ source_kind }}Reader"
    args:
      url: "{{ source }}"
      params: {{ params }}

  - name: "write"
    idx: 2
    type: "python"
    module: "scriptlets.writers"
    function: "{{ target_kind }}Writer"
    depends_on: ["read"]
    args:
      url: "{{ target }}"
      options: {{ options }}
"""


@pytest.fixture
def engine() -> Any:  # noqa: ANN401 - found by its file: other tests have other modules of its name
    spec = spec_from_file_location("recipe_template", HOME)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.RecipeTemplateEngine()


def values(**more: object) -> dict[str, object]:
    plain: dict[str, object] = {"at": int(time.time()), "source_kind": "Database", "target_kind": "S3"}
    return plain | {"source": "postgres://h/d", "params": {}, "target": "s3://b/", "options": {}} | more


def test_a_recipe_is_generated_from_what_an_application_has(engine: Any) -> None:  # noqa: ANN401 - as above
    """Whole mappings and lists without quotes, text in quotes, a number in a name."""
    given = values(params={"pool": 5, "ssl": None}, options={"acl": ["a", "b"]})

    made = yaml.safe_load(engine.render(ETL, given))

    assert made["metadata"]["name"] == f"etl_{given['at']}"
    assert [step["function"] for step in made["steps"]] == ["DatabaseReader", "S3Writer"]
    assert made["steps"][0]["args"] == {"url": "postgres://h/d", "params": {"pool": 5, "ssl": None}}
    assert made["steps"][1]["args"]["options"] == {"acl": ["a", "b"]}


@pytest.mark.parametrize(
    "hostile",
    [
        'x"\n      evil: "y',
        "C:\\temp\\new",
        "it's",
        None,
        ["a"],
        "{{ params }}",
        "\u2028- x",
        "!!python/name:os.system",
        "#",
    ],
)
def test_a_hostile_address_is_an_address(engine: Any, hostile: object) -> None:  # noqa: ANN401 - as above
    """The rest of the recipe is what it is with a harmless one."""
    harmless = yaml.safe_load(engine.render(ETL, values(at=1)))
    made = yaml.safe_load(engine.render(ETL, values(at=1, source=hostile)))

    assert made["steps"][0]["args"].pop("url") == hostile
    assert harmless["steps"][0]["args"].pop("url") == "postgres://h/d"
    assert made == harmless


def test_a_recipe_itself_is_checked(engine: Any, tmp_path: Path) -> None:  # noqa: ANN401 - as above
    """And a template may lie in a file, whose folder names what has no name."""
    recipe = engine.render_recipe(ETL, values())
    assert isinstance(recipe, Recipe)
    assert recipe.steps[1].depends_on == ("read",)
    with pytest.raises(RecipeError, match="template:10: 'function' in step 'read' has characters that are not allowed"):
        engine.render_recipe(ETL, values(source_kind="os; "))

    path = tmp_path / "t.yaml"
    path.write_text("steps: [{name: a, module: m, function: '{{ f }}'}]")
    assert engine.render_recipe(path, {"f": "g"}).name == tmp_path.name
    with pytest.raises(RecipeError, match=f"{path}:1: nothing is given for 'f'"):
        engine.render(path)
