"""Steps that need not run again, on the real engine: what is found, what is taken, and what is left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from isolation.api import open_controller
from isolation.cli.paint import Paint
from isolation.cli.summary import summary
from isolation.model.adjustments import Adjustments
from isolation.model.outcome import StepOutcome
from isolation.model.recipe import Leeway
from isolation.packaging.policy import load_policy
from isolation.verification import verify
from tests.conftest import on_gvisor
from tests.sandbox.test_warm_cells import await_idle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from isolation.controller import Controller
    from isolation.model.policy import Policy
    from isolation.model.run import Result

pytestmark = pytest.mark.engine

POLICY = load_policy("default")


class Lab:
    """A recipe that is written anew for each test, and a context."""

    def __init__(self, controller: Controller, folder: Path) -> None:
        self.controller, self._folder = controller, folder
        self.policy: Policy = POLICY
        folder.mkdir()

    def write(self, module: str, *steps: str, **head: str) -> None:
        """Write the recipe; ``head`` has more of it, each a line."""
        (self._folder / "cached.py").write_text(module)  # a name that the runner has, too
        lines = ["metadata: {name: work}", *(f"{key}: {value}" for key, value in head.items()), "steps:"]
        lines += [f"  - {{module: cached, {step}}}" for step in steps]
        (self._folder / "recipe.yaml").write_text("\n".join(lines) + "\n")

    def set(self, **values: Any) -> None:  # noqa: ANN401 - JSON
        """Write to the context, as somebody else."""
        for key, value in values.items():
            self.controller.stores.contexts.set(key, value, "ann", "2025-01-01T00:00:00.000Z")

    def run(self, **how: Any) -> Result:  # noqa: ANN401 - as for ``Controller.run``
        """Run it."""
        return self.controller.run(self._folder, **{"policy": self.policy, **how})

    def cached(self, **how: Any) -> list[str]:  # noqa: ANN401 - as above
        """Run it, and name the steps that did not run."""
        result = self.run(**how)
        assert result.succeeded, result.errors
        return [step.name for step in result.attempts[-1].steps if step.cached_from]

    def content(self) -> dict[str, Any]:
        """Return the whole context."""
        return {entry.key: entry.value for entry in self.controller.stores.contexts.list()}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with open_controller(state=tmp_path / "state") as controller:
        yield Lab(controller, tmp_path / "recipe")


DOUBLES = """
def run(context, params):
    print("it runs")
    context.set("out", context.get("n", 0) * params.get("by", 2))
    context.delete("old")
    return {"by": params.get("by", 2)}

def tell(context, params):
    return {"out": context.get("out"), "taken": params.get("taken")}

def fail(context, params):
    raise ValueError("not today")
