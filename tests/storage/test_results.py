"""The results of steps that later runs may take: whose they are, how many, and of what size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from isolation.contract import MOST_KEPT
from isolation.model.step_result import StepResult, key_of
from isolation.storage import results as module
from isolation.storage.results import Results

if TYPE_CHECKING:
    from isolation.model.run import Digests
    from isolation.state.database import Database
    from isolation.storage.ledger import Ledger

ROOM_BYTES = 2**20


def result(found: str, **more: Any) -> StepResult:  # noqa: ANN401 - a field is anything
    return StepResult(step="load", found=found, **more)


@pytest.fixture
def results(database: Database, ledger: Ledger, digests: Digests) -> Results:
    """Results of the namespace ``default``, in which there is the run ``r1``."""
    ledger.start("r1", "etl", "default", digests, "t")
    return Results(database)


def keep(database: Database, results: Results, key: str, *made: StepResult) -> None:
    with database.writing() as connection:
        results.keep(connection, [(key, one) for one in made], "r1", "t")


def found(results: Results, key: str, room_bytes: int = ROOM_BYTES) -> list[str]:
    return [one.found for one in results.recall({"load": key}, room_bytes).get("load", ())]


def test_what_is_kept_is_what_is_taken(database: Database, results: Results) -> None:
    """With the run that made it, and mappings in their order, which a step can see."""
    made = result(
        "f",
        reads=("a", "b"),
        set={"k": {"z": 1, "a": [1.0, None, "é"]}},
        deleted=("old",),
        writers={"k": "load"},
        outputs={"z": 1, "a": 2},
    )
    keep(database, results, "key", made)

    (taken,) = results.recall({"load": "key", "sum": "other"}, ROOM_BYTES)["load"]

    assert (taken.run_id, taken.content()) == ("r1", made.content())
    assert [*(taken.outputs or {})] == ["z", "a"]


def test_nobody_takes_what_is_anothers(database: Database, results: Results) -> None:
    """Under another key, or in another namespace."""
    keep(database, results, "key", result("f"))

    assert found(results, "other") == []
    assert found(Results(database, "theirs"), "key") == []


def test_the_newest_of_a_key_are_kept_and_come_first(database: Database, results: Results) -> None:
    """And what is found again takes the place of what was."""
    keep(database, results, "key", *(result(str(number)) for number in range(MOST_KEPT + 2)))
    keep(database, results, "key", result("5", outputs={"again": True}))
    keep(database, results, "other", result("x"))

    assert found(results, "key") == ["5", "9", "8", "7", "6", "4", "3", "2"]
    assert results.recall({"load": "key"}, ROOM_BYTES)["load"][0].outputs == {"again": True}
    assert found(results, "other") == ["x"]


def test_the_newest_of_a_namespace_are_kept(
    database: Database, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each change of a recipe leaves keys behind that nobody asks for any more."""
    monkeypatch.setattr(module, "MOST_IN_NAMESPACE", 3)
    keep(database, Results(database, "theirs"), "key", result("theirs"))
    for number in range(5):
        keep(database, results, f"key {number}", result(str(number)))

    assert [found(results, f"key {number}") for number in range(5)] == [[], [], ["2"], ["3"], ["4"]]
    assert found(Results(database, "theirs"), "key") == ["theirs"]


def test_no_more_is_taken_along_than_there_is_room_for(database: Database, results: Results) -> None:
    """The newest first; one that is too large keeps no smaller one away."""
    large, small = result("large", outputs={"x": "é" * 500}), result("small")
    keep(database, results, "key", small, large)
    size_bytes = len(large.content().encode())

    assert found(results, "key") == ["large", "small"]
    assert found(results, "key", size_bytes) == ["large"]
    assert found(results, "key", size_bytes - 1) == ["small"]
    assert found(results, "key", 0) == []


def test_what_is_undone_is_not_kept(database: Database, results: Results) -> None:
    """It is one with the merge."""
    with database.writing() as connection:
        results.keep(connection, [("key", result("f"))], "r1", "t")
        connection.rollback()

    assert found(results, "key") == []


def test_the_key_holds_all_that_is_settled_before_a_step_begins() -> None:
    """What one of them changes is made anew."""
    same: dict[str, str] = {"package": "p", "policy": "q", "image": "i"}
    keys = {key_of("load", **same), key_of("sum", **same)}
    keys |= {key_of("load", **{**same, name: "other"}) for name in same}

    assert len(keys) == 5
    assert key_of("load", **same) in keys
