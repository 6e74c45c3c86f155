"""Snapshots that stand on a base: they say what those without one say, and cost what changed."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isolation.context import freezing
from isolation.context.bases import Bases
from isolation.context.store import ContextStore
from isolation.errors import StorageError
from isolation.model.changes import Changes
from isolation.model.policy import MergeRule
from isolation.model.snapshot import Snapshot
from isolation.state.database import Database

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pydantic import JsonValue

    from isolation.context.bases import Held

LARGE = "x" * 10_000
MANY: dict[str, JsonValue] = {f"k.{number:03}": LARGE for number in range(40)}
MORE: dict[str, JsonValue] = dict.fromkeys(MANY, LARGE + "y")
AGAIN: dict[str, JsonValue] = dict.fromkeys(MANY, LARGE + "z")


@pytest.fixture
def bases(tmp_path: Path) -> Bases:
    return Bases(tmp_path / "bases")


@pytest.fixture
def based(database: Database, bases: Bases) -> ContextStore:
    return ContextStore(database, bases=bases)


def freeze(
    contexts: ContextStore, declared: Sequence[str] | None = None, allowed: Sequence[str] = ("*",), **own: int
) -> Snapshot:
    return contexts.freeze(declared, allowed, own, contexts.base_for(declared, allowed))


def folders(bases: Bases) -> set[str]:
    return {path.name for path in bases.folder.iterdir()} - {"scopes"}


def change(contexts: ContextStore, changes: Changes) -> None:
    contexts.change(changes, "ann", "t")


def test_a_small_context_has_no_base(based: ContextStore, bases: Bases) -> None:
    """It is all in the snapshot, which is as it always was."""
    change(based, Changes(set={"a": 1}))
    for _ in range(2):
        snapshot = freeze(based)
        assert snapshot.base is None
        assert snapshot.content() == b'{"values":{"a":1},"version":1,"versions":{"a":1}}'
    assert not bases.folder.exists()


def test_a_context_that_grew_meanwhile_has_one(based: ContextStore) -> None:
    """What was found small once is looked at again when much was written."""
    change(based, Changes(set={"a": 1}))
    assert freeze(based).base is None
    change(based, Changes(set=MANY))
    assert freeze(based).base is not None


def test_a_large_context_is_read_once(based: ContextStore) -> None:
    """Later snapshots share the base, and hold what was written since."""
    change(based, Changes(set=MANY))
    first = freeze(based)
    change(based, Changes(set={"k.000": 1, "new": 2}, deleted=("k.001",)))
    second = freeze(based, given=3)

    assert first.base is not None
    assert second.base is not None
    assert second.base.name == first.base.name
    assert (first.values, first.hidden) == ({}, ())
    assert second.values == {"k.000": 1, "new": 2, "given": 3}
    assert second.hidden == ("k.001",)
    assert second.given() == {"given": 3}
    assert len(second.content()) < 1000
    plain = based.freeze(None, ["*"], {"given": 3})
    assert dict(second.seen) == plain.values
    assert [*second.seen] == sorted(plain.values)


def test_a_base_that_much_was_written_since_makes_room_for_another(based: ContextStore, bases: Bases) -> None:
    """The one before is removed, once nobody looks into it any more."""
    change(based, Changes(set=MANY))
    old = freeze(based)
    change(based, Changes(set=MORE))
    new = freeze(based)

    assert old.base is not None
    assert new.base is not None
    assert new.values == {}
    assert old.seen["k.000"] == LARGE
    assert folders(bases) == {old.base.name.digest, new.base.name.digest}
    del old
    change(based, Changes(set=AGAIN))
    newest = freeze(based)
    assert newest.base is not None
    assert folders(bases) == {new.base.name.digest, newest.base.name.digest}


def test_writes_that_a_run_may_not_see_make_its_base_newer_too(
    based: ContextStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or each freeze would look through all of them."""
    monkeypatch.setattr(freezing, "_FEW", 10)
    change(based, Changes(set=MANY))
    before = freeze(based, ["k.*"]).base
    change(based, Changes(set={f"other.{number}": 1 for number in range(11)}))
    after = freeze(based, ["k.*"]).base

    assert before is not None
    assert after is not None
    assert after.name.version == before.name.version + 11
    assert after.name.digest == before.name.digest


