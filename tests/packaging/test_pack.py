from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from isolation.errors import PackageError
from isolation.packaging import pack as packing
from isolation.packaging.load import load_recipe
from isolation.packaging.pack import pack
from isolation.rules.order import select

if TYPE_CHECKING:
    from collections.abc import Callable

    from isolation.model.package import Package
    from tests.packaging.conftest import Blobs, Folder

    Told = Callable[[Callable[[], object]], str]

RECIPE = "steps:\n  - {name: load, module: load, function: run, args: {}}\n"
COPY = "Copy what is needed into the folder, and name it by its path from there."
RUN = "def run(context, params): return {}\n"


def paths(package: Package) -> list[str]:
    return [file.path for file in package.files]


def packed(folder: Folder, blobs: Blobs) -> Package:
    return pack(load_recipe(folder.path), blobs=blobs)


def test_a_package_holds_what_is_imported_and_nothing_else(folder: Folder, blobs: Blobs) -> None:
    """Upstream copies fixed folders, follows no import and forgets the rest."""
    folder.write(
        recipe_yaml=RECIPE,
        load_py=f"import json, os.path\nfrom helpers import deep, VALUE\nimport names.space.leaf\n{RUN}",
        unused_py="x = 1",
        helpers__deep_py="from . import sibling\nfrom .other import x\n",
        helpers__sibling_py="",
        helpers__other_py="x = 1",
        helpers__unused_py="",
        names__space__leaf_py="",
    )
    folder.put("helpers/__init__.py", "VALUE = 1\nfrom .late import y\n")
    folder.put("helpers/late.py", "y = 1\n")
    assert paths(packed(folder, blobs)) == [
        "helpers/__init__.py", "helpers/deep.py", "helpers/late.py", "helpers/other.py", "helpers/sibling.py",
        "load.py", "names/space/leaf.py", "recipe.yaml",
    ]  # fmt: skip


def test_the_same_content_is_the_same_package(folder: Folder, blobs: Blobs) -> None:
    """The digest is the package's name, in the record and on other machines."""
    folder.write(recipe_yaml=RECIPE, load_py=RUN)
    first = packed(folder, blobs)
    assert packed(folder, blobs).digest == first.digest
    assert blobs.get(first.files[0].digest) == RUN.encode()
    folder.write(load_py=RUN + "\n")
    assert packed(folder, blobs).digest != first.digest


def test_a_missing_module_is_told_with_the_way_to_it(folder: Folder, blobs: Blobs, told: Told) -> None:
    """Who imports it is what people need to know."""
    folder.write(
        recipe_yaml=RECIPE,
        load_py=f"from helpers import deep\n{RUN}",
        helpers__deep_py="\n\nimport missing_thing.sub\n",
    )
    assert told(lambda: packed(folder, blobs)) == (
        "module 'missing_thing' is not found; imported by helpers/deep.py:3, imported by load.py:1, "
        "used by step 'load'\n"
        "Put missing_thing.py beside the recipe, or list its distribution under requirements."
    )


def test_a_missing_submodule_of_a_folder_is_missing(folder: Folder, blobs: Blobs, told: Told) -> None:
    """``from a import b`` means a module where ``a`` has no ``__init__.py``."""
    folder.write(recipe_yaml=RECIPE, load_py=f"from helpers import shallow\n{RUN}", helpers__deep_py="")
    assert told(lambda: packed(folder, blobs)).startswith(
        "module 'helpers.shallow' is not found; imported by load.py:1"
    )


def test_a_relative_import_out_of_its_package_is_told(folder: Folder, blobs: Blobs, told: Told) -> None:
    """Python would refuse it too, inside."""
    folder.write(recipe_yaml=RECIPE, load_py=f"import helpers.deep\n{RUN}", helpers__deep_py="\nfrom ..x import y\n")
    assert told(lambda: packed(folder, blobs)) == (
        "helpers/deep.py:2: this relative import leads out of its top-level package\n"
        "Take dots away, or import the module by its full name."
    )


