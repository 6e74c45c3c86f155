"""Recipes verified on the real engine: each thing that they lean on is found and named, and nothing is merged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from isolation.api import open_controller
from isolation.cli import boundary
from isolation.comparison import compare
from isolation.errors import EngineError
from isolation.model.policy import Policy
from isolation.model.recipe import Leeway
from isolation.packaging.policy import load_policy
from isolation.rules.variations import VARIATIONS
from isolation.verification import verify

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from isolation.controller import Controller
    from isolation.model.run import Result
    from isolation.model.verification import Varied, Verification

pytestmark = pytest.mark.engine
UNSTABLE = Path(__file__).parent.parent / "recipes/gallery/unstable"
MOVED = {
    "words": ("words", "hash_seed"),
    "report": ("words", "hash_seed"),
    "total.sum": ("total", "hash_seed"),
    "folder.first": ("folder", "directory_order"),
    "pick.winner": ("pick", "seed"),
    "workers.parts": ("workers", "processors"),
    "hour.opening": ("hour", "time_zone"),
    "year.this": ("year", "clock"),
}
"""What moves in the gallery's recipe: where that begins, and by what."""


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    with open_controller(state=tmp_path / "state") as controller:
        yield controller


def verified(
    controller: Controller,
    recipe: Path,
    times: int,
    policy: str = "default",
    *,
    variations: Sequence[str] = tuple(VARIATIONS),
    asked: Leeway = Leeway(),  # noqa: B008 - a frozen value
) -> Verification:
    return verify(controller, recipe, policy=load_policy(policy), times=times, variations=variations, asked=asked)


def test_each_variation_is_found_and_named_with_the_step_where_it_began(controller: Controller) -> None:
    """With eight runs each is alone."""
    found = verified(controller, UNSTABLE, 8)

    unstable = {one.name: (one.step, *one.moved_by) for one in found.labels if one.stability == "unstable"}
    assert unstable == {name: (step, (cause,)) for name, (step, cause) in MOVED.items()}
    assert {one.name for one in found.labels if one.stability == "stable"} >= {"outcome", "firm.sum", "firm.files"}
    assert not found.stable


def test_with_the_helps_the_same_recipe_comes_out_the_same(controller: Controller) -> None:
    """What verify moves is what the policy holds still."""
    policy = str(UNSTABLE / "policy.yaml")
    first, second = (controller.run(UNSTABLE, policy=policy, merges=False) for _ in range(2))

    assert compare(controller.stores, first, second, Leeway()).verdict == "identical"
    assert verified(controller, UNSTABLE, 3, policy, variations=()).stable


def test_five_runs_find_all_that_eight_find(controller: Controller) -> None:
    """Each with one other suspect."""
    found = verified(controller, UNSTABLE, 5)

    unstable = {one.name: one.moved_by for one in found.labels if one.stability == "unstable"}
    assert {*unstable} == {*MOVED}
    assert all(MOVED[name][1] in varied for name, ((*varied,),) in unstable.items())


def test_nothing_is_merged_and_all_run_from_one_snapshot(controller: Controller) -> None:
    """All that is left are the runs, recorded: the first, and replays of it."""
    found = verified(controller, UNSTABLE, 3)

    runs = [controller.stores.ledger.get(trial.run_id) for trial in found.trials]
    assert controller.stores.contexts.get("words") is None
    assert {run.merge.status for run in runs} == {"none"}
    assert len({run.digests.snapshot for run in runs}) == 1
    assert [run.replay_of for run in runs] == ["", runs[0].run_id, runs[0].run_id]


DICE = """
import os, time
def run(context, params):
    context.set("dice", os.urandom(8).hex())
    return {"took": time.perf_counter()}
"""


def dice(folder: Path) -> Path:
    (folder / "dice.py").write_text(DICE)
    steps = "steps: [{name: throw, module: dice, function: run}]"
    (folder / "recipe.yaml").write_text(f"metadata: {{name: dice}}\ndeterminism: {{volatile: [throw.took]}}\n{steps}\n")
    return folder


def test_what_moves_by_itself_is_told_so_and_what_is_volatile_does_not_count(
    controller: Controller, tmp_path: Path
) -> None:
    """No variation is blamed for it."""
    found = verified(controller, dice(tmp_path), 3)
    labels = {one.name: one for one in found.labels}

    assert (labels["dice"].stability, labels["dice"].moved_still, labels["dice"].step) == ("unstable", True, "throw")
    assert labels["throw.took"].stability == "volatile"
    assert verified(controller, tmp_path, 2, asked=Leeway(volatile=("dice",))).stable


def test_a_run_that_says_nothing_of_the_recipe_ends_it(controller: Controller, tmp_path: Path) -> None:
    """A cell that was refused is no outcome of the recipe's."""
    policy = Policy.model_validate({"name": "test", "determinism": {"time_zone": "Mars/Olympus"}})

    with pytest.raises(EngineError, match="was refused, so nothing can be said of the recipe"):
        verify(controller, dice(tmp_path), policy=policy, times=2, variations=(), asked=Leeway())


def test_each_run_is_told_when_it_begins_and_when_it_has_ended(controller: Controller, tmp_path: Path) -> None:
    """It may take long."""
    told: list[tuple[int, Varied, bool]] = []

    def tell(number: int, varied: Varied, result: Result | None) -> None:
        told.append((number, varied, result is not None))

    policy = load_policy("default")
    verify(controller, dice(tmp_path), policy=policy, times=2, variations=["seed"], asked=Leeway(), tell=tell)

    assert told == [(1, (), False), (1, (), True), (2, ("seed",), False), (2, ("seed",), True)]


def test_the_command_says_it_in_words_and_in_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its exit code is the answer."""
    monkeypatch.setenv("ISOLATION_STATE", str(tmp_path / "state"))
    assert boundary.run(["verify", str(UNSTABLE), "--times", "3", "--vary", "clock"]) == 1
    shown = capsys.readouterr()
    assert "unstable: 1 of 20 things came out otherwise in 3 runs" in shown.out
    assert "output  year.this  step year  start time" in shown.out
    assert "run 3 of 3, start time varied\n  succeeded in" in shown.err

    command = ["verify", str(UNSTABLE), "--times", "2", "--vary", "clock", "--volatile", "year.*", "--json"]
    assert boundary.run(command) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["stable"] is True
    assert [trial["varied"] for trial in document["trials"]] == [[], ["clock"]]
    assert {one["name"] for one in document["labels"] if one["stability"] == "volatile"} == {"year.this"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--vary", "hash_sed"], "'hash_sed' cannot be varied"),
        (["--times", "1"], "'1' is not a number from 2 to 100"),
        (["--tolerance", "2"], "is no share from 0 to 1"),
    ],
)
def test_a_wrong_word_is_told_before_anything_runs(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the cure, as everywhere."""
    assert boundary.run(["verify", str(UNSTABLE), *arguments]) == 2
    assert said in capsys.readouterr().err
