"""Whole runs through the controller, on the real engine: what a rerun takes from the record, what is tried again."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from isolation.api import open_controller
from isolation.cli.run import exit_code
from isolation.errors import UnenforceableError
from isolation.model.outcome import Outcome
from isolation.model.policy import Policy
from isolation.model.recipe import Leeway
from isolation.model.snapshot import Snapshot
from isolation.rules.compare import Comparing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from isolation.controller import Controller
    from isolation.model.event import Event
    from isolation.model.run import Result

pytestmark = pytest.mark.engine

COUNT = """
def run(context, params):
    context.set("count", context.get("count", 0) + context.get("by", 1))
"""
FAIL_ONCE_PER_KEY = """
def run(context, params):
    raise ValueError("not today")
"""


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    with open_controller(state=tmp_path / "state") as controller:
        yield controller


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., Path]:
    def write(scriptlet: str, execution: str = "{}") -> Path:
        folder = tmp_path / "recipe"
        folder.mkdir()
        (folder / "work.py").write_text(scriptlet)
        (folder / "recipe.yaml").write_text(
            f"metadata: {{name: work}}\nexecution: {execution}\nsteps: [{{name: work, module: work, function: run}}]\n"
        )
        return folder

    return write


def policy(**sections: object) -> Policy:
    return Policy.model_validate({"name": "test", **sections})


class Meanwhile:
    """Sets a key when the step starts, as another writer would; only the first time."""

    def __init__(self, controller: Controller, value: int) -> None:
        self._controller, self._value, self._done = controller, value, False

    def on_event(self, event: Event) -> None:
        """Take one event."""
        if type(event).__name__ == "StepStarted" and not self._done:
            self._done = True
            self._controller.stores.contexts.set("count", self._value, "somebody else", "2025-01-01T00:00:00.000Z")


def test_a_rerun_needs_nothing_but_the_record(controller: Controller, recipe: Callable[..., Path]) -> None:
    """The recipe's folder may be gone, and so may the laid-out package: blobs are enough."""
    folder = recipe(COUNT)
    first = controller.run(folder)
    shutil.rmtree(folder)
    for tree in controller.stores.packages.iterdir():
        tree.chmod(0o700)
        shutil.rmtree(tree)

    again = controller.rerun(first.run_id)

    assert again.succeeded
    assert again.run_id != first.run_id
    assert again.digests == first.digests
    assert again.changes == first.changes


def test_a_rerun_sees_the_recorded_context_unless_told_otherwise(
    controller: Controller, recipe: Callable[..., Path]
) -> None:
    """And what was given for the first run only is given again, in both."""
    first = controller.run(recipe(COUNT), context={"by": 10})
    assert first.changes.set == {"count": 10}

    assert controller.rerun(first.run_id).changes.set == {"count": 10}
    assert controller.rerun(first.run_id, fresh_context=True).changes.set == {"count": 20}


DICE = """
import os
def run(context, params):
    context.set("dice", os.urandom(8).hex())
"""


def test_a_replay_merges_nothing_and_is_compared_with_what_it_repeats(
    controller: Controller, recipe: Callable[..., Path]
) -> None:
    """On the recorded snapshot: that the context has moved on is no difference."""
    recorded = controller.run(recipe(COUNT))
    controller.stores.contexts.set("count", 50, "somebody else", "2025-01-01T00:00:00.000Z")

    again = controller.replay(recorded.run_id)

    assert (again.replay_of, again.merge.status) == (recorded.run_id, "none")
    assert [entry.value for entry in controller.stores.contexts.history("count")] == [50, 1]
    assert Comparing().compare(recorded, again).verdict == "identical"
    assert controller.stores.ledger.get(again.run_id) == again


def test_a_recipe_that_throws_dice_diverges_unless_that_is_declared(
    controller: Controller, recipe: Callable[..., Path]
) -> None:
    """The key says where."""
    recorded = controller.run(recipe(DICE))
    again = controller.replay(recorded.run_id)

    found = Comparing().compare(recorded, again)
    assert (found.verdict, [one.what for one in found.differences if one.counts]) == ("diverged", ["dice"])
    assert Comparing(Leeway(volatile=("dice",))).compare(recorded, again).verdict == "equivalent"


def test_a_conflict_is_tried_again_on_a_fresh_snapshot(controller: Controller, recipe: Callable[..., Path]) -> None:
    """Both attempts are kept, and the record names the snapshot that counted."""
    rule = policy(retry={"conflict": {"attempts": 2}})
    result = controller.run(recipe(COUNT), policy=rule, watcher=Meanwhile(controller, 100))

    assert [attempt.outcome for attempt in result.attempts] == [Outcome.CONFLICT, Outcome.SUCCEEDED]
    assert [attempt.cause for attempt in result.attempts] == ["merge", ""]
    assert result.changes.set == {"count": 101}
    recorded = controller.stores.ledger.summary(result.run_id)
    assert recorded.attempts == 2
    assert recorded.digests == result.digests
    content = controller.stores.blobs.get(result.digests.snapshot)
    assert Snapshot.read(content, controller.stores.contexts.base_named).values == {"count": 100}


