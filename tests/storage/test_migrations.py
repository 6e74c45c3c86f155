"""A database of an earlier release becomes one of this, with all that was in it."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, inspect, text, update

from isolation.context.store import ContextStore
from isolation.model.run import Digests
from isolation.model.step_result import StepResult
from isolation.owner import this_process
from isolation.state.database import Database
from isolation.state.migrations.upgrade import config
from isolation.state.schema import REVISION, alembic_version, metadata, packages, reruns, step_results, tokens, uploads
from isolation.state.sqlite import connect
from isolation.storage.ledger import Ledger
from isolation.storage.presence import Presence
from isolation.storage.results import Results

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ResultOf


def make_first(connection: Connection) -> None:
    """Make the schema of the first release: without Alembic's table, which it did not know."""
    command.upgrade(config(connection), "0001")
    connection.execute(text("DROP TABLE alembic_version"))


@pytest.fixture
def first(tmp_path: Path, result_of: ResultOf) -> Path:
    """A state folder of the first release: a finished run, one whose process is gone, and a context with a history."""
    from isolation.model.document import to_json  # noqa: PLC0415

    folder = tmp_path / "first"
    engine = connect(folder / "isolation.db", make_first)
    owner = this_process()
    result = result_of("r1")
    columns: dict[str, Any] = {
        "recipe": "etl", "policy": "default", "epoch": 1, "started_at": "t1", "attempts": 0, "package_digest": "p",
        "snapshot_digest": "s", "policy_digest": "q", "image_digest": "i", "owner_boot": owner.boot,
        "owner_pid": os.getpid(), "owner_started": "1", "outcome": None, "finished_at": None, "result": None,
    }  # fmt: skip
    names = [*columns, "run_id", "state"]
    insert = text(f"INSERT INTO runs ({', '.join(names)}) VALUES ({', '.join(f':{name}' for name in names)})")  # noqa: S608 - ours
    with engine.begin() as connection:
        ended = {"outcome": "succeeded", "finished_at": "t2", "attempts": 1, "result": to_json(result)}
        connection.execute(insert, {**columns, "run_id": "r1", "state": "finished", **ended})
        connection.execute(insert, {**columns, "run_id": "r2", "state": "running"})
        attempt = to_json(result.attempts[0])
        connection.execute(text("INSERT INTO attempts VALUES ('r1', 1, 'succeeded', '', 't1', :it)"), {"it": attempt})
        for version, key, value, deleted in ((1, "a", "1", 0), (2, "a", "2", 0), (3, "b", None, 1)):
            connection.execute(
                text("INSERT INTO context_entries VALUES (:version, :key, :deleted, 'ann', 'r1', 't', :value)"),
                {"version": version, "key": key, "value": value, "deleted": deleted},
            )
        connection.execute(text("INSERT INTO context_current VALUES ('a', 2), ('b', 3)"))
    engine.dispose()
    return folder


def test_all_that_was_kept_is_there_afterwards(first: Path, result_of: ResultOf) -> None:
    """In the namespace ``default``; and a run whose process died before is found as one."""
    with Database.open(first) as database:
        ledger, contexts, presence = Ledger(database), ContextStore(database), Presence(database)

        assert ledger.get("r1") == result_of("r1")
        assert ledger.attempts("r1") == result_of("r1").attempts
        assert [(run.run_id, run.state) for run in ledger.list(9)] == [("r2", "running"), ("r1", "finished")]
        assert [(entry.key, entry.value) for entry in contexts.list()] == [("a", 2)]
        assert [entry.version for entry in contexts.history()] == [3, 2, 1]
        (dead,) = presence.gone()
        assert presence.bury(dead, "t9").abandoned == ("r2",)
        assert contexts.set("c", 1, "ann", "t").version == 4
        ledger.start("r3", "etl", "default", Digests(package="p", snapshot="s", policy="q", image="i"), "t")
        assert [run.run_id for run in ledger.list(1)] == ["r3"]


def test_the_schema_is_the_same_whether_it_grew_or_was_made(first: Path, tmp_path: Path) -> None:
    """Else what works on a new folder fails on an old one."""
    Database.open(first).close()
    with Database.open(first) as grown, Database.open(tmp_path / "made") as made:
        assert shape(grown) == shape(made)
        with grown.reading() as connection:
            assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_one_of_the_schema_before_grows_to_the_same_and_can_be_used(
    tmp_path: Path, url: str | None, digests: Digests
) -> None:
    """On PostgreSQL as well, where the second schema was the first."""
    with Database.open(tmp_path / "state", url) as made:
        wanted = shape(made)
        with made.writing() as connection:
            for table in (packages, uploads, reruns, tokens, step_results):
                table.drop(connection)
            connection.execute(text("DROP INDEX runs_by_package"))
            connection.execute(update(alembic_version).values(version_num="0002"))

    with Database.open(tmp_path / "state", url) as grown:
        assert shape(grown) == wanted
        Ledger(grown).start("r1", "etl", "default", digests, "t")
        with grown.writing() as connection:
            for found in ("f", "g"):
                Results(grown).keep(connection, [("key", StepResult(step="load", found=found))], "r1", "t")
        assert [one.found for one in Results(grown).recall({"load": "key"}, 1000)["load"]] == ["g", "f"]


def test_the_newest_step_is_the_one_that_a_new_database_is_said_to_have() -> None:
    """One that is forgotten in ``schema`` would never be taken."""
    empty: Any = None
    assert ScriptDirectory.from_config(config(empty)).get_current_head() == REVISION


def test_a_step_that_fails_leaves_everything_as_it_was(first: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is one transaction with all steps: the second opening starts from the same."""
    before = (first / "isolation.db").read_bytes()
    kept = first.with_name("kept")
    shutil.copytree(first, kept)

    def fail(*_: object) -> None:
        raise OSError("power")

    with monkeypatch.context() as broken:
        broken.setattr("alembic.op.drop_table", fail)
        with pytest.raises(OSError, match="power"):
            Database.open(first)

    assert (first / "isolation.db").read_bytes()[:4096] == before[:4096]
    with Database.open(first) as database:
        assert Ledger(database).resolve("r1") == "r1"


def shape(database: Database) -> dict[str, Any]:
    """Describe the tables as the database has them."""
    with database.reading() as connection:
        found = MetaData()
        found.reflect(connection)
        return {
            name: (
                [(column.name, str(column.type), column.nullable, column.primary_key) for column in table.columns],
                sorted((index.name, [str(one) for one in index.expressions]) for index in table.indexes),
                sorted(str(key.target_fullname) for key in table.foreign_keys),
                sorted(inspect(connection).get_unique_constraints(name), key=str),
            )
            for name, table in found.tables.items()
        }
