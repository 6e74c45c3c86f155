"""A run on a context at a server: it goes on here, and what it changes is merged there, whoever else writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from isolation.client import questions
from isolation.client.context import ContextClient
from isolation.errors import ContextChangedError
from isolation.model.changes import Changes, Merge
from isolation.model.outcome import Outcome, StepOutcome
from isolation.model.policy import MergeRule
from isolation.model.run import Attempt, Digests, Result, StepReport
from isolation.model.usage import Usage
from orchestrator import served
from orchestrator.homes import home_of
from orchestrator.kept import KeptContext
from orchestrator.runner import EnhancedRecipeRunner
from tests.service.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pydantic import JsonValue

pytestmark = pytest.mark.slow

FAIL = MergeRule()
READS = StepReport(name="step", outcome=StepOutcome.SUCCEEDED, keys_read=("b",))
READS_ALL = StepReport(name="step", outcome=StepOutcome.SUCCEEDED, read_all=True)
WORK = """
def count(context, params):
    context.set("n", context.get("n", 0) + 1, who="counting")
    if context.delete("old"):
        context.set("new", True)
"""


def ended(*, deleted: tuple[str, ...] = (), steps: tuple[StepReport, ...] = (), **changed: JsonValue) -> Result:
    changes = Changes(set=changed, deleted=deleted, writers=dict.fromkeys((*changed, *deleted), "step"))
    attempt = Attempt(number=1, outcome=Outcome.SUCCEEDED, cause="", started_at="", steps=steps)
    return Result(
        run_id="r",
        recipe="recipe",
        outcome=Outcome.SUCCEEDED,
        attempts=(attempt,),
        usage=Usage(),
        changes=changes,
        merge=Merge(),
        errors=(),
        artifacts=(),
        digests=Digests(package="", snapshot="", policy="", image=""),
        engine=None,
    )


def rule(**more: Any) -> MergeRule:  # noqa: ANN401 - as a policy has it
    return MergeRule.model_validate(more)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server"), "--slots", "0") as server:
        yield server


@pytest.fixture
def other(server: Server) -> Iterator[ContextClient]:
    """Ask the same server as somebody else."""
    with ContextClient(url=server.url, token=server.token, namespace="mine") as client:
        yield client


@pytest.fixture
def context(server: Server, other: ContextClient) -> Iterator[KeptContext]:
    if other.keys():
        other.change(delete=other.keys())
    other.change(set={"a": 1, "b": 1}, who="application")
    with KeptContext(server.url, token=server.token, namespace="mine") as context:
        yield context


def meanwhile(monkeypatch: pytest.MonkeyPatch, *writes: Callable[[], object]) -> list[int]:
    """Have each of these done between a look at the server and the merge that follows; counts the looks."""
    real, looks, left = questions.since, list[int](), [*writes]

    def since(version: int) -> Any:  # noqa: ANN401 - a talk
        found = yield from real(version)
        looks.append(version)
        if left:
            left.pop(0)()
        return found

    monkeypatch.setattr(questions, "since", since)
    return looks


def test_changes_and_deletions_are_written_as_whose_they_are(context: KeptContext, other: ContextClient) -> None:
    """In one transaction; what was not there is told to be new."""
    home = home_of(context)
    frozen, made = home.freeze({}), set[int]()
    result = ended(a=2, c=3, deleted=("b",))
    merge = home.merge(frozen, result, FAIL, made)

    assert (merge.status, home.created(frozen, result, merge)) == ("merged", ("c",))
    assert other.get_all() == {"a": 2, "c": 3}
    assert [(one["key"], one["who"]) for one in other.get_history(limit=3)] == [(key, "step") for key in "abc"]
    assert len(made) == 3


def test_a_key_that_others_changed_or_deleted_meanwhile_is_a_conflict(
    context: KeptContext, other: ContextClient
) -> None:
    """All of the run's changes are left out then."""
    home = home_of(context)
    frozen = home.freeze({})
    other.set("a", 7, who="another")
    other.delete("b")
    merge = home.merge(frozen, ended(a=2, b=2, c=2), FAIL, set())

    assert [(one.key, one.theirs, one.their_writer, one.missing) for one in merge.conflicts[:1]] == [
        ("a", 7, "another", "")
    ]
    assert (merge.status, merge.conflicts[1].missing) == ("conflict", "theirs")
    assert other.get_all() == {"a": 7}


def test_the_policys_rule_decides_who_wins(context: KeptContext, other: ContextClient) -> None:
    """Per key, as for any other context."""
    home = home_of(context)
    frozen = home.freeze({})
    other.change(set={"a": 5, "b": 5})
    by_key = rule(rules=[{"keys": ["a"], "on_conflict": "add"}], on_conflict="theirs")
    merge = home.merge(frozen, ended(a=3, b=3), by_key, set())

    assert (merge.combined, merge.dropped) == (("a",), ("b",))
    assert other.get_all() == {"a": 7, "b": 5}


