"""What a recipe that runs in this process finds: modules as in a cell, its files, and a place for what it keeps."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from isolation.errors import PackageError
from tests.framework0.here import recipe, run

pytestmark = [
    pytest.mark.filterwarnings("ignore::orchestrator.inprocess.NotIsolatedWarning"),
    pytest.mark.usefixtures("scratch"),
]


def test_an_edited_file_is_what_the_next_run_runs(
    tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the same second, too, and with nothing left of the last one: no module, no path, no working directory."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    path = recipe(tmp_path, "see args: {more: 1}")
    before = [*sys.path], {*sys.modules}, Path.cwd()
    run(path)
    (tmp_path / "work.py").write_text("def see(context, params):\n    return {'edited': True}\n")

    assert run(path)[0].step_results[0].outputs == {"edited": True}
    assert [*scratch.iterdir()] == []
    assert (before[0], before[2], "work" in sys.modules) == ([*sys.path], Path.cwd(), False)
    assert not (tmp_path / "__pycache__").exists()


def test_modules_are_found_as_in_a_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the recipe, in further folders, then the built-in ones; a program's own of that name comes back."""
    own = type(sys)("work")
    monkeypatch.setitem(sys.modules, "work", own)
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there / "parts", here / "scriptlets"):
        folder.mkdir(parents=True)
    (there / "parts/inner.py").write_text("NAME = 'there'\n")
    (here / "scriptlets/extractors.py").write_text(
        "from scriptlets.builtin.extractors import CsvExtractor\nfrom parts import inner\nimport work\n\n\n"
        "def mine(context, params):\n"
        "    return {'name': inner.NAME, 'theirs': CsvExtractor.__name__, 'file': work.__file__}\n"
    )
    path = recipe(here, "see")
    (here / "recipe.yaml").write_text(
        "metadata: {name: here}\nsteps: [{name: a, module: scriptlets.extractors, function: mine}]"
    )

    for _ in range(2):
        (step,) = run(path, paths=[there])[0].step_results
        assert step.outputs == {"name": "there", "theirs": "CsvExtractor", "file": str(here / "work.py")}, step.errors
    assert sys.modules["work"] is own
    theirs = importlib.import_module("scriptlets.extractors")
    assert theirs.CsvExtractor.__module__ == "scriptlets.extractors"
    assert not [name for name in sys.modules if name.partition(".")[0] == "parts"]


def test_a_module_in_a_package_of_ours_is_read_again_too(tmp_path: Path) -> None:
    """The package itself stays, and knows nothing of what was in it for a run."""
    path = recipe(tmp_path, "see")
    (tmp_path / "work.py").write_text(
        "from scriptlets import own\n\n\ndef see(context, params):\n    return {'value': own.VALUE}\n"
    )
    (tmp_path / "scriptlets").mkdir()
    for value in (1, 2):
        (tmp_path / "scriptlets/own.py").write_text(f"VALUE = {value}\n")
        assert run(path)[0].step_results[0].outputs == {"value": value}


def test_what_is_not_there_is_refused_before_anything_runs(tmp_path: Path) -> None:
    """As when it is packed."""
    path = recipe(tmp_path, "see")
    (path / "recipe.yaml").write_text("metadata: {name: a}\nsteps: [{name: a, module: wrok, function: see}]")
    with pytest.raises(PackageError, match="module 'wrok' of step 'a' is not found"):
        run(path)
    with pytest.raises(PackageError, match=r"none\.txt"):
        run(recipe(tmp_path, "see", files="[none.txt]"))


def test_data_files_and_artifacts_have_their_places(tmp_path: Path, scratch: Path) -> None:
    """Relative names lead to the recipe's folder, and nothing is written to the root of this system."""
    (tmp_path / "data.txt").write_text("read")
    result = run(recipe(tmp_path, "read", "keep", files="[data.txt]"))[0]

    assert result.step_results[0].outputs == {"text": "read"}
    (told,) = [warning for warning in result.global_warnings if "artifacts" in warning]
    folder = told.removeprefix("its artifacts are in ")
    assert Path(folder, "report.txt").read_text() == "kept"
    assert Path(folder).parents[1] == scratch


def test_rows_that_are_too_many_for_the_context_travel_too(tmp_path: Path, scratch: Path) -> None:
    """The built-in library shares a file between its steps, which goes with the run."""
    (tmp_path / "many.csv").write_text("id,text\n" + "".join(f"{n},{'x' * 60}\n" for n in range(2000)))
    (tmp_path / "recipe.yaml").write_text(
        """
metadata: {name: etl}
steps:
  - {name: extract, module: scriptlets.extractors, function: CsvExtractor, args: {source_url: many.csv}}
  - name: load
    module: scriptlets.loaders
    function: JsonLinesLoader
    depends_on: [extract]
    args: {target_url: many.jsonl}
"""
    )
    result, context = run(tmp_path, {})

    assert result.overall_success, result.global_errors
    assert result.step_results[1].outputs == {"rows": 2000}
    assert [path.name for path in scratch.rglob("*") if path.is_file()] == ["many.jsonl"]
    assert context.to_dict() == {}