def test_a_base_holds_only_what_the_run_may_see(based: ContextStore) -> None:
    """By the recipe's globs and by the policy's; each pair has its own."""
    change(based, Changes(set=MANY | {"secret": LARGE}))
    one, other = freeze(based, ["k.0*", "secret"], ["k.*"]), freeze(based, ["k.[0-2]*"], ["k.?[!0]?"])
    assert one.base is not None
    assert other.base is not None
    assert set(one.base.values) == set(MANY)
    assert set(other.base.values) == {key for key in MANY if key[3] != "0"}


def test_a_damaged_base_is_not_believed(based: ContextStore, database: Database, bases: Bases) -> None:
    """One bit is enough; another is made of what the database has."""
    change(based, Changes(set=MANY))
    base = freeze(based).base
    assert base is not None
    values = base.folder / "values"
    content = bytearray(values.read_bytes())
    content[5000] ^= 1
    values.chmod(0o600)
    values.write_bytes(content)

    for contexts in (based, ContextStore(database, bases=Bases(bases.folder))):
        again = freeze(contexts)
        assert again.base is not None
        assert again.base.name.digest == base.name.digest
        assert dict(again.seen) == MANY


def test_a_recorded_snapshot_stands_also_when_its_base_is_gone(based: ContextStore, bases: Bases) -> None:
    """It is made again from the history, and checked; values and globs of the record are enough."""
    change(based, Changes(set=MANY))
    freeze(based, ["k.*"])
    change(based, Changes(set={"k.000": "later"}, deleted=("k.001",)))
    recorded = freeze(based, ["k.*"])
    wanted, content = dict(recorded.seen), recorded.content()
    del recorded
    change(based, Changes(set={"k.002": 5}, deleted=("k.003",)))
    shutil.rmtree(bases.folder)

    again = Snapshot.read(content, ContextStore(based._database, bases=Bases(bases.folder)).base_named)
    assert dict(again.seen) == wanted
    assert again.content() == content


def test_a_base_that_another_history_would_give_is_refused(based: ContextStore, tmp_path: Path) -> None:
    """A run cannot be run again on what somebody else's database holds."""
    change(based, Changes(set=MANY))
    content = freeze(based).content()
    with Database.open(tmp_path / "other") as database:
        other = ContextStore(database, bases=Bases(tmp_path / "empty"))
        change(other, Changes(set=MANY | {"k.000": 1}))
        with pytest.raises(StorageError, match="the history gives another"):
            Snapshot.read(content, other.base_named)


def test_a_database_that_was_put_back_has_no_use_for_the_bases_of_what_was_lost(
    based: ContextStore, bases: Bases, tmp_path: Path
) -> None:
    """The same version number is not the same history."""
    change(based, Changes(set=MANY))
    freeze(based)
    with Database.open(tmp_path / "other") as database:
        other = ContextStore(database, bases=Bases(bases.folder))
        other.change(Changes(set=MANY | {"k.000": 1}), "ann", "later")
        assert freeze(other).seen["k.000"] == 1


def test_a_name_that_was_cut_off_names_nothing(based: ContextStore, bases: Bases) -> None:
    """After a power cut, say."""
    change(based, Changes(set=MANY))
    freeze(based)
    (file,) = (bases.folder / "scopes").iterdir()
    file.write_bytes(file.read_bytes()[:20])
    assert dict(freeze(based).seen) == MANY


def test_two_who_make_the_same_base_share_it(based: ContextStore, database: Database, bases: Bases) -> None:
    """Each its own process, as it were."""
    change(based, Changes(set=MANY))
    stores = [based, ContextStore(database, bases=Bases(bases.folder))]
    made = [store.base_named(base.name) for store in stores if (base := store.base_for(None, ["*"])) is not None]
    (folder,) = {base.folder for base in made}
    assert folders(bases) == {folder.parent.name}