def test_what_others_write_between_look_and_merge_is_looked_at_again(
    context: KeptContext, other: ContextClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of theirs is lost, however often they come between."""
    home = home_of(context)
    frozen = home.freeze({})
    looks = meanwhile(monkeypatch, lambda: other.set("a", 10), lambda: other.set("a", 20))
    adding = rule(rules=[{"keys": ["a"], "on_conflict": "add"}])

    assert home.merge(frozen, ended(a=3), adding, set()).combined == ("a",)
    assert (other.get("a"), len(looks)) == (22, 3)


def test_a_key_that_others_make_between_look_and_merge_is_a_conflict(
    context: KeptContext, other: ContextClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though nothing was there to be compared with."""
    home = home_of(context)
    frozen = home.freeze({})
    meanwhile(monkeypatch, lambda: other.set("new", 9))

    assert home.merge(frozen, ended(new=1), FAIL, set()).status == "conflict"
    assert other.get("new") == 9


@pytest.mark.parametrize(("step", "written"), [(READS, "b"), (READS_ALL, "b"), (READS_ALL, "unheard of")])
def test_where_the_policy_is_strict_what_was_read_counts_until_the_merge(
    step: StepReport, written: str, context: KeptContext, other: ContextClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also a key that nobody knew of, for who has read all."""
    home = home_of(context)
    frozen = home.freeze({})
    meanwhile(monkeypatch, lambda: other.set(written, 9))

    merge = home.merge(frozen, ended(a=2, steps=(step,)), rule(strict=True), set())
    assert [one.key for one in merge.conflicts] == [written]
    assert home.merge(frozen, ended(a=2, steps=(step,)), FAIL, set()).status == "merged"


def test_what_was_given_for_this_run_alone_was_not_read_of_the_server(
    context: KeptContext, other: ContextClient
) -> None:
    """So it is in conflict with nobody."""
    home = home_of(context)
    frozen = home.freeze({"b": 100})
    other.set("b", 5)
    result = ended(a=2, steps=(READS,))

    assert frozen.values == {"a": 1, "b": 100}
    assert home.merge(frozen, result, rule(strict=True), set()).status == "merged"


def test_who_never_comes_to_merge_is_told(
    context: KeptContext, other: ContextClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After so many looks, and nothing is written."""
    monkeypatch.setattr(served, "MOST_LOOKS", 3)
    home = home_of(context)
    frozen = home.freeze({})
    looks = meanwhile(monkeypatch, *[lambda: other.set("a", 1)] * 4)

    with pytest.raises(ContextChangedError, match="each of 3 times"):
        home.merge(frozen, ended(a=2), rule(on_conflict="ours"), set())
    assert (other.get("a"), len(looks)) == (1, 3)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "recipe.yaml").write_text("steps: [{name: go, module: work, function: count}]")
    (tmp_path / "work.py").write_text(WORK)
    return tmp_path


@pytest.mark.filterwarnings("ignore::orchestrator.inprocess.NotIsolatedWarning")
def test_a_recipe_runs_here_on_a_context_there(context: KeptContext, other: ContextClient, recipe: Path) -> None:
    """In this process, for a debugger; each run sees what the one before it left."""
    other.set("old", 1)
    with EnhancedRecipeRunner(context, isolated=False) as runner:
        first, second = runner.run_recipe(recipe), runner.run_recipe(recipe)

    assert (first.overall_success, second.overall_success) == (True, True)
    assert (first.context_keys_created, second.context_keys_created) == (("n", "new"), ())
    assert other.get_all() == {"a": 1, "b": 1, "n": 2, "new": True}
    assert other.get_history("n")[-1]["who"] == "go as counting"


@pytest.mark.filterwarnings("ignore::orchestrator.inprocess.NotIsolatedWarning")
def test_many_runs_are_merged_as_if_one_after_another(context: KeptContext, other: ContextClient, recipe: Path) -> None:
    """They stand in no other's way, and all saw the beginning."""
    with EnhancedRecipeRunner(context, isolated=False) as runner:
        results = runner.run_many(recipe, [{"n": 10}, {"n": 20}, {}], workers=1)

    assert [one.overall_success for one in results] == [True] * 3
    assert [one["after"] for one in other.get_history("n", limit=3)] == [11, 21, 1]


@pytest.mark.engine
@pytest.mark.usefixtures("engine")
def test_an_isolated_run_merges_at_the_server(
    context: KeptContext, other: ContextClient, recipe: Path, tmp_path: Path
) -> None:
    """In a container on this machine; the server runs nothing."""
    with EnhancedRecipeRunner(context, state=tmp_path / "state") as runner:
        result = runner.run_recipe(recipe)

    assert (result.overall_success, result.context_keys_created) == (True, ("n",))
    assert other.get("n") == 1
