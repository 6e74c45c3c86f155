"""Keys of runs that pass the queue by: one run has one at a time, on every database."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from isolation.errors import IdempotencyError
from isolation.model.key import Key
from isolation.model.outcome import Outcome
from isolation.storage.ledger import Ledger

if TYPE_CHECKING:
    from isolation.model.run import Digests
    from isolation.state.database import Database
    from tests.conftest import ResultOf

INPUTS = "e" * 64


def begin(ledger: Ledger, run_id: str, digests: Digests, key: str, instead_of: str = "") -> None:
    held = Key(text=key, instead_of=instead_of)
    ledger.start(run_id, "etl", "default", digests, "t1", inputs_digest=INPUTS, key=held)


def test_who_has_a_key_is_found_with_what_became_of_it(ledger: Ledger, digests: Digests, result_of: ResultOf) -> None:
    """As it begins, and when it has ended; nobody has what was never given."""
    begin(ledger, "r1", digests, "batch:k:1")
    running = ledger.under("batch:k:1", digests, INPUTS)
    with ledger.settling("r1") as settling:
        settling.finish(result_of("r1"), "t2")
    ended = ledger.under("batch:k:1", digests, INPUTS)

    assert running is not None
    assert ended is not None
    assert (running.run_id, running.state, running.outcome) == ("r1", "running", None)
    assert (ended.run_id, ended.state, ended.outcome) == ("r1", "finished", Outcome.SUCCEEDED)
    assert ledger.under("batch:k:2", digests, INPUTS) is None


def test_a_key_is_for_one_package_policy_and_input(ledger: Ledger, digests: Digests) -> None:
    """The snapshot and the image may be others: those change from run to run."""
    begin(ledger, "r1", digests, "k")

    assert ledger.under("k", replace(digests, snapshot="", image=""), INPUTS) is not None
    for other, inputs in (
        (replace(digests, package="f" * 64), INPUTS),
        (replace(digests, policy="f" * 64), INPUTS),
        (digests, "f" * 64),
    ):
        with pytest.raises(IdempotencyError, match="was given to another run, r1"):
            ledger.under("k", other, inputs)


def test_a_key_goes_from_a_run_that_ended_to_the_one_in_its_place(ledger: Ledger, digests: Digests) -> None:
    """In the transaction that begins it; the old run stays, without."""
    begin(ledger, "r1", digests, "k")
    ledger.abandon("r1", "t2")

    begin(ledger, "r2", digests, "k", instead_of="r1")

    holder = ledger.under("k", digests, INPUTS)
    assert holder is not None
    assert holder.run_id == "r2"
    assert ledger.summary("r1").state == "abandoned"


@pytest.mark.parametrize("instead_of", ["", "r1", "r0"])
def test_a_key_stays_with_a_run_under_way(ledger: Ledger, digests: Digests, instead_of: str) -> None:
    """And nothing of the other is recorded."""
    begin(ledger, "r1", digests, "k")

    with pytest.raises(IdempotencyError, match="the run r1 has the key 'k' by now"):
        begin(ledger, "r2", digests, "k", instead_of)

    assert [run.run_id for run in ledger.list(10)] == ["r1"]


def test_namespaces_have_keys_of_their_own(database: Database, digests: Digests) -> None:
    """What one names is nothing to another."""
    here, there = Ledger(database, "here"), Ledger(database, "there")
    begin(here, "r1", digests, "batch:k:1")

    assert there.under("batch:k:1", digests, INPUTS) is None
    assert (here.newest_key("batch:"), there.newest_key("batch:")) == ("batch:k:1", None)
    begin(there, "r2", digests, "batch:k:1")


def test_the_newest_key_is_that_of_the_run_that_began_last(ledger: Ledger, digests: Digests) -> None:
    """Whatever the texts are; what begins otherwise does not count."""
    for number, key in enumerate(("batch:z:1", "batch:é:10", "batch:a:2", "batchx", "other")):
        begin(ledger, f"r{number}", digests, key)

    assert ledger.newest_key("batch:") == "batch:a:2"
    assert ledger.newest_key("batch:z:") == "batch:z:1"
    assert ledger.newest_key("batch:y") is None
