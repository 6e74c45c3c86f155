"""What is wrong in a recipe's own text, or with the file that holds it."""

from __future__ import annotations

import os

import pytest

from tests.wrong_inputs.conftest import STEPS, SUM, Desk, Wrong, recipe, refuse_before_the_engine

KNOWN = (
    "Known: config, context, determinism, environments, execution, features, files, metadata, secrets, steps, "
    "test_meta."
)
LOOK = "Look at this line and the one before it: at quotes, brackets, commas, colons and tabs."

RECIPES = {
    "broken YAML": Wrong(
        files=recipe("steps:\n  - {name: load, module: load\nfiles: []\n"),
        told="{recipe}:3: the text is not YAML: did not find expected ',' or '}'",
        hint=LOOK,
    ),
    "a tab": Wrong(
        files=recipe("steps:\n\t- name: load\n"),
        told="{recipe}:2: the text is not YAML: found character that cannot start any token",
        hint=LOOK,
    ),
    "an anchor": Wrong(
        files=recipe("config: &all {a: 1}\n" + STEPS),
        told="{recipe}:1: anchors and aliases are not allowed: '&all'",
        hint="Write the value out, or put it in quotes if it is text.",
    ),
    "an alias": Wrong(
        files=recipe(STEPS + "    args: *all\n"),
        told="{recipe}:5: anchors and aliases are not allowed: '*all'",
        hint="Write the value out, or put it in quotes if it is text.",
    ),
    "a tag": Wrong(
        files=recipe("config: !!python/object/apply:os.system [id]\n" + STEPS),
        told="{recipe}:1: tags are not allowed: '!!python/object/apply:os.system'",
        hint="Put it in quotes if it is text.",
    ),
    "a key twice": Wrong(
        files=recipe(STEPS + "    module: other\n"),
        told="{recipe}:5: the key 'module' stands here for the second time",
        hint="Keep one: line 3 has the first.",
    ),
    "an unknown key": Wrong(
        files=recipe("step: []\n" + STEPS), told="{recipe}:1: unknown key 'step'", hint="Did you mean 'steps'?"
    ),
    "an unknown key that is like none": Wrong(
        files=recipe("privileged: true\n" + STEPS), told="{recipe}:1: unknown key 'privileged'", hint=KNOWN
    ),
    "a network": Wrong(
        files=recipe("network: {allow: [example.org:443]}\n" + STEPS),
        told="{recipe}:1: unknown key 'network'",
        hint=KNOWN,
    ),
    "an unknown key deep in a step": Wrong(
        files=recipe(STEPS + "    success:\n      ctx_has_key: [a]\n"),
        told="{recipe}:6: unknown key 'ctx_has_key' in 'success' of step 'load'",
        hint="Did you mean 'ctx_has_keys'?",
    ),
    "a wrong type": Wrong(
        files=recipe(STEPS + "    depends_on: load\n"),
        told="{recipe}:5: 'depends_on' in step 'load' must be a list, not 'load'",
        hint="Write it as [a, b], or as lines below it that begin with a dash.",
    ),
    "a missing key": Wrong(
        files=recipe("steps:\n  - name: load\n    module: load\n"),
        told="{recipe}:2: 'function' in step 'load' is missing",
        hint="Add it.",
    ),
    "a bad duration": Wrong(
        files=recipe(STEPS + "    timeout: 5 parsecs\n"),
        told="{recipe}:5: 'timeout' in step 'load': '5 parsecs' has the unknown unit 'parsecs'",
        hint="Known: ms, s, m, min, h, d.",
    ),
    "a step that is no Python": Wrong(
        files=recipe(STEPS + "    type: shell\n"),
        told="{recipe}:5: 'type' in step 'load' must be 'python', not 'shell'",
        hint="Write 'python'.",
    ),
    "a cycle": Wrong(
        files=recipe(f"{STEPS}    depends_on: [sum]\n{SUM}    depends_on: [load]\n"),
        told="{recipe}:2: the steps depend on each other in a circle: load -> sum -> load",
        hint="Take one of them out of a 'depends_on'.",
    ),
    "an unknown dependency": Wrong(
        files=recipe(f"{STEPS}{SUM}    depends_on: [laod]\n"),
        told="{recipe}:8: step 'sum' depends on 'laod', which is no step of this recipe",
        hint="Did you mean 'load'?",
    ),
    "a name twice": Wrong(
        files=recipe(STEPS + STEPS.removeprefix("steps:\n")),
        told="{recipe}:5: two steps are named 'load'",
        hint="Rename one: line 2 has the first.",
    ),
    "an empty recipe": Wrong(
        files=recipe(""), told="{recipe}:1: the file must hold a mapping, not nothing", hint=KNOWN
    ),
    "a Python file for a recipe": Wrong(
        command=("run", "{folder}/load.py"),
        told="{folder}/load.py: a recipe is YAML or JSON, and this is Python",
        hint="Name the recipe that calls it.",
    ),
    "a comma too many in JSON": Wrong(
        files={"x.json": '{"steps": [\n  {"name": "a",}\n]}\n'},
        command=("run", "{folder}/x.json"),
        told="{folder}/x.json:2: the text is not JSON: a comma stands before the closing bracket",
        hint=LOOK,
    ),
    "no such recipe": Wrong(
        command=("run", "{folder}/recipes.yaml"),
        told="{folder}/recipes.yaml: there is no such file",
        hint="Check its name, and that of its folder.",
    ),
    "a folder without a recipe": Wrong(
        files={"empty/readme.txt": ""},
        command=("run", "{folder}/empty"),
        told="{folder}/empty: there is no recipe in this folder",
        hint="Put a recipe.yaml in it.",
    ),
    "two recipes in a folder": Wrong(
        files={"recipe.json": "{}"},
        told="{folder}: recipe.yaml and recipe.json are both in this folder",
        hint="Name the one that you mean.",
    ),
    "a recipe of 2 MB": Wrong(
        files=recipe("#" * 2_000_000),
        told="{recipe}: the file is larger than 1 MiB",
        hint="Make it smaller, or check that it is the one that you mean.",
    ),
}


@pytest.mark.parametrize("wrong", RECIPES.values(), ids=RECIPES)
def test_a_wrong_recipe_is_told_before_the_engine_is_asked(desk: Desk, wrong: Wrong) -> None:
    """Nothing can have been started, and nothing at all is left in the state folder."""
    refuse_before_the_engine(desk, wrong)


def test_a_pipe_is_no_recipe(desk: Desk) -> None:
    """Opening it would wait for ever for somebody to write."""
    (desk.folder / "recipe.yaml").unlink()
    os.mkfifo(desk.folder / "recipe.yaml")

    assert desk.run("run", "{folder}") == (
        2,
        "",
        desk.fill(
            "isolation: {recipe}: this is not a regular file\nName a plain file: no folder, pipe, socket or device.\n"
        ),
    )
