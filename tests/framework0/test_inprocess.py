"""Recipes that are run in this process, for a debugger: not isolated, and in all else as in a container."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from isolation.errors import InputError, SecretError
from orchestrator import inprocess
from orchestrator.context import Context
from orchestrator.inprocess import NotIsolatedWarning
from orchestrator.kept import KeptContext
from orchestrator.runner import EnhancedRecipeRunner
from tests.framework0.here import recipe, run

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.filterwarnings("ignore::orchestrator.inprocess.NotIsolatedWarning"),
    pytest.mark.usefixtures("scratch"),
]


def test_it_has_the_same_result_and_the_same_context(tmp_path: Path) -> None:
    """Values go in, changes come back with who made them, and it was this very process."""
    result, context = run(recipe(tmp_path, "Double args: {by: 2}", "see depends_on: [Double], args: {more: 1}"))

    assert (result.overall_success, result.status, result.run_id) == (True, "succeeded", "")
    assert context.to_dict() == {"in.value": 21, "out.value": 42}
    assert [entry["who"] for entry in context.get_history()] == ["Double as doubling"]
    assert (result.completed_steps, result.context_keys_created) == (2, ("out.value",))
    double, see = result.step_results
    assert (double.module_name, double.class_name, double.outputs_created) == ("work", "Double", ("doubled",))
    assert see.outputs == {"keys": ["in.value", "out.value"], "config": {}, "is_here": os.getpid(), "more": 1}


def test_it_says_so_loudly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a warning at the caller's line, on standard error each time, and in the result."""
    runner, path = EnhancedRecipeRunner(), recipe(tmp_path, "see timeout: 5")
    said = "the recipe 'here' runs in this process, not isolated: nothing confines it"

    with pytest.warns(NotIsolatedWarning, match=said) as warned:
        result = runner.run_recipe(path, isolated=False)

    assert [warning.filename for warning in warned] == [__file__]
    assert capsys.readouterr().err == f"isolation: {said}\n"
    assert result.global_warnings == (
        "the recipe 'here' ran in this process, not isolated: nothing confined it",
        "the timeout of see was not held",
    )


def test_a_run_that_fails_changes_nothing(tmp_path: Path) -> None:
    """What succeeded before goes nowhere either; dependants are skipped, and all else unless it is to continue."""
    path = recipe(
        tmp_path,
        "forget",
        "fail depends_on: [forget]",
        "see depends_on: [fail]",
        "Double args: {by: 0}, enabled: false",
    )
    result, context = run(path)

    assert (result.overall_success, result.status) == (False, "failed")
    assert result.global_errors == ("fail: ValueError: on purpose",)
    assert [step.status for step in result.step_results] == ["succeeded", "failed", "skipped", "disabled"]
    assert result.step_results[2].warnings == ("its dependency 'fail' was failed",)
    assert context.to_dict() == {"in.value": 21}

    path = recipe(tmp_path, "fail", "see")
    assert [step.status for step in run(path)[0].step_results] == ["failed", "skipped"]
    failed, see = run(path, continue_on_error=True)[0].step_results
    assert (failed.status, see.status) == ("failed", "succeeded")
    assert isinstance(see.outputs, dict)
    assert see.outputs["keys"] == ["in.value"]


def test_a_key_that_is_deleted_is_gone(tmp_path: Path) -> None:
    """As from a container."""
    result, context = run(recipe(tmp_path, "forget"))

    assert result.overall_success
    assert context.to_dict() == {}


def test_steps_are_chosen_as_ever(tmp_path: Path) -> None:
    """And a name that no step has is refused."""
    path = recipe(tmp_path, "see", "fail", "forget depends_on: [see]")

    assert run(path, only=["forget"])[0].total_steps == 1
    assert [step.status for step in run(path, skip=["fail"])[0].step_results] == ["succeeded", "disabled", "succeeded"]
    with pytest.raises(InputError, match="'foget'"):
        run(path, only=["foget"])


def test_what_must_be_there_and_what_may_be_touched_is_held(tmp_path: Path) -> None:
    """Reads are narrowed, writes are refused, and success has its conditions."""
    scope = {"context": "{reads: [in.*], writes: [in.*]}"}
    assert run(recipe(tmp_path, "see", **scope), {"in.a": 1, "no": 2})[0].step_results[0].outputs["keys"] == ["in.a"]  # type: ignore[call-overload,index]
    result, context = run(recipe(tmp_path, "Double args: {by: 2}", **scope))
    assert result.step_results[0].errors == (
        "PermissionError: the step wrote the context key 'out.value', which is not declared under context.writes",
    )
    assert "out.value" not in context
    missing = run(recipe(tmp_path, "see success: {ctx_has_keys: [in.value, out.value]}"))[0]
    assert missing.step_results[0].errors == ("LookupError: success.ctx_has_keys: the context has no out.value",)


