"""What is found wrong when a recipe is packed: modules, data files, requirements and their lock."""

from __future__ import annotations

import pytest

from tests.wrong_inputs.conftest import MODULE, STEPS, Desk, Gate, Wrong, recipe, refuse_at_the_gate

PUT = "Put {} beside the recipe, or list its distribution under requirements."
ABOVE = "Copy what is needed into the folder, and name it by its path from there."


def requires(text: str) -> dict[str, str]:
    return recipe(f"metadata:\n  name: etl\n  requirements: [{text}]\n{STEPS}")


# Found when the engine has been asked what it is and has, and nothing more.
PACKING = {
    "a missing module": Wrong(
        files=recipe(STEPS.replace("module: load", "module: laod")),
        told="{recipe}:3: module 'laod' of step 'load' is not found",
        hint="Did you mean 'load'?",
    ),
    "a missing module that is like none": Wrong(
        files=recipe(STEPS.replace("module: load", "module: lib.reader")),
        told="{recipe}:3: module 'lib.reader' of step 'load' is not found",
        hint="Put lib/reader.py beside the recipe, or name its folder with --path.",
    ),
    "a missing module, two imports deep": Wrong(
        files={"load.py": f"import first\n{MODULE}", "first.py": "\nimport second\n", "second.py": "import gone\n"},
        told="module 'gone' is not found; imported by second.py:1, imported by first.py:2, imported by load.py:1, "
        "used by step 'load'",
        hint=PUT.format("gone.py"),
    ),
    "a missing function": Wrong(
        files=recipe(STEPS.replace("function: run", "function: rum")),
        told="{recipe}:4: load.py defines no 'rum', which step 'load' calls",
        hint="Did you mean 'run'?",
    ),
    "a module that is not Python": Wrong(
        files={"load.py": f"{MODULE}rows = [\n"},
        told="load.py:4: the source is not Python: a bracket or a quote is never closed",
        hint="Correct it: Python would refuse it, too.",
    ),
    "a data file that is not there": Wrong(
        files=recipe(f"{STEPS}files:\n  - load.py\n  - data/*.csv\n"),
        told="{recipe}:7: 'data/*.csv' under files matches no file of 'etl'",
        hint="Correct it, or put the file there.",
    ),
    "a data file outside of the folder": Wrong(
        files=recipe(f"{STEPS}files: [../settings.toml]\n"),
        told="{recipe}:5: '../settings.toml' under files is not a path below the recipe's folder",
        hint=ABOVE,
    ),
    "a data file of the host's": Wrong(
        files=recipe(f"{STEPS}files: [/etc/passwd]\n"),
        told="{recipe}:5: '/etc/passwd' under files is not a path below the recipe's folder",
        hint=ABOVE,
    ),
    "no such folder of modules": Wrong(
        command=("run", "{folder}", "--path", "{here}/more"),
        told="{here}/more: there is no such folder to look for modules in",
        hint="--path, or `paths` in the settings, names it.",
    ),
    "a requirement that is an address": Wrong(
        files=requires("'six @ https://example.org/six.whl'"),
        told="{recipe}:3: 'six @ https://example.org/six.whl' names an address",
        hint="Requirements come from the package index: write a name and versions.",
    ),
    "a requirement that is an option": Wrong(
        files=requires("--index-url=https://example.org"),
        told="{recipe}:3: '--index-url=https://example.org' is not a requirement",
        hint="Write a name and versions, such as requests>=2.31,<3.",
    ),
    "a lock of other requirements": Wrong(
        files=requires("six>=1") | {"recipe.lock": '# requirements: ["six<1"]\n'},
        told="{folder}/recipe.lock: this lock was made from other requirements than the recipe has now",
        hint="Make it again: `isolation package {folder} --lock -o {folder}/recipe.lock`.",
    ),
    "a lock that names a file of the host's": Wrong(
        files=requires("six>=1") | {"recipe.lock": '# requirements: ["six>=1"]\n-r /etc/passwd\n'},
        told="{folder}/recipe.lock:2: this is neither a pinned name nor a hash: '-r /etc/passwd'",
        hint="Make it again: `isolation package {folder} --lock -o {folder}/recipe.lock`.",
    ),
}

# Nothing but the index can tell.
BY_THE_INDEX = {
    "a distribution that nobody has": Wrong(
        files=requires("no-such-0a1b2c"),
        told="{recipe}:3: the requirements (no-such-0a1b2c) cannot be resolved: Because no-such-0a1b2c was not found "
        "in the package registry and you require no-such-0a1b2c",
        hint="Check the names and versions under requirements.",
    ),
    "a version that nobody has": Wrong(
        files=requires("six==99"),
        told="{recipe}:3: the requirements (six==99) cannot be resolved: Because there is no version of six==99 "
        "and you require six==99",
        hint="Check the names and versions under requirements.",
    ),
    "a distribution without wheels": Wrong(
        files=requires("docopt"),
        told="{recipe}:3: the requirements (docopt) cannot be resolved: Because all versions of docopt have no usable "
        "wheels and you require docopt",
        hint="Choose versions that have wheels: building one would run its code on this machine.",
    ),
}


@pytest.mark.engine
@pytest.mark.parametrize("wrong", PACKING.values(), ids=PACKING)
def test_what_cannot_be_packed_is_told_before_a_container_is_made(desk: Desk, gate: Gate, wrong: Wrong) -> None:
    """The engine was asked what it is and has; no run is recorded."""
    refuse_at_the_gate(desk, gate, wrong)


@pytest.mark.engine
@pytest.mark.requirements
@pytest.mark.parametrize("wrong", BY_THE_INDEX.values(), ids=BY_THE_INDEX)
def test_what_the_index_does_not_have_is_told_before_a_container_is_made(desk: Desk, gate: Gate, wrong: Wrong) -> None:
    """A resolver's report is long; its reason is not."""
    refuse_at_the_gate(desk, gate, wrong)


@pytest.mark.engine
@pytest.mark.parametrize("named", ["files: [secret.txt]\n", "files: ['*.txt']\n", "    args: {path: secret.txt}\n"])
def test_a_link_out_of_the_folder_is_refused(desk: Desk, gate: Gate, named: str) -> None:
    """A recipe must not read the host's files through us, however it names them."""
    desk.write(recipe(STEPS + named))
    (desk.folder / "secret.txt").symlink_to("/etc/passwd")
    wrong = Wrong(
        told="{folder}/secret.txt: 'secret.txt' is a symbolic link that leads out of 'etl'",
        hint="Copy the file into the folder.",
    )
    refuse_at_the_gate(desk, gate, wrong)


@pytest.mark.requirements
def test_a_stale_lock_is_made_again_as_its_hint_says(desk: Desk) -> None:
    """A hint that does not help would be worse than none."""
    desk.write(PACKING["a lock of other requirements"].files)

    made = desk.run("package", "{folder}", "--lock", "-o", "{folder}/recipe.lock")

    assert made == (0, desk.fill("{folder}/recipe.lock: the locked requirements\n"), "")
    code, printed, told = desk.run("package", "{folder}")
    assert (code, told) == (0, "")
    assert "six==" in printed
