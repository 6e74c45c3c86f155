from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from isolation.errors import PolicyError, RecipeError
from isolation.model.policy import Policy
from isolation.packaging.load import load_recipe
from isolation.packaging.shape import shape
from isolation.packaging.text import read

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.packaging.conftest import Folder

    Told = Callable[[Callable[[], object]], str]

METADATA = """\
metadata:
  name: etl
  version: 1.10
  author: Ada
  tags: [nightly]
  requirements: ["six>=1"]
execution: {timeout_seconds: 1m, retry_attempts: 2, parallel_execution: true}
config: {depth: 3}
context: {reads: ["in.*"], writes: ["out.*"]}
files: ["data/**"]
steps:
  - {idx: 1, name: extract, type: python, module: extract, function: Extract}
  - {idx: 2, name: load, module: load, function: run, args: {a: [1, null]}, depends_on: [extract],
     success: {ctx_has_keys: [out.rows]}, timeout: 5, retry_count: 1, enabled: false}
"""
STEP = "  - {{name: {0}, module: m, function: f, depends_on: [{1}]}}\n"


def test_the_metadata_dialect_is_read_whole(folder: Folder) -> None:
    """Every key has its place; an unquoted version is what is written, not a number."""
    recipe = load_recipe(folder.write(recipe_yaml=METADATA)).recipe
    assert (recipe.name, recipe.version, recipe.author) == ("etl", "1.10", "Ada")
    assert (recipe.tags, recipe.requirements, recipe.files) == (("nightly",), ("six>=1",), ("data/**",))
    assert (recipe.execution.timeout_s, recipe.execution.retry_attempts) == (60.0, 2)
    assert (recipe.config, recipe.context.reads, recipe.context.writes) == ({"depth": 3}, ("in.*",), ("out.*",))
    load = recipe.steps[1]
    assert (load.args, load.depends_on, load.timeout_s, load.enabled) == ({"a": [1, None]}, ("extract",), 5.0, False)
    assert load.success.ctx_has_keys == ("out.rows",)


def test_the_test_meta_dialect_is_read_too(folder: Folder) -> None:
    """Real recipes come in both."""
    text = "test_meta: {test_id: 42, tester: Ada, description: d}\nsteps:\n" + STEP.format("a", "")
    recipe = load_recipe(folder.write(recipe_yml=text)).recipe
    assert (recipe.name, recipe.author, recipe.description) == ("42", "Ada", "d")


def test_json_recipes_are_read(folder: Folder) -> None:
    """As FRAMEWORK0 promises."""
    path = folder.put("x.json", '{"steps": [{"name": "a", "module": "m", "function": "f"}]}')
    loaded = load_recipe(path)
    assert (loaded.recipe.name, loaded.path, loaded.folder) == ("etl", path, folder.path)
    assert loaded.text == path.read_bytes()


CURE = "Take one of them out of a 'depends_on'."

KNOWN = (
    "Known: config, context, determinism, environments, execution, features, files, metadata, secrets, steps, "
    "test_meta."
)

NAMES = "Use at most 100 letters, digits, dots, dashes, underscores and spaces; begin with a letter or a digit."

CAPITALS = "Use at most 64 capital letters, digits and underscores, such as API_TOKEN; begin with no digit."
UNDECLARED = "which the recipe does not declare"
NOT_KEPT = (
    "so nothing that it makes is kept: 'cache' would do nothing\n"
    "Take `cache: true` away, or what needs the secret into a step of its own."
)
DECLARE_IT = "Add it at the top: `secrets: [API_TOKEN]`."