"""
ONE = "name: double, function: run, cache: true"
TELL = (
    "name: tell, function: tell, depends_on: [double], args: {taken: null}, "
    "args_from: [{at: [taken], parts: [{step: double, output: [by]}]}]"
)


def test_a_second_run_takes_what_the_first_made(lab: Lab) -> None:
    """Its changes and outputs go on as if it had run; it has no log, and its record names the run that made it."""
    lab.write(DOUBLES, ONE, TELL)
    lab.set(n=4, old=1)
    first = lab.run()
    lab.set(out=0, old=1)

    second = lab.run()

    double, tell = second.attempts[-1].steps
    assert (double.cached_from, double.outcome, double.tries) == (first.run_id, StepOutcome.SUCCEEDED, 0)
    assert (double.keys_read, double.keys_written, double.outputs) == (("n", "old"), ("old", "out"), {"by": 2})
    assert (tell.cached_from, tell.outputs) == ("", {"out": 8, "taken": 2})
    assert (lab.content(), second.merge.status) == ({"n": 4, "out": 8}, "merged")
    assert [*lab.controller.stores.logs.read(second.run_id)] == []
    assert f"cached from {first.run_id}" in summary(second, POLICY, lambda _: "", Paint())


def test_what_it_read_decides(lab: Lab) -> None:
    """Another value, or none; what it did not read does not; and what there was before is still on record."""
    lab.write(DOUBLES, ONE)
    lab.set(n=4)
    assert lab.cached() == []

    lab.set(other=1)
    assert lab.cached() == ["double"]
    lab.set(n=5)
    assert lab.cached() == []
    lab.set(n=4)
    assert (lab.cached(), lab.content()["out"]) == (["double"], 8)
    assert lab.cached(context={"n": 6}) == []
    assert (lab.cached(context={"n": 6}), lab.content()["out"]) == (["double"], 12)
    lab.set(old=1)
    assert lab.cached() == []


CHANGES: dict[str, Callable[[Lab], Any]] = {
    "an arg": lambda lab: lab.write(DOUBLES, f"{ONE}, args: {{by: 3}}"),
    "a module": lambda lab: lab.write(DOUBLES.replace("it runs", "it ran"), ONE),
    "the policy": lambda lab: setattr(lab, "policy", POLICY.model_copy(update={"require_attestation": True})),
    "a feature": lambda lab: lab.write(DOUBLES, ONE, features="{fast: true}"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_where_something_is_changed_it_runs(lab: Lab, change: str) -> None:
    """And the time after next it is taken again."""
    lab.write(DOUBLES, ONE)
    lab.set(n=4)
    lab.cached()
    CHANGES[change](lab)

    assert lab.cached() == []
    assert lab.cached() == ["double"]


def test_an_output_that_it_takes_decides(lab: Lab) -> None:
    """It is an arg of the step that takes it."""
    steps = ("name: double, function: run", f"{TELL}, cache: true")
    lab.write(DOUBLES.replace('params.get("by", 2)}', 'context.get("by")}'), *steps)
    lab.set(n=4, by=1)
    assert lab.cached() == []
    assert lab.cached() == ["tell"]

    lab.set(by=2)
    assert lab.cached() == []


def test_a_run_that_failed_leaves_nothing(lab: Lab) -> None:
    """Not even of the steps that succeeded."""
    lab.write(DOUBLES, ONE, "name: fail, function: fail, depends_on: [double]")
    results = [lab.run(), lab.run()]

    assert [result.outcome.value for result in results] == ["failed", "failed"]
    assert [result.attempts[-1].steps[0].cached_from for result in results] == ["", ""]


LEAVES = {
    "a file": ("open('/scratch/x', 'w').close()", "files lay in its folders when it ended"),
    "an artifact": ("context.artifact('x.txt').touch()", "files lay in its folders when it ended"),
    "a look at all": ("context.keys()", "it counts as having read all that it may see"),
    "much": ("[context.set(f'k{n}', 'x' * 60_000) for n in range(18)]", "are kept at most"),
}


@pytest.mark.parametrize("what", LEAVES)
@pytest.mark.parametrize("runtime", ["runc", "runsc"])
def test_a_step_whose_result_cannot_stand_for_it_runs_each_time(
    lab: Lab, request: pytest.FixtureRequest, what: str, runtime: str
) -> None:
    """And says why; under gVisor too, which counts no files."""
    limits = POLICY.limits.model_copy(update={"result_bytes": 4 * 2**20})
    lab.policy = POLICY.model_copy(update={"limits": limits})
    if runtime == "runsc":
        request.getfixturevalue("runsc")
        lab.policy = on_gvisor(lab.policy)
    leaves, why = LEAVES[what]
    lab.write(f"def run(context, params):\n    {leaves}\n", ONE)
    for result in (lab.run(), lab.run()):
        (step,) = result.attempts[-1].steps
        assert (step.outcome, step.cached_from) == (StepOutcome.SUCCEEDED, "")
        assert step.reason.startswith("its result is not kept: ")
        assert why in step.reason


LOOK = "name: look, function: look, cache: true"


def test_a_step_beside_files_of_another_runs(lab: Lab) -> None:
    """It may read them: what it makes of them is nobody else's, and what is on record was made without."""
    module = "def run(context, params):\n    if context.get('leaves'): open('/tmp/x', 'w').close()\n"
    lab.write(module + "def look(context, params): ...\n", "name: a, function: run", f"{LOOK}, depends_on: [a]")
    lab.cached()
    assert lab.cached() == ["look"]

    lab.set(leaves=True)
    assert lab.cached() == []
    lab.set(leaves=False)
    assert lab.cached() == ["look"]