def test_what_is_imported_under_a_condition_may_be_missing(folder: Folder, blobs: Blobs) -> None:
    """Also if it is only reached through another such import."""
    folder.write(
        recipe_yaml=RECIPE,
        load_py=f"try:\n    import numpy.linalg, fast\nexcept ImportError:\n    pass\n{RUN}",
        fast_py="import cython_thing\nfrom ... import x\n",
    )
    package = packed(folder, blobs)
    assert package.optional_imports == ("cython_thing", "numpy")
    assert "fast.py" in paths(package)


def test_what_is_needed_anyway_is_not_excused_by_a_condition_elsewhere(folder: Folder, blobs: Blobs) -> None:
    """The order of the imports must not matter."""
    folder.write(
        recipe_yaml=RECIPE,
        load_py=f"if 1:\n    import fast\nimport other\n{RUN}",
        other_py="import fast",
        fast_py="import missing_thing",
    )
    with pytest.raises(PackageError, match=r"'missing_thing' .* by fast\.py:1, imported by other\.py:1"):
        packed(folder, blobs)


def test_a_missing_step_module_is_told_with_the_nearest(folder: Folder, blobs: Blobs, told: Told) -> None:
    """Upstream invents code for it."""
    folder.write(recipe_yaml=RECIPE, lod_py=RUN)
    place = f"{folder.path}/recipe.yaml:2: "
    assert (
        told(lambda: packed(folder, blobs)) == f"{place}module 'load' of step 'load' is not found\nDid you mean 'lod'?"
    )
    (folder.path / "lod.py").unlink()
    assert told(lambda: packed(folder, blobs)) == (
        f"{place}module 'load' of step 'load' is not found\n"
        "Put load.py beside the recipe, or name its folder with --path."
    )


def test_a_missing_function_is_told_with_the_nearest(folder: Folder, blobs: Blobs, told: Told) -> None:
    """Before anything runs; names that are computed get the benefit of the doubt."""
    folder.write(recipe_yaml=RECIPE, load_py="def ran(context, params): ...\n")
    assert told(lambda: packed(folder, blobs)) == (
        f"{folder.path}/recipe.yaml:2: load.py defines no 'run', which step 'load' calls\nDid you mean 'ran'?"
    )
    folder.write(load_py="from shapes import *\n", shapes_py=RUN)
    assert "shapes.py" in paths(packed(folder, blobs))


def test_modules_beside_the_recipe_come_before_those_of_other_folders(folder: Folder, blobs: Blobs) -> None:
    """FRAMEWORK0: beside the recipe first, then the folders given by ``--path``."""
    folder.write(recipe_yaml=RECIPE, load_py=f"import shared, other\n{RUN}", shared_py="here = 1")
    more = folder.path.parent / "more"
    more.mkdir()
    (more / "shared.py").write_text("there = 1")
    (more / "other.py").write_text("there = 1")
    package = pack(load_recipe(folder.path), blobs=blobs, paths=[more])
    contents = {file.path: blobs.get(file.digest) for file in package.files}
    assert (contents["shared.py"], contents["other.py"]) == (b"here = 1", b"there = 1")
    with pytest.raises(PackageError, match="no such folder"):
        pack(load_recipe(folder.path), blobs=blobs, paths=[more / "none"])


def test_packages_of_the_images_names_merge_with_it(folder: Folder, blobs: Blobs, told: Told) -> None:
    """``scriptlets.framework`` is the image's, ``scriptlets.extractors`` the user's."""
    folder.write(
        recipe_yaml=RECIPE.replace("module: load", "module: scriptlets.extractors"),
        scriptlets__extractors_py=(
            "from scriptlets.framework import BaseScriptlet\nfrom scriptlets import tools\n"
            f"import orchestrator.context, src.core.logger\n{RUN}"
        ),
        scriptlets__tools_py="",
    )
    folder.put("scriptlets/__init__.py", '"""Mine."""\n')
    assert paths(packed(folder, blobs)) == [
        "recipe.yaml", "scriptlets/__init__.py", "scriptlets/extractors.py", "scriptlets/tools.py",
    ]  # fmt: skip
    folder.put("scriptlets/__init__.py", "import os\n")
    assert told(lambda: packed(folder, blobs)) == (
        "scriptlets/__init__.py: 'scriptlets' is also a package of the runner image, so this file would not run\n"
        "Leave it empty, and move its code into a module of its own."
    )
    folder.put("scriptlets/__init__.py")
    folder.write(scriptlets__tools_py="import scriptlets.nothing")
    assert told(lambda: packed(folder, blobs)).startswith("module 'scriptlets.nothing' is not found")