REFUSED = {
    "an unknown key": (
        "steps:\n  - name: load\n    modul: m\n    function: f\n",
        "recipe.yaml:3: unknown key 'modul' in step 'load'\nDid you mean 'module'?",
    ),
    "an unknown key of the file": (
        "privileged: true\nsteps:\n" + STEP.format("a", ""),
        f"recipe.yaml:1: unknown key 'privileged'\n{KNOWN}",
    ),
    "a missing key": (
        "steps:\n  - name: load\n    module: m\n",
        "recipe.yaml:2: 'function' in step 'load' is missing\nAdd it.",
    ),
    "a wrong type": (
        "steps:\n" + STEP.format("a", "").replace("}", ", enabled: yes}"),
        "recipe.yaml:2: 'enabled' in step 'a' must be true or false, not 'yes'\nWrite true or false, without quotes.",
    ),
    "a number for a name": (
        "steps:\n" + STEP.format("a", "").replace("module: m", "module: 1"),
        "recipe.yaml:2: 'module' in step 'a' must be text, not 1\nPut it in quotes if it is text.",
    ),
    "a key deep inside": (
        "steps:\n" + STEP.format("a", "").replace("}", ", success: {ctx_has_key: [x]}}"),
        "recipe.yaml:2: unknown key 'ctx_has_key' in 'success' of step 'a'\nDid you mean 'ctx_has_keys'?",
    ),
    "an item of a list": (
        "steps:\n" + STEP.format("a", "3"),
        "recipe.yaml:2: item 1 of 'depends_on' in step 'a' must be text, not 3\nPut it in quotes if it is text.",
    ),
    "a duration without sense": (
        "steps:\n" + STEP.format("a", "").replace("}", ", timeout: 5 parsecs}"),
        "recipe.yaml:2: 'timeout' in step 'a': '5 parsecs' has the unknown unit 'parsecs'\nKnown: ms, s, m, min, h, d.",
    ),
    "a name that is a path": (
        "metadata: {name: ../../x}\nsteps:\n" + STEP.format("a", ""),
        "recipe.yaml:1: 'name' in 'metadata' has characters that are not allowed here, or too many: '../../x'\n"
        + NAMES,
    ),
    "another type of step": (
        "steps:\n" + STEP.format("a", "").replace("}", ", type: shell}"),
        "recipe.yaml:2: 'type' in step 'a' must be 'python', not 'shell'\nWrite 'python'.",
    ),
    "no steps": ("steps: []\n", "recipe.yaml:1: 'steps' must not be empty\nWrite at least one item."),
    "no mapping": ("- 1\n", f"recipe.yaml:1: the file must hold a mapping, not a list\n{KNOWN}"),
    "nothing": ("", f"recipe.yaml:1: the file must hold a mapping, not nothing\n{KNOWN}"),
    "both heads": (
        "metadata: {name: a}\ntest_meta: {test_id: a}\nsteps:\n" + STEP.format("a", ""),
        "recipe.yaml:2: 'metadata' and 'test_meta' are both there\nKeep one.",
    ),
    "one name twice": (
        "steps:\n" + STEP.format("a", "") + STEP.format("a", ""),
        "recipe.yaml:3: two steps are named 'a'\nRename one: line 2 has the first.",
    ),
    "an unknown dependency": (
        "steps:\n" + STEP.format("extract", "") + STEP.format("load", "extrakt"),
        "recipe.yaml:3: step 'load' depends on 'extrakt', which is no step of this recipe\nDid you mean 'extract'?",
    ),
    "a secret that is not declared": (
        "secrets: [API_TOKEN]\nsteps:\n" + STEP.format("a", "").replace("}", ", secrets: [API_TOKEN, API_TOKN]}"),
        f"recipe.yaml:3: step 'a' takes the secret 'API_TOKN', {UNDECLARED}\nDid you mean 'API_TOKEN'?",
    ),
    "a secret where none is declared": (
        "steps:\n" + STEP.format("a", "").replace("}", ", secrets: [API_TOKEN]}"),
        f"recipe.yaml:2: step 'a' takes the secret 'API_TOKEN', {UNDECLARED}\n{DECLARE_IT}",
    ),
    "a cached step with a secret": (
        "secrets: [API_TOKEN]\nsteps:\n"
        + STEP.format("a", "").replace("}", ",\n     secrets: [API_TOKEN],\n     cache: true}"),
        f"recipe.yaml:5: step 'a' takes secrets, {NOT_KEPT}",
    ),
    "a secret in small letters": (
        "secrets: [api_token]\nsteps:\n" + STEP.format("a", ""),
        "recipe.yaml:1: item 1 of 'secrets' has characters that are not allowed here, or too many: 'api_token'\n"
        + CAPITALS,
    ),
    "a circle": (
        "steps:\n" + STEP.format("z", "a") + STEP.format("a", "b") + STEP.format("b", "a"),
        "recipe.yaml:3: the steps depend on each other in a circle: a -> b -> a\n" + CURE,
    ),
    "a circle of one": (
        "steps:\n" + STEP.format("a", "a"),
        "recipe.yaml:2: the steps depend on each other in a circle: a -> a\nTake one of them out of a 'depends_on'.",
    ),
}


@pytest.mark.parametrize(("text", "expected"), REFUSED.values(), ids=REFUSED)
def test_a_mistake_is_told_with_its_place_and_its_cure(folder: Folder, told: Told, text: str, expected: str) -> None:
    """People read these; every word is a promise."""
    folder.write(recipe_yaml=text)
    assert told(lambda: load_recipe(folder.path)).replace(f"{folder.path}/", "") == expected


def test_a_file_that_is_none_is_refused(folder: Folder) -> None:
    """A FIFO would hold us for ever, and a device has no end (row 132)."""
    fifo = folder.path / "recipe.yaml"
    os.mkfifo(fifo)
    with pytest.raises(RecipeError, match="not a regular file"):
        load_recipe(folder.path)
    fifo.unlink()
    with pytest.raises(RecipeError, match="there is no recipe in this folder"):
        load_recipe(folder.path)
    with pytest.raises(RecipeError, match="there is no such file"):
        load_recipe(folder.path / "nothing.yaml")
    folder.put("recipe.yaml", "x" * (2**20 + 1))
    with pytest.raises(RecipeError, match="larger than 1 MiB"):
        load_recipe(folder.path)