def test_no_more_bases_are_held_open_than_many(
    based: ContextStore, bases: Bases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes two descriptors, and a service sees many recipes."""
    monkeypatch.setattr("isolation.context.bases._MOST_KEPT", 2)
    change(based, Changes(set=MANY))
    for number in range(4):
        freeze(based, [f"k.[!{number}]*"] + ["k.*"] * number)
    before = len([*Path("/proc/self/fd").iterdir()])
    for number in range(4, 8):
        freeze(based, [f"k.[!{number}]*"] + ["k.*"] * number)
    assert len([*Path("/proc/self/fd").iterdir()]) == before
    assert len(bases._newest) == 2


@pytest.mark.root
def test_a_base_that_does_not_fit_the_disk_leaves_nothing_there(small_disk: Path) -> None:
    """And the run is told what is wrong, before it begins."""
    bases = Bases(small_disk / "bases")
    with pytest.raises(StorageError, match="is full"):
        bases.make((key, LARGE.encode()) for key in MANY)
    assert folders(bases) == set()


class Counting(Bases):
    """Bases that count how many were made."""

    made = 0

    def make(self, items: Iterable[tuple[str, bytes]]) -> Held:
        """Make one, and count it."""
        self.made += 1
        return super().make(items)


def test_many_threads_that_want_a_base_make_one(database: Database, tmp_path: Path) -> None:
    """Each would read the whole context."""
    bases = Counting(tmp_path / "counted")
    contexts = ContextStore(database, bases=bases)
    change(contexts, Changes(set=MANY))
    with ThreadPoolExecutor(8) as threads:
        found = {base.name for base in threads.map(lambda _: contexts.base_for(None, ["*"]), range(8)) if base}
    assert (len(found), bases.made) == (1, 1)


def test_what_somebody_began_to_write_and_left_goes_with_the_next(based: ContextStore, bases: Bases) -> None:
    """A killed process leaves no lock."""
    (bases.folder / "making-0").mkdir(parents=True)
    change(based, Changes(set=MANY))
    base = freeze(based).base
    assert base is not None
    assert folders(bases) == {base.name.digest}


def test_what_a_run_wrote_is_merged_against_what_its_base_says(based: ContextStore, database: Database) -> None:
    """The base of a three-way merge, as in any snapshot."""
    change(based, Changes(set=MANY | {"list": [1]}))
    snapshot = freeze(based)
    change(based, Changes(set={"list": [1, 2]}))
    rule = MergeRule.model_validate({"rules": [{"keys": ["list"], "on_conflict": "append"}]})
    with database.writing() as connection:
        merge = based.merge(connection, snapshot, Changes(set={"list": [1, 3]}), rule, who="run", run_id=None, at="t")
    assert merge.combined == ("list",)
    found = based.get("list")
    assert found is not None
    assert found.value == [1, 2, 3]


WRITES = st.lists(
    st.tuples(
        st.sampled_from("abcdefgh"), st.one_of(st.none(), st.integers(0, 9), st.text("aé\U0001f600", max_size=9))
    ),
    max_size=6,
)


@pytest.fixture(scope="module")
def everything_has_a_base() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(freezing, "_SMALL", 40)
        patch.setattr(freezing, "_FEW", 4)
        yield


@pytest.mark.usefixtures("everything_has_a_base")
@settings(max_examples=40, deadline=None)
@given(rounds=st.lists(st.tuples(WRITES, WRITES), max_size=6), forgetful=st.booleans())
def test_with_bases_or_without_a_run_sees_the_same(
    *, rounds: list[tuple[list[tuple[str, JsonValue]], list[tuple[str, JsonValue]]]], forgetful: bool
) -> None:
    """Whatever is written and deleted, whenever a base is made, and whatever is given."""
    with TemporaryDirectory() as folder, Database.open(Path(folder)) as database:
        bases = Bases(Path(folder) / "bases")
        contexts = ContextStore(database, bases=bases)
        for writes, given_now in rounds:
            for key, value in writes:
                if value is not None:
                    contexts.set(key, value, "ann", "t")
                elif contexts.get(key):
                    contexts.delete(key, "ann", "t")
            own = dict(given_now)
            plain = contexts.freeze(None, ["[a-f]"], own)
            snapshot = contexts.freeze(None, ["[a-f]"], own, contexts.base_for(None, ["[a-f]"]))
            assert dict(snapshot.seen) == plain.values
            assert (snapshot.version, snapshot.given()) == (plain.version, plain.given())
            if forgetful:
                shutil.rmtree(bases.folder, ignore_errors=True)
                contexts = ContextStore(database, bases=Bases(bases.folder))
            assert dict(Snapshot.read(snapshot.content(), contexts.base_named).seen) == plain.values