def test_a_function_may_be_a_name_that_a_scriptlet_is_registered_under(
    folder: Folder, blobs: Blobs, told: Told
) -> None:
    """Known before anything runs, as names of classes and functions are; a computed name may be any."""
    framework = "from scriptlets import framework\n@framework.register_scriptlet(params={'name': {}}, name="
    folder.write(recipe_yaml=RECIPE, load_py=f"{framework}'run')\nclass Load: ...\n")
    assert "load.py" in paths(packed(folder, blobs))
    folder.write(load_py=f"{framework}'ran')\nclass Load: ...\n")
    assert told(lambda: packed(folder, blobs)) == (
        f"{folder.path}/recipe.yaml:2: load.py defines no 'run', which step 'load' calls\nDid you mean 'ran'?"
    )
    folder.write(load_py=f"{framework}'r' + 'un')\nclass Load: ...\n")
    assert "load.py" in paths(packed(folder, blobs))


@pytest.mark.parametrize("module", ["scriptlets.extractors", "scriptlets.builtin.extractors"])
def test_a_built_in_scriptlet_needs_no_file(folder: Folder, blobs: Blobs, told: Told, module: str) -> None:
    """And one that there is not is told, with the nearest."""
    built_in = RECIPE.replace("module: load", f"module: {module}")
    folder.write(recipe_yaml=built_in.replace("function: run", "function: CsvExtractor"))
    assert paths(packed(folder, blobs)) == ["recipe.yaml"]
    folder.write(recipe_yaml=built_in.replace("function: run", "function: CvsExtractor"))
    assert told(lambda: packed(folder, blobs)) == (
        f"{folder.path}/recipe.yaml:2: the built-in {module} defines no 'CvsExtractor', which step 'load' calls\n"
        "Did you mean 'CsvExtractor'?"
    )
    folder.write(recipe_yaml=built_in.replace("extractors", "extractor"))
    said = told(lambda: packed(folder, blobs))
    assert f"module '{module[:-1]}' of step 'load' is not found" in said
    assert said.endswith("Did you mean 'scriptlets.extractors'?")


def test_a_recipes_own_scriptlets_go_before_the_built_in_ones(folder: Folder, blobs: Blobs, told: Told) -> None:
    """A module of its own takes the place of one; others are found beside it, and by their full name that one, too."""
    recipe = RECIPE.replace("module: load", "module: scriptlets.extractors")
    folder.write(
        recipe_yaml=recipe,
        scriptlets__extractors_py=(
            "from scriptlets.builtin.extractors import CsvExtractor\nfrom scriptlets import loaders\n"
            f"import scriptlets.transformers\n{RUN}"
        ),
    )
    assert paths(packed(folder, blobs)) == ["recipe.yaml", "scriptlets/extractors.py"]
    folder.write(recipe_yaml=recipe.replace("function: run", "function: CsvLoader"))
    assert "scriptlets/extractors.py defines no 'CsvLoader'" in told(lambda: packed(folder, blobs))
    folder.write(recipe_yaml=recipe.replace("extractors", "loaders").replace("function: run", "function: CsvLoader"))
    assert paths(packed(folder, blobs)) == ["recipe.yaml"]


def test_a_module_named_as_pythons_own_is_refused(folder: Folder, blobs: Blobs, told: Told) -> None:
    """Which of the two is meant would depend on what the runner has imported already."""
    folder.write(recipe_yaml=RECIPE, load_py=f"import queue\n{RUN}", queue_py="")
    assert told(lambda: packed(folder, blobs)) == (
        "queue.py has the name of a module of Python's standard library\n"
        "Rename it: which of the two an import means would depend on what was imported before."
    )


