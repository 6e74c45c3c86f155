"""Where others pretend, ours obeys or refuses: a test for each way in which a recipe's words were ever ignored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

import pytest

from isolation.cli import boundary
from isolation.errors import InputError, PackageError, PolicyError, RecipeError
from isolation.packaging.load import load_recipe
from isolation.packaging.pack import pack
from isolation.packaging.policy import load_policy
from orchestrator.context import Context
from orchestrator.runner import Choices, EnhancedRecipeRunner
from tests.packaging.conftest import Blobs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from isolation.model.package import Package
    from orchestrator.result import RecipeExecutionResult

    Run = Callable[..., RecipeExecutionResult]

WORK = """
import time

def note(context, params):
    context.set("noted", [*context.get("noted", []), params["as"]])

def fail(context, params):
    raise RuntimeError("on purpose")

def wait(context, params):
    time.sleep(25)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "recipe"
    folder.mkdir()
    (folder / "work.py").write_text(WORK)
    return folder


@pytest.fixture
def context() -> Context:
    return Context()


@pytest.fixture
def run(folder: Path, tmp_path: Path, context: Context) -> Iterator[Run]:
    """Run a recipe of these steps, each a line of YAML."""
    with EnhancedRecipeRunner(context, state=tmp_path / "state") as runner:

        def running(*steps: str, head: str = "", **choices: Unpack[Choices]) -> RecipeExecutionResult:
            return runner.run_recipe(written(folder, *steps, head=head), **choices)

        yield running


def written(folder: Path, *steps: str, head: str = "") -> Path:
    lines = [head, "steps:", *(f"  - {{{step}}}" for step in steps)]
    (folder / "recipe.yaml").write_text("\n".join(lines))
    return folder


def packed(folder: Path, *steps: str, head: str = "") -> Package:
    return pack(load_recipe(written(folder, *steps, head=head)), blobs=Blobs())


def noting(name: str, more: str = "") -> str:
    return f"name: {name}, module: work, function: note, args: {{as: {name}}}{', ' if more else ''}{more}"


engine = pytest.mark.engine
with_engine = pytest.mark.usefixtures("engine")


@engine
@with_engine
def test_depends_on_decides_the_order_whatever_else_is_said(run: Run, context: Context) -> None:
    """Neither the place in the file nor ``idx`` goes before it."""
    result = run(noting("last", "idx: 1, depends_on: [first]"), noting("first", "idx: 2"))

    assert result.overall_success
    assert context.get("noted") == ["first", "last"]


@engine
@with_engine
def test_a_step_that_is_not_enabled_does_not_run(run: Run, context: Context) -> None:
    """And counts as skipped, not as done."""
    result = run(noting("on"), noting("gone", "enabled: false"))

    assert context.get("noted") == ["on"]
    assert [step.status for step in result.step_results] == ["succeeded", "disabled"]
    assert (result.completed_steps, result.skipped_steps) == (1, 1)


@engine
@with_engine
def test_a_success_condition_that_is_not_met_fails_the_step(run: Run, context: Context) -> None:
    """Also where the scriptlet itself ended well; nothing is merged."""
    result = run(noting("some", "success: {ctx_has_keys: [noted, promised]}"))

    assert (result.overall_success, result.step_results[0].status) == (False, "failed")
    assert "the context has no promised" in result.global_errors[0]
    assert context.keys() == []


@engine
@with_engine
def test_a_failed_dependency_stops_its_dependants(run: Run) -> None:
    """All the way down; what depends on nothing that failed may go on, if that is wanted."""
    result = run(
        "name: fail, module: work, function: fail",
        noting("next", "depends_on: [fail]"),
        noting("after", "depends_on: [next]"),
        noting("apart"),
        continue_on_error=True,
    )

    assert [step.status for step in result.step_results] == ["failed", "skipped", "skipped", "succeeded"]


@engine
@with_engine
def test_a_steps_timeout_ends_it(run: Run) -> None:
    """Whatever it does meanwhile."""
    result = run("name: wait, module: work, function: wait, timeout: 0.3")

    assert (result.status, result.step_results[0].errors) == ("timed_out", ("TimeoutError: stopped after 0.3 s",))


@engine
@with_engine
def test_a_recipes_timeout_ends_it_too(run: Run) -> None:
    """Where no step has one of its own."""
    result = run("name: wait, module: work, function: wait", head="execution: {timeout_seconds: 0.5}")

    assert (result.status, result.global_errors) == ("timed_out", ("the run ended as timed_out: limits.wall",))