def test_what_must_be_there_counts_as_read(tmp_path: Path) -> None:
    """What the run itself made does not."""
    path = recipe(
        tmp_path, "Double args: {by: 2}, success: {ctx_has_keys: [in.more, out.value]}", context="{reads: [in.*]}"
    )
    (step,) = inprocess.prepare(path).run({"in.value": 1, "in.more": 2}).attempts[-1].steps

    assert step.keys_read == ("in.more", "in.value")


EXAMPLES = (
    *("quickstart", "batch", "dialect", "etl", "etl-library", "templated", "tested", "secret", "gallery/skips"),
    *("gallery/features", "gallery/takes-outputs", "gallery/stops-at-a-failure", "gallery/misses-a-key"),
    *("gallery/writes-undeclared", "gallery/answers-not-json", "gallery/exits", "gallery/reaches-for-more"),
)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_ends_as_it_does_in_a_container(name: str) -> None:
    """Those that need no wall, no limit, no place of a cell and no process of their own."""
    folder = ROOT / "recipes" / name
    expected = yaml.safe_load((folder / "expected.yaml").read_text())
    policy = folder / "policy.yaml"
    prepared = inprocess.prepare(
        folder, policy=str(policy) if policy.exists() else None, secrets=expected.get("secrets", {})
    )
    result = prepared.run(expected.get("before", {}))

    steps = result.attempts[-1].steps
    assert (result.outcome.value, result.cause) == (expected["outcome"], expected.get("cause", ""))
    assert [(step.name, step.outcome.value, step.cause, step.reason) for step in steps] == [
        (step["name"], step["outcome"], step.get("cause", ""), step.get("reason", "")) for step in expected["steps"]
    ]
    for step, wanted in zip(steps, expected["steps"], strict=True):
        assert step.outputs == wanted.get("outputs", step.outputs)
    if result.succeeded:
        changes = result.changes
        assert (changes.set, [*changes.deleted]) == (expected.get("set", {}), expected.get("deleted", []))


def test_a_step_is_tried_again_and_knows_nothing_of_it(tmp_path: Path) -> None:
    """Each try imports its module afresh, as a process of its own would."""
    path = recipe(tmp_path, f"count args: {{file: {tmp_path}/log, until: 3}}, retry_count: 1")

    assert run(path)[0].step_results[0].errors == ("OSError: not yet",)
    assert (tmp_path / "log").read_text() == "xx"
    assert run(path)[0].step_results[0].outputs == {"times": 1}
    assert run(recipe(tmp_path, "fail"), max_retries=2)[0].status == "failed"


def test_a_whole_run_is_tried_again_as_its_recipe_and_policy_say(tmp_path: Path) -> None:
    """From the beginning, with the context as it was."""
    (tmp_path / "policy.yaml").write_text("name: patient\nretry: {failed: {attempts: 3}}")
    step = f"count args: {{file: {tmp_path}/log, until: 3}}"
    path = recipe(tmp_path, step, execution="{retry_attempts: 2}")

    assert run(path, policy=str(tmp_path / "policy.yaml"))[0].overall_success
    assert (tmp_path / "log").read_text() == "xxx"


@pytest.mark.parametrize(
    ("step", "status", "errors"),
    [
        ("leave args: {code: 0}", "succeeded", ()),
        ("leave args: {code: 3}", "failed", ("SystemExit: the step called exit(3)",)),
        (
            "odd",
            "bad_answer",
            ("ValueError: run() returned outputs that are not JSON: set is none of JSON's types",),
        ),
    ],
)
def test_ends_are_judged_as_in_a_container(tmp_path: Path, step: str, status: str, errors: tuple[str, ...]) -> None:
    """By the same code."""
    (ended,) = run(recipe(tmp_path, step))[0].step_results

    assert (ended.status, len(ended.errors)) == (status, len(errors))
    assert [error.split(":")[:2] for error in ended.errors] == [error.split(":")[:2] for error in errors]


def test_outputs_are_taken_by_steps_that_follow(tmp_path: Path) -> None:
    """By value: what one does to them, another does not see."""
    taking = "args_from: [{at: [more], parts: [{step: Double, output: [OUTPUT]}]}], args: {more: null}"
    path = recipe(tmp_path, "Double args: {by: 2}", f"see depends_on: [Double], {taking.replace('OUTPUT', 'doubled')}")
    assert run(path)[0].step_results[1].outputs["more"] is True  # type: ignore[call-overload,index]

    path = recipe(tmp_path, "Double args: {by: 2}", f"see depends_on: [Double], {taking.replace('OUTPUT', 'other')}")
    assert run(path)[0].step_results[1].errors == ("LookupError: step 'Double' returned no output 'other'",)