def test_data_files_come_by_glob_and_by_name(folder: Folder, blobs: Blobs) -> None:
    """A text in ``args`` that names a file is a file that the step will open."""
    args = "args: {path: ./data/x.csv, more: [{deep: y.txt}], no: [nothing.txt, ../etl/y.txt, data, '', /etc/passwd]}"
    folder.write(recipe_yaml='files: ["g/**/*.sql"]\n' + RECIPE.replace("args: {}", args), load_py=RUN)
    for name in ("data/x.csv", "data/z.csv", "y.txt", "g/a.sql", "g/b/c.sql", "g/.d/e.sql", "g/.f.sql"):
        folder.put(name, name)
    assert paths(packed(folder, blobs)) == ["data/x.csv", "g/a.sql", "g/b/c.sql", "load.py", "recipe.yaml", "y.txt"]


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("data/x.cvs", "'data/x.cvs' under files matches no file of 'etl'\nDid you mean 'data/x.csv'?"),
        ("*.sql", "'*.sql' under files matches no file of 'etl'\nCorrect it, or put the file there."),
        ("data", "'data' under files matches no file of 'etl'\nIt is a folder: write data/** for all files in it."),
        ("../secret", f"'../secret' under files is not a path below the recipe's folder\n{COPY}"),
        ("/etc/passwd", f"'/etc/passwd' under files is not a path below the recipe's folder\n{COPY}"),
    ],
)
def test_a_glob_that_gives_nothing_is_an_error(
    folder: Folder, blobs: Blobs, told: Told, glob: str, expected: str
) -> None:
    """A file that is left out now is a run that fails later."""
    folder.write(recipe_yaml=f'files: ["{glob}"]\n{RECIPE}', load_py=RUN)
    folder.put("data/x.csv")
    assert told(lambda: packed(folder, blobs)) == f"{folder.path}/recipe.yaml:1: {expected}"


@pytest.mark.parametrize("where", ["files: ['secret.txt']\n", "files: ['*.txt']\n", "args", "module"])
def test_a_link_out_of_the_folder_is_refused(folder: Folder, blobs: Blobs, where: str) -> None:
    """A recipe must not read the host's files through us."""
    outside = folder.path.parent / "outside"
    outside.write_text(RUN)
    recipe = RECIPE.replace("args: {}", "args: {p: secret.txt}") if where == "args" else RECIPE
    folder.write(recipe_yaml=recipe if where in {"args", "module"} else where + recipe)
    (folder.path / "secret.txt").symlink_to(outside)
    if where == "module":
        (folder.path / "load.py").symlink_to(outside)
    else:
        folder.write(load_py=RUN)
    with pytest.raises(PackageError, match="symbolic link that leads out of 'etl'"):
        packed(folder, blobs)


def test_disabled_steps_need_nothing(folder: Folder, blobs: Blobs) -> None:
    """``--skip`` must help where a module is broken; the recipe in the package is the selected one."""
    folder.write(recipe_yaml=RECIPE + "  - {name: broken, module: none, function: run}\n", load_py=RUN)
    loaded = load_recipe(folder.path)
    package = pack(loaded, blobs=blobs, recipe=select(loaded.recipe, skip=["broken"]))
    assert [step.enabled for step in package.recipe.steps] == [True, False]


def test_packages_have_an_upper_size(folder: Folder, blobs: Blobs, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host's disk is not the recipe's."""
    folder.write(recipe_yaml='files: ["big"]\n' + RECIPE, load_py=RUN)
    folder.put("big", "x" * 5000)
    monkeypatch.setattr(packing, "LARGEST_FILE_BYTES", 4096)
    assert told(lambda: packed(folder, blobs)) == (
        f"{folder.path}/big: the file is larger than 4 KiB\nMake it smaller, or check that it is the one that you mean."
    )
    monkeypatch.undo()
    monkeypatch.setattr(packing, "LARGEST_PACKAGE_BYTES", 4096)
    assert told(lambda: packed(folder, blobs)) == (
        "with big, the recipe's files are larger than 4 KiB together\nTake in less under files, or make them smaller."
    )
    monkeypatch.undo()
    monkeypatch.setattr(packing, "MOST_FILES", 2)
    assert (
        told(lambda: packed(folder, blobs))
        == "the recipe needs more than 2 files\nPack what belongs together into one file."
    )