@engine
@with_engine
def test_the_callers_context_goes_in_and_comes_back(run: Run, context: Context) -> None:
    """The very object, not one that is made for the run and dropped."""
    context.set("noted", ["by the caller"], who="caller")

    result = run(noting("step"))

    assert result.overall_success
    assert context.get("noted") == ["by the caller", "step"]


def test_a_type_that_nobody_can_run_is_refused(folder: Path) -> None:
    """To run it as if it were Python would be a guess."""
    with pytest.raises(RecipeError, match="must be 'python', not 'shell'"):
        load_recipe(written(folder, noting("step", "type: shell")))


@engine
@with_engine
def test_a_step_that_is_chosen_and_does_not_exist_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run of no steps would have succeeded."""
    recipe = written(folder, noting("report"))

    assert boundary.run(["run", str(recipe), "--only", "reprot", "--state", str(tmp_path / "state")]) == 2
    assert "Did you mean 'report'?" in capsys.readouterr().err


def test_a_package_has_what_is_imported_and_what_is_read_and_nothing_else(folder: Path) -> None:
    """Found by following imports, also those of modules, and by the files that the recipe names."""
    (folder / "work.py").write_text("import deeper\ndef note(context, params): return deeper.words()\n")
    (folder / "deeper.py").write_text("def words(): return {}\n")
    (folder / "data").mkdir()
    (folder / "data/table.csv").write_text("a\n")
    (folder / "data/named.csv").write_text("a\n")
    (folder / "secret_of_the_folder.txt").write_text("not for the recipe\n")
    step = "name: step, module: work, function: note, args: {table: data/named.csv}"

    package = packed(folder, step, head="files: [data/table.csv]")

    assert [file.path for file in package.files] == [
        "data/named.csv",
        "data/table.csv",
        "deeper.py",
        "recipe.yaml",
        "work.py",
    ]


def test_a_package_that_could_not_run_is_not_made(folder: Path) -> None:
    """An import that leads nowhere is found before anything runs."""
    (folder / "work.py").write_text("import nowhere_to_be_found\ndef note(context, params): ...\n")

    with pytest.raises(PackageError, match="nowhere_to_be_found"):
        packed(folder, noting("step"))


def test_a_data_file_that_is_not_there_is_refused(folder: Path) -> None:
    """A run without it would be another run."""
    with pytest.raises(PackageError, match=r"data/\*\.csv"):
        packed(folder, noting("step"), head="files: ['data/*.csv']")


def test_no_code_is_invented_for_a_module_that_does_not_exist(folder: Path) -> None:
    """Nor for a function: the nearest name is a hint, and never what runs."""
    with pytest.raises(PackageError, match="wrok") as module:
        packed(folder, "name: step, module: wrok, function: note")
    with pytest.raises(PackageError, match="nte") as function:
        packed(folder, "name: step, module: work, function: nte")

    assert "'work'" in module.value.hint
    assert "'note'" in function.value.hint
    assert sorted(path.name for path in folder.iterdir()) == ["recipe.yaml", "work.py"]


def test_a_key_that_means_nothing_is_refused(folder: Path) -> None:
    """It meant something to whoever wrote it."""
    with pytest.raises(RecipeError, match="depend_on"):
        load_recipe(written(folder, noting("step", "depend_on: [other]")))


def test_a_dependency_that_is_no_step_is_refused(folder: Path) -> None:
    """It would be waited for without end, or not at all."""
    with pytest.raises(RecipeError, match="depends on 'frist', which is no step"):
        load_recipe(written(folder, noting("first"), noting("second", "depends_on: [frist]")))


def test_a_limit_that_cannot_be_held_is_refused(tmp_path: Path) -> None:
    """A line of a policy that nothing enforces would be believed."""
    (tmp_path / "policy.yaml").write_text("name: mine\nlimits: {bandwidth: 10MiB}\n")

    with pytest.raises(PolicyError, match="bandwidth"):
        load_policy(tmp_path / "policy.yaml")


def test_a_runner_that_is_told_of_no_such_step_has_run_nothing(folder: Path, tmp_path: Path) -> None:
    """As the command line: ``skip`` is held to the same."""
    with EnhancedRecipeRunner(state=tmp_path / "state") as runner, pytest.raises(InputError, match="'stpe'"):
        runner.run_recipe(written(folder, noting("step")), skip=["stpe"])