def test_a_policy_that_wants_conflicts_run_again_need_not_say_how_often(
    controller: Controller, recipe: Callable[..., Path]
) -> None:
    """Its rule is enough."""
    rule = policy(merge={"rules": [{"keys": ["count"], "on_conflict": "rerun"}]})
    result = controller.run(recipe(COUNT), policy=rule, watcher=Meanwhile(controller, 100))

    assert [attempt.outcome for attempt in result.attempts] == [Outcome.CONFLICT, Outcome.SUCCEEDED]
    assert result.changes.set == {"count": 101}


def test_what_two_runs_count_at_once_is_counted_twice(controller: Controller, recipe: Callable[..., Path]) -> None:
    """One attempt is enough: the policy says that the key is one to add to."""
    rule = policy(merge={"rules": [{"keys": ["count"], "on_conflict": "add"}]})
    result = controller.run(recipe(COUNT), policy=rule, watcher=Meanwhile(controller, 100))

    assert [attempt.outcome for attempt in result.attempts] == [Outcome.SUCCEEDED]
    assert (result.changes.set, result.merge.combined) == ({"count": 1}, ("count",))
    entry = controller.stores.contexts.get("count")
    assert entry is not None
    assert entry.value == 101


HUNGRY = """
def run(context, params):
    context.set("held", len(bytearray(100 * 2**20)))
"""
FAIL_IN_TIME = """
def run(context, params):
    raise TimeoutError("nobody answers")
"""


def test_a_limit_that_was_met_is_raised_for_the_next_attempt(
    controller: Controller, recipe: Callable[..., Path], tmp_path: Path
) -> None:
    """Each attempt is kept with what it had; the host must have what the last may get, before the first begins."""
    rule = {"attempts": 4, "memory": "x2", "up_to": "1GiB"}
    result = controller.run(recipe(HUNGRY), policy=policy(limits={"memory": "48MiB"}, retry={"out_of_memory": rule}))

    assert [attempt.outcome for attempt in result.attempts] == [
        Outcome.OUT_OF_MEMORY,
        Outcome.OUT_OF_MEMORY,
        Outcome.SUCCEEDED,
    ]
    limits = [
        next(fact.found for fact in attempt.attestation.facts if fact.name == "limit of memory")
        for attempt in result.attempts
        if attempt.attestation is not None
    ]
    assert limits == [str(48 * 2**20), str(96 * 2**20), str(192 * 2**20)]
    with pytest.raises(UnenforceableError, match=r"limits\.memory"):
        controller.run(
            tmp_path / "recipe", policy=policy(retry={"out_of_memory": rule | {"memory": "x100", "up_to": "900TiB"}})
        )


@pytest.mark.parametrize(("scriptlet", "attempts"), [(FAIL_IN_TIME, 3), (FAIL_ONCE_PER_KEY, 1)])
def test_only_errors_that_may_go_away_are_tried_again(
    controller: Controller, recipe: Callable[..., Path], scriptlet: str, attempts: int
) -> None:
    """A wrong value stays wrong."""
    rule = policy(retry={"failed": {"attempts": 3, "only": ["TimeoutError"]}})

    result = controller.run(recipe(scriptlet, "{retry_attempts: 9}"), policy=rule)

    assert (result.outcome, len(result.attempts)) == (Outcome.FAILED, attempts)


def test_a_recipe_may_ask_for_less_than_its_policy_allows_never_more(
    controller: Controller, recipe: Callable[..., Path]
) -> None:
    """Three are allowed: one that asks for one more gets two in all, and a greedy one three."""
    rule = policy(retry={"failed": {"attempts": 3}})
    folder = recipe(FAIL_ONCE_PER_KEY, "{retry_attempts: 1}")
    assert len(controller.run(folder, policy=rule).attempts) == 2
    (folder / "recipe.yaml").write_text((folder / "recipe.yaml").read_text().replace(": 1}", ": 9}"))
    assert len(controller.run(folder, policy=rule).attempts) == 3


@pytest.mark.parametrize(
    ("outcome", "code"),
    [(Outcome.SUCCEEDED, 0), (Outcome.LOST, 3), (Outcome.FAILED, 1), (Outcome.CONFLICT, 1), (Outcome.CANCELLED, 1)],
)
def test_the_exit_code_tells_whose_fault_it_was(result_of: Callable[..., Result], outcome: Outcome, code: int) -> None:
    """A script must be able to tell a broken engine from a broken recipe."""
    assert exit_code(result_of("r1", outcome=outcome)) == code
