"""Which runs are sent the results of earlier ones, and which leave theirs: by the plans that a fake engine is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from isolation import contract
from isolation.clock import SystemClock
from isolation.controller import Controller
from isolation.model.adjustments import Adjustments
from isolation.model.outcome import Outcome
from isolation.model.policy import Policy
from isolation.sandbox.cells import Cells
from isolation.sandbox.leases import Leases
from isolation.stores import Stores
from isolation.testing import IMAGE, FakeEngine, Inside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from isolation.model.run import Result

POLICY = Policy.model_validate({"name": "test"})
RECIPE = """
metadata: {name: work}
config: {n: 1}
environments: {staging: {config: {n: 2}}}
steps:
  - {name: load, module: work, function: run, cache: true, args: {n: 1}}
  - {name: tell, module: work, function: run}
"""


class Bench:
    """A controller whose runs take what they are sent, and else make something; ``failing`` ends their second step."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fake = FakeEngine(self._script)
        self.plans: list[dict[str, Any]] = []
        self.failing = False
        self.meanwhile: Callable[[], object] = lambda: None
        self.recipe = folder / "recipe"
        self.recipe.mkdir()
        (self.recipe / "work.py").write_text("def run(context, params): ...\n")
        (self.recipe / "recipe.yaml").write_text(RECIPE)
        self.stores = Stores(folder / "state")
        self.controller = self.open()

    def open(self, namespace: str = "default", environment: str = "") -> Controller:
        """Open a controller on the same state."""
        cells = Cells(self.fake, Leases(self.folder / "uids"), local=False, use_groups=False)
        stores = self.stores.within(namespace)
        engine, clock = self.fake, SystemClock()
        return Controller(stores=stores, engine=engine, cells=cells, clock=clock, image=IMAGE, environment=environment)

    def run(self, **how: Any) -> Result:  # noqa: ANN401 - as for ``Controller.run``
        """Run the recipe."""
        return self.controller.run(self.recipe, **{"policy": POLICY, **how})

    def sent(self) -> list[str]:
        """Say for which steps the last run was sent results."""
        return [*self.plans[-1]["kept"]]

    def _script(self, inside: Inside) -> int:
        inside.hello()
        plan = inside.hear_plan()
        self.plans.append(plan)
        if plan["kept"]:
            taken = {"step": 0, "outcome": "succeeded", "tries": 0, "cause": "", "cached": 0}
            inside.say(contract.STEP_ENDED, taken)
        else:
            inside.say(contract.STEP_STARTED, {"step": 0, "try": 1})
            ended: dict[str, Any] = {"step": 0, "outcome": "succeeded", "tries": 1, "cause": "", "set": {"out": 1}}
            more = {"found": "f" * 64} if plan["steps"][0]["cache"] else {}
            inside.say(contract.STEP_ENDED, ended | more | {"outputs": {"n": 1}})
        self.meanwhile()
        inside.say(contract.STEP_STARTED, {"step": 1, "try": 1})
        outcome = "failed" if self.failing else "succeeded"
        inside.say(contract.STEP_ENDED, {"step": 1, "outcome": outcome, "tries": 1, "cause": ""})
        inside.end()
        inside.hear_bye()
        return int(self.failing)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    with bench.controller:
        yield bench
    bench.fake.forget()


def test_a_second_run_takes_what_the_first_made(bench: Bench) -> None:
    """Its record says from whom; what it changes is merged like all else, and its steps have no time of their own."""
    first = bench.run()
    assert bench.sent() == []

    second = bench.run()

    step = second.attempts[-1].steps[0]
    assert (step.cached_from, step.tries, step.wall_s, step.outputs) == (first.run_id, 0, None, {"n": 1})
    assert (second.changes, second.merge.status) == (first.changes, "merged")
    assert bench.stores.ledger.get(second.run_id) == second
    assert "cache" not in bench.plans[-1]["kept"]["load"][0]


