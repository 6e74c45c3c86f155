"""`EnhancedRecipeRunner` as an application uses it: its own context, and recipes in containers."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from isolation.errors import InputError, RecipeError
from orchestrator.context import Context
from orchestrator.runner import EnhancedRecipeRunner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("engine")]

RECIPE = """
metadata: {name: small}
execution: {timeout_seconds: 20}
steps:
  - {name: read, module: work, function: read}
  - {name: work, module: work, function: SCRIPTLET, args: {by: 2}, depends_on: [read]}
"""
WORK = """
import time

def read(context, params):
    return {"seen": context.keys()}

class Double:
    def run(self, context, params):
        context.set("out.value", params["by"] * context.get("in.value"), who="doubling")
        return {"doubled": True}

def fail(context, params):
    context.set("out.value", "never seen")
    raise ValueError("on purpose")

def wait(context, params):
    time.sleep(50)
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "work.py").write_text(WORK)
    (tmp_path / "recipe.yaml").write_text(RECIPE.replace("SCRIPTLET", "Double"))
    return tmp_path


def calling(recipe: Path, function: str) -> Path:
    (recipe / "recipe.yaml").write_text(RECIPE.replace("SCRIPTLET", function))
    return recipe


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[EnhancedRecipeRunner]:
    context = Context()
    context.set("in.value", 21, who="application")
    with EnhancedRecipeRunner(context, state=tmp_path / "state") as runner:
        yield runner


def test_a_run_sees_the_callers_context_and_changes_it(runner: EnhancedRecipeRunner, recipe: Path) -> None:
    """It is the snapshot; the changes come back with who made them, and with everything that Framework0 tells."""
    result = runner.run_recipe(str(recipe))

    assert (result.overall_success, result.status, result.global_errors) == (True, "succeeded", ())
    assert runner.context.get("out.value") == 42
    assert [(entry["key"], entry["who"]) for entry in runner.context.get_history()] == [
        ("in.value", "application"),
        ("out.value", "work as doubling"),
    ]
    assert result.context_keys_created == ("out.value",)
    assert (result.total_steps, result.completed_steps, result.success_rate) == (2, 2, 100.0)
    assert (result.failed_steps, result.skipped_steps) == (0, 0)
    read, work = result.step_results
    assert read.outputs == {"seen": ["in.value"]}
    assert (work.step_name, work.step_index, work.module_name, work.class_name) == ("work", 1, "work", "Double")
    assert (work.status, work.exit_code, work.success, work.outputs_created) == ("succeeded", 0, True, ("doubled",))
    assert result.end_time > result.start_time
    assert result.execution_time_seconds >= work.execution_time_seconds > 0


def test_nothing_of_the_shared_context_is_seen_and_nothing_goes_there(
    runner: EnhancedRecipeRunner, recipe: Path, tmp_path: Path
) -> None:
    """A context in memory is one of its own, also when the run is repeated from the record."""
    from isolation import open_controller  # noqa: PLC0415 - this test alone looks behind

    with open_controller(state=tmp_path / "state") as controller:
        controller.stores.contexts.set("in.other", 1, who="somebody", at="2025-01-01T00:00:00.000Z")
        result = runner.run_recipe(recipe)
        again = controller.rerun(result.run_id)

        assert result.step_results[0].outputs == {"seen": ["in.value"]}
        assert (again.changes.set, again.merge.status) == ({"out.value": 42}, "none")
        assert [entry.key for entry in controller.stores.contexts.list()] == ["in.other"]


def test_a_run_that_fails_changes_nothing_and_says_why(runner: EnhancedRecipeRunner, recipe: Path) -> None:
    """Its failure is a result, and no exception."""
    result = runner.run_recipe(calling(recipe, "fail"), max_retries=1, retry_delay="1ms")

    assert (result.overall_success, result.status) == (False, "failed")
    assert result.global_errors == ("work: ValueError: on purpose",)
    assert (result.completed_steps, result.failed_steps, result.success_rate) == (1, 1, 50.0)
    assert result.step_results[1].errors == ("ValueError: on purpose",)
    assert result.step_results[1].exit_code == 1
    assert runner.context.to_dict() == {"in.value": 21}


def test_what_is_no_recipe_is_an_exception_that_says_so(runner: EnhancedRecipeRunner, recipe: Path) -> None:
    """Before anything runs, and nothing of it is history."""
    with pytest.raises(RecipeError):
        runner.run_recipe(recipe / "nowhere.yaml")
    with pytest.raises(InputError, match="'wrok', which is no step"):
        runner.run_recipe(recipe, only=["wrok"])
    with pytest.raises(InputError, match="max_retries cannot be 1000"):
        runner.run_recipe(recipe, max_retries=1000)
    with pytest.raises(InputError, match="step_timeout cannot be -1"):
        runner.run_recipe(recipe, step_timeout=-1)
    with pytest.raises(InputError, match="retry_delay cannot be 'soon'"):
        runner.run_recipe(recipe, retry_delay="soon")
    with pytest.raises(InputError, match="--only is a list of steps, not a text"):
        runner.run_recipe(recipe, only="work")

    assert runner.get_execution_history() == []


def test_a_step_has_the_time_that_the_caller_gives(runner: EnhancedRecipeRunner, recipe: Path) -> None:
    """And no more."""
    result = runner.run_recipe(calling(recipe, "wait"), step_timeout=0.2)

    assert result.step_results[1].status == "timed_out"


def test_a_cancelled_runner_runs_again(runner: EnhancedRecipeRunner, recipe: Path) -> None:
    """A cancel ends what runs, and what comes later knows nothing of it."""
    assert runner.cancel_execution() is False
    ended = []
    waiting = threading.Thread(target=lambda: ended.append(runner.run_recipe(calling(recipe, "wait"))))
    waiting.start()
    while not runner.cancel_execution():
        time.sleep(0.01)
    waiting.join(20)

    assert [(one.status, one.overall_success) for one in ended] == [("cancelled", False)]
    assert runner.run_recipe(calling(recipe, "Double")).overall_success


def test_many_inputs_give_results_in_their_order(runner: EnhancedRecipeRunner, recipe: Path) -> None:
    """As if they had been run one after another: each sees its own input, and the last is what stays."""
    results = runner.run_many(recipe, [{"in.value": number} for number in range(4)], workers=2)

    assert [(one.overall_success, one.step_results[1].success) for one in results] == [(True, True)] * 4
    assert runner.context.to_dict() == {"in.value": 21, "out.value": 6}


def test_history_and_statistics_tell_of_every_run(runner: EnhancedRecipeRunner, recipe: Path) -> None:
    """Those that failed, too."""
    runner.run_recipe(recipe)
    runner.run_recipe(calling(recipe, "fail"))

    history, counted = runner.get_execution_history(), runner.get_execution_statistics()
    assert [one.status for one in history] == ["succeeded", "failed"]
    assert (counted["total_executions"], counted["successful_executions"], counted["failed_executions"]) == (2, 1, 1)
    assert counted["success_rate"] == 50.0
    assert counted["average_execution_time_seconds"] == pytest.approx(
        sum(one.execution_time_seconds for one in history) / 2
    )