def test_two_recipes_in_one_folder_are_refused(folder: Folder, told: Told) -> None:
    """Guessing which was meant is pretending."""
    folder.put("recipe.yaml")
    folder.put("recipe.json")
    expected = f"{folder.path}: recipe.yaml and recipe.json are both in this folder\nName the one that you mean."
    assert told(lambda: load_recipe(folder.path)) == expected


def test_policies_tell_their_mistakes_alike(told: Told) -> None:
    """One reader, one way to tell: also for a value deep in a mapping."""
    document = read(b"name: p\nretry:\n  out_of_memory:\n    attempt: 2\n", "p.yaml", PolicyError)
    assert told(lambda: shape(Policy, document, "p.yaml", PolicyError)) == (
        "p.yaml:4: unknown key 'attempt' in 'retry.out_of_memory'\nDid you mean 'attempts'?"
    )


def test_outputs_are_taken_from_steps_that_end_before(folder: Folder, told: Told) -> None:
    """With the line of the entry; what a step takes is part of the recipe, and so of its package."""
    text = (
        "steps:\n  - {name: a, module: m, function: f}\n"
        "  - name: b\n    module: m\n    function: f\n    depends_on: [a]\n    args: {n: null}\n"
        "    args_from:\n    - {at: [n], parts: ['n: ', {step: a, output: [rows, 0]}]}\n"
    )
    path = folder.write(recipe_yaml=text)
    (filled,) = load_recipe(path).recipe.steps[1].args_from
    assert (filled.at, filled.parts[0]) == (("n",), "n: ")
    assert [(output.step, output.output) for output in filled.outputs()] == [("a", ("rows", 0))]

    folder.write(recipe_yaml=text.replace("    depends_on: [a]\n", ""))
    assert told(lambda: load_recipe(path)) == (
        f"{path}/recipe.yaml:8: step 'b' takes outputs of 'a', and does not come after it\nAdd 'a' to its depends_on."
    )


def test_a_template_is_no_recipe_yet(folder: Folder, told: Told) -> None:
    """Whoever runs one is told how to make a recipe of it; in a recipe, braces in a text are text."""
    render = "`isolation render TEMPLATE --set NAME=VALUE --output recipe.yaml` makes a recipe of it."
    path = folder.write(recipe_yaml="parameters: {n: {type: integer}}\nsteps: []\n")
    assert told(lambda: load_recipe(path)) == (
        f"{path}/recipe.yaml:1: this is a template: it has parameters, for which values must be given first\n{render}"
    )

    folder.write(recipe_yaml="config: {n: {{ n }}}\n" + "steps:\n" + STEP.format("a", ""))
    assert told(lambda: load_recipe(path)).endswith(f"If this is a template: {render}")

    folder.write(recipe_yaml="config: {n: '{{ n }}'}\n" + "steps:\n" + STEP.format("a", ""))
    assert load_recipe(path).recipe.config == {"n": "{{ n }}"}


@pytest.mark.parametrize(
    ("taken", "said"),
    [
        ("{at: [n], parts: [{stp: a}]}", "unknown key 'stp' in 'args_from.0.parts.0.output' of step 'b'"),
        ("{at: [n], parts: [3]}", "'output' in 'args_from.0.parts.0' of step 'b' must be a mapping, not 3"),
        ("{at: n, parts: [a]}", "'at' in 'args_from.0' of step 'b' must be a list, not 'n'"),
        ("{at: [], parts: [a]}", "'at' in 'args_from.0' of step 'b' must not be empty"),
        ("{at: [n], parts: []}", "'parts' in 'args_from.0' of step 'b' must not be empty"),
        ("{at: [1.5], parts: [a]}", "item 1 of 'at' in 'args_from.0' of step 'b': 1.5 is neither a key nor an index"),
        ("{at: [true], parts: [a]}", "item 1 of 'at' in 'args_from.0' of step 'b': True is neither a key nor an index"),
    ],
)
def test_what_cannot_be_taken_is_told_in_the_recipes_words(folder: Folder, told: Told, taken: str, said: str) -> None:
    """Not in those of the library that found it."""
    step = "  - {name: b, module: m, function: f, depends_on: [a], args: {n: null},\n     args_from: [" + taken + "]}\n"
    path = folder.write(recipe_yaml="steps:\n" + STEP.format("a", "") + step)

    assert told(lambda: load_recipe(path)).startswith(f"{path}/recipe.yaml:4: {said}\n")