def test_the_run_that_made_it_is_named_however_often_it_is_taken(bench: Bench) -> None:
    """What was taken is not kept once more."""
    first = bench.run()
    bench.run()

    assert bench.run().attempts[-1].steps[0].cached_from == first.run_id
    assert len(bench.plans[-1]["kept"]["load"]) == 1


def test_a_run_that_failed_leaves_nothing(bench: Bench) -> None:
    """Not even of the steps that succeeded: nobody has seen what they are worth."""
    bench.failing = True
    assert bench.run().outcome is Outcome.FAILED
    bench.failing = False
    bench.run()

    assert bench.sent() == []


def test_a_run_in_conflict_leaves_nothing(bench: Bench) -> None:
    """As nothing of it is merged."""
    bench.meanwhile = lambda: bench.stores.contexts.set("out", 5, "somebody", "2025-01-01T00:00:00.000Z")
    assert bench.run(policy=POLICY).outcome is Outcome.CONFLICT
    bench.meanwhile = lambda: None
    bench.run()

    assert bench.sent() == []


CHANGES: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "an arg": lambda bench: rewrite(bench, "recipe.yaml", "{n: 1}}\n  -", "{n: 2}}\n  -"),
    "the recipe's config": lambda bench: rewrite(bench, "recipe.yaml", "config: {n: 1}", "config: {n: 3}"),
    "a module": lambda bench: rewrite(bench, "work.py", "...", "return {}"),
    "the policy": lambda _: {"policy": Policy.model_validate({"name": "test", "limits": {"wall": 9}})},
    "what is wanted otherwise": lambda _: {"adjustments": Adjustments(max_retries=1)},
}


def rewrite(bench: Bench, name: str, before: str, after: str) -> dict[str, Any]:
    file = bench.recipe / name
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))
    return {}


@pytest.mark.parametrize("change", CHANGES)
def test_where_something_is_changed_every_step_runs(bench: Bench, change: str) -> None:
    """Be it that the step would not have noticed."""
    bench.run()
    how = CHANGES[change](bench)
    bench.run(**how)
    assert bench.sent() == []

    bench.run(**how)
    assert bench.sent() == ["load"]


@pytest.mark.parametrize("where", [{"namespace": "theirs"}, {"environment": "staging"}])
def test_nothing_is_taken_from_elsewhere(bench: Bench, where: dict[str, str]) -> None:
    """Another namespace sees none of ours; in another environment the recipe is another."""
    bench.run()
    elsewhere = bench.open(**where)
    elsewhere.run(bench.recipe, policy=POLICY)
    assert bench.sent() == []

    elsewhere.run(bench.recipe, policy=POLICY)
    assert bench.sent() == ["load"]


def test_who_wants_no_cache_takes_nothing_and_leaves_nothing(bench: Bench) -> None:
    """The next run has what there was before."""
    first = bench.run()
    bench.run(adjustments=Adjustments(no_cache=True))
    assert (bench.sent(), bench.plans[-1]["steps"][0]["cache"]) == ([], False)

    assert bench.run().attempts[-1].steps[0].cached_from == first.run_id


def test_a_run_that_merges_nothing_takes_nothing_and_leaves_nothing(bench: Bench) -> None:
    """A verdict on what was merely repeated would be none: so it is for a replay, for verify, for a run of a batch."""
    bench.run(merges=False)
    first = bench.run()
    assert bench.sent() == []

    bench.controller.replay(first.run_id)
    assert bench.sent() == []
    bench.run(merges=False)
    assert bench.sent() == []
    bench.controller.prepare(bench.recipe, policy=POLICY, apart=True).run()
    assert bench.sent() == []
    assert bench.run().attempts[-1].steps[0].cached_from == first.run_id


def test_a_rerun_runs_every_step(bench: Bench) -> None:
    """Who asks for the same once more wants to see it happen; what it makes is the newest, then."""
    first = bench.run()
    again = bench.controller.rerun(first.run_id, fresh_context=True)
    assert (bench.sent(), again.succeeded) == ([], True)

    assert bench.run().attempts[-1].steps[0].cached_from == again.run_id