def test_steps_at_once_take_what_they_made(lab: Lab) -> None:
    """Each for itself, beside one that runs."""
    steps = (
        "name: a, function: run, cache: true, args: {to: a}",
        "name: b, function: run, cache: true, args: {to: b}",
        "name: c, function: run, args: {to: c}",
    )
    module = "def run(context, params):\n    context.set(params['to'], context.get('n'))\n"
    lab.write(module, *steps, execution="{parallel_execution: true}")
    lab.set(n=1)

    assert lab.cached() == []
    assert lab.cached() == ["a", "b"]
    lab.set(n=2)
    assert (lab.cached(), lab.content()) == ([], {"n": 2, "a": 2, "b": 2, "c": 2})


def test_a_step_after_one_that_was_taken_sees_what_that_made(lab: Lab) -> None:
    """Also the first that has a process, which may have been forked ahead."""
    lab.write(DOUBLES, ONE, "name: again, function: tell, depends_on: [double]")
    lab.set(n=4)
    lab.cached()
    lab.set(out=0)

    assert lab.run().attempts[-1].steps[1].outputs == {"out": 8, "taken": None}


def test_a_whole_run_may_be_taken(lab: Lab) -> None:
    """Then no process of the recipe is ever started, and the run ends as all do."""
    lab.write(DOUBLES, ONE)
    lab.cached()
    result = lab.run()

    assert (result.succeeded, result.attempts[-1].exit_code) == (True, 0)
    assert result.attempts[-1].steps[0].cached_from


def test_in_a_cell_that_is_shared_all_is_the_same(lab: Lab) -> None:
    """Nothing of the results that one run was sent is there for the next."""
    lab.policy = POLICY.model_copy(update={"reuse": "package"})
    lab.write(DOUBLES, ONE)
    lab.set(n=4)

    assert [lab.cached(), lab.cached(), lab.cached()] == [[], ["double"], ["double"]]
    lab.set(n=5)
    assert (lab.cached(), lab.content()["out"]) == ([], 10)


def test_under_gvisor_all_is_the_same(lab: Lab, runsc: str) -> None:
    """Its result is another policy's, so it is none of the others'."""
    lab.write(DOUBLES, ONE, TELL)
    lab.set(n=4)
    lab.cached()
    lab.policy = on_gvisor(POLICY)

    assert lab.policy.runtime == runsc
    assert [lab.cached(), lab.cached()] == [[], ["double"]]
    assert lab.content() == {"n": 4, "out": 8}


def test_in_a_cell_that_stood_ready_all_is_the_same(lab: Lab, tmp_path: Path) -> None:
    """Its first process was forked before the plan came, and knows nothing of what a step took."""
    lab.write(DOUBLES, ONE, "name: again, function: tell, depends_on: [double]")
    lab.set(n=4)
    lab.cached()
    lab.set(out=0)
    with open_controller(state=tmp_path / "state", idle=1) as controller:
        await_idle(controller, POLICY)
        result = controller.run(tmp_path / "recipe", policy=POLICY)

    (attempt,) = result.attempts
    assert attempt.attestation is not None
    assert (attempt.attestation.cell, attempt.steps[1].outputs) == ("warm", {"out": 8, "taken": None})


def test_who_asks_for_it_to_happen_has_every_step_run(lab: Lab) -> None:
    """A replay compares what it made itself; a rerun, and a run without a cache, run everything."""
    lab.write(DOUBLES, ONE)
    lab.set(n=4)
    lab.cached()
    taken = lab.run()
    replayed = lab.controller.replay(taken.run_id)
    again = [replayed, lab.controller.rerun(taken.run_id), lab.run(adjustments=Adjustments(no_cache=True))]

    assert [result.attempts[-1].steps[0].tries for result in (taken, *again)] == [0, 1, 1, 1]
    assert replayed.changes == taken.changes
    assert lab.cached() == ["double"]


def test_to_verify_a_recipe_each_trial_runs_it(lab: Lab, tmp_path: Path) -> None:
    """Else a step that throws dice would be stable for being cached."""
    lab.write("import os\ndef run(context, params):\n    context.set('dice', os.urandom(8).hex())\n", ONE)
    lab.cached()
    found = verify(lab.controller, tmp_path / "recipe", policy=POLICY, times=2, variations=(), asked=Leeway())

    assert {label.name: label.stability for label in found.labels}["dice"] == "unstable"