def test_secrets_are_given_and_do_not_come_back(tmp_path: Path) -> None:
    """One without a value is refused before anything runs, and one that is written ends the run."""
    (tmp_path / "policy.yaml").write_text("name: open\nsecrets: [TOKEN]")
    policy, secrets = str(tmp_path / "policy.yaml"), {"TOKEN": "a-long-enough-secret"}
    path = recipe(tmp_path, "spend secrets: [TOKEN]", "see", secrets="[TOKEN]")

    assert run(path, policy=policy, secrets=secrets)[0].step_results[0].outputs == {"length": 20}
    with pytest.raises(SecretError, match="nobody gave a value"):
        run(path, policy=policy)
    path = recipe(tmp_path, "spend secrets: [TOKEN], args: {leak: true}", "see", secrets="[TOKEN]")
    result, context = run(path, policy=policy, secrets=secrets)
    assert [step.status for step in result.step_results] == ["failed", "unknown"]
    assert (context.to_dict(), "a-long-enough" in repr(result)) == ({"in.value": 21}, False)
    path = recipe(tmp_path, "spend secrets: [TOKEN], args: {say: true}", secrets="[TOKEN]")
    assert run(path, policy=policy, secrets=secrets)[0].global_errors == ("spend: ValueError: [secret TOKEN]",)


def test_what_cannot_be_held_here_is_refused(tmp_path: Path) -> None:
    """A time for steps, and a context that others share."""
    path = recipe(tmp_path, "see")
    with pytest.raises(InputError, match="step_timeout cannot be held in this process"):
        run(path, step_timeout=1)
    with KeptContext(tmp_path / "state") as kept, pytest.raises(InputError, match="never touches a context"):
        EnhancedRecipeRunner(kept, isolated=False).run_recipe(path)


def test_many_inputs_run_one_after_another(tmp_path: Path) -> None:
    """There is one working directory: while a step has it, no other thread can begin a run."""
    path = recipe(tmp_path, "see")
    (tmp_path / "work.py").write_text(
        "from concurrent.futures import ThreadPoolExecutor\nfrom orchestrator import inprocess\n\n\n"
        "def see(context, params):\n    with ThreadPoolExecutor() as threads:\n"
        "        return {'free': threads.submit(inprocess._ALONE.acquire, blocking=False).result()}\n"
    )
    assert run(path)[0].step_results[0].outputs == {"free": False}

    runner = EnhancedRecipeRunner(isolated=False)
    inputs = [{"in.value": number} for number in range(3)]
    results = runner.run_many(recipe(tmp_path, "Double args: {by: 2}"), inputs, workers=3)

    assert [result.overall_success for result in results] == [True] * 3
    assert runner.context.get("out.value") == 4


def test_a_cancelled_run_ends_with_its_step(tmp_path: Path) -> None:
    """And the runner runs again."""
    runner, path = EnhancedRecipeRunner(Context({"in.value": 1}), isolated=False), recipe(tmp_path, "stop", "see")
    sys.modules["runner_of_the_test"] = holder = type(sys)("runner_of_the_test")
    holder.runner = runner  # type: ignore[attr-defined]
    (tmp_path / "work.py").write_text(
        "import sys\n\n\ndef stop(context, params):\n    context.set('out', 1)\n"
        "    sys.modules['runner_of_the_test'].runner.cancel_execution()\n\n\ndef see(context, params): ...\n"
    )
    try:
        result = runner.run_recipe(path)
    finally:
        del sys.modules["runner_of_the_test"]

    assert (result.status, [step.status for step in result.step_results]) == ("cancelled", ["succeeded", "unknown"])
    assert runner.context.to_dict() == {"in.value": 1}


@pytest.mark.slow
def test_a_breakpoint_stops_in_the_scriptlet(tmp_path: Path) -> None:
    """In this process, on its own terminal, with the scriptlet's names; who leaves the debugger leaves the run."""
    path = recipe(tmp_path, "see")
    (tmp_path / "work.py").write_text(
        "def see(context, params):\n    here = 41\n    breakpoint()\n    return {'n': here}\n"
    )
    program = (
        "import sys, warnings; warnings.simplefilter('ignore')\n"
        "from orchestrator.runner import EnhancedRecipeRunner\n"
        f"print(EnhancedRecipeRunner(isolated=False).run_recipe({str(path)!r}).step_results[0].outputs)"
    )
    command = [sys.executable, "-c", program]

    def debug(said: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, input=said, capture_output=True, text=True, check=False)

    went_on = debug("p here + 1\nc\n")
    assert "42" in went_on.stdout
    assert went_on.stdout.endswith("{'n': 41}\n"), went_on.stderr
    assert "bdb.BdbQuit" in debug("q\n").stderr
