"""What a namespace has brought: only it may make something of that."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from isolation.errors import UploadsFullError
from isolation.storage.queue import Queue, Submission
from isolation.storage.uploads import KnownPackage, Uploads, expired, forget_expired

if TYPE_CHECKING:
    from isolation.model.run import Digests
    from isolation.state.database import Database

NOW, LATER = "2025-01-01T00:00:00.000Z", "2025-01-01T00:00:01.000Z"


@pytest.fixture
def ours(database: Database) -> Uploads:
    return Uploads(database, "ours")


def test_a_blob_is_of_who_brought_it(database: Database, ours: Uploads) -> None:
    """Its digest alone makes it nobody else's."""
    ours.keep_blob("a", 1, NOW)
    ours.keep_blob("a", 1, LATER)  # twice is as good as once
    assert ours.sizes(["a", "b"]) == {"a": 1}
    assert Uploads(database, "theirs").sizes(["a", "b"]) == {}


def test_a_namespace_brings_so_much_in_a_day(database: Database, ours: Uploads) -> None:
    """What it brings twice counts once, what others bring does not, and what it brought before that day no more."""
    ours.keep_blob("a", 60, NOW, most_bytes=100)
    ours.keep_blob("a", 60, NOW, most_bytes=100)
    Uploads(database, "theirs").keep_blob("c", 60, NOW, most_bytes=100)
    with pytest.raises(UploadsFullError, match="has brought 60 B within a day, and may bring 100 B"):
        ours.keep_blob("b", 41, LATER, most_bytes=100)
    assert ours.sizes("ab") == {"a": 60}
    ours.keep_blob("b", 40, LATER, most_bytes=100)
    ours.keep_blob("c", 60, "2025-01-02T00:00:00.000Z", most_bytes=100)


def test_what_was_brought_is_forgotten_after_a_day(database: Database, ours: Uploads) -> None:
    """Unless it was brought again."""
    for digest in "ab":
        ours.keep_blob(digest, 1, NOW)
    ours.keep_blob("b", 1, LATER)
    assert expired(database, "2025-01-01T23:59:59.999Z") == ()
    assert expired(database, "2025-01-02T00:00:00.000Z") == (("ours", "a"),)
    forget_expired(database, "2025-01-02T00:00:00.000Z")
    assert ours.sizes("ab") == {"b": 1}


def test_more_blobs_can_be_asked_for_than_a_query_takes(ours: Uploads) -> None:
    """A package may have ten thousand files."""
    ours.keep_blob("7", 1, NOW)
    assert ours.sizes(map(str, range(10_000))) == {"7": 1}


def test_a_package_is_of_who_brought_or_ran_it(database: Database, ours: Uploads, digests: Digests) -> None:
    """Both are listed once, page by page, with when that was last."""
    ours.keep_package("x", "etl", NOW)
    submission = Submission(run_id="r1", recipe="load", policy="p", digests=digests, inputs_digest="n")
    Queue(database, "ours").submit(submission, LATER)
    assert [ours.has_package(digest) for digest in ("x", digests.package, "y")] == [True, True, False]
    assert ours.packages(9) == (
        KnownPackage(digest=digests.package, recipe="load", at=LATER),
        KnownPackage(digest="x", recipe="etl", at=NOW),
    )
    assert [one.digest for one in ours.packages(1)] == [digests.package]
    assert [one.digest for one in ours.packages(9, digests.package)] == ["x"]

    theirs = Uploads(database, "theirs")
    assert not theirs.has_package("x")
    assert theirs.packages(9) == ()


def test_recipes_are_known_by_their_newest_package(database: Database, ours: Uploads, digests: Digests) -> None:
    """Whether that was brought or run; sorted by name, page by page."""
    ours.keep_package("x", "load", NOW)
    ours.keep_package("y", "etl", NOW)
    ours.keep_package("z", "etl", LATER)
    Uploads(database, "theirs").keep_package("w", "theirs", NOW)
    submission = Submission(run_id="r1", recipe="load", policy="p", digests=digests, inputs_digest="n")
    Queue(database, "ours").submit(submission, LATER)
    etl = KnownPackage(digest="z", recipe="etl", at=LATER)
    load = KnownPackage(digest=digests.package, recipe="load", at=LATER)
    assert ours.recipes(9) == (etl, load)
    assert (ours.recipes(1), ours.recipes(9, "etl")) == ((etl,), (load,))
    assert ours.of_recipe("etl", 9) == (etl, KnownPackage(digest="y", recipe="etl", at=NOW))
    assert ours.of_recipe("load", 1) == (load,)
    assert ours.of_recipe("none", 9) == ()
