"""Opening the database, and what people read when it cannot be used."""

from __future__ import annotations

import contextlib
import sqlite3
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import inspect, text, update

from isolation.errors import DatabaseLostError, InputError, SettingsError, StorageError
from isolation.state import sqlite
from isolation.state.database import Database
from isolation.state.schema import REVISION, alembic_version, metadata
from tests.postgresql import Server
from tests.site import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def test_an_acknowledged_write_survives_a_power_cut(tmp_path: Path) -> None:
    """These three are what SQLite's documents ask for; another value of one loses data in silence."""
    with Database.open(tmp_path) as database, database.reading() as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }

    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000}


def test_the_database_belongs_to_this_user_alone(tmp_path: Path) -> None:
    """It holds somebody's data; its journals take over its mode."""
    state = tmp_path / "state"
    with Database.open(state) as database, database.writing() as connection:
        connection.execute(update(alembic_version).values(version_num=REVISION))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in state.iterdir()}

    assert modes == {"isolation.db": 0o600, "isolation.db-wal": 0o600, "isolation.db-shm": 0o600}
    assert stat.S_IMODE(state.stat().st_mode) == 0o700


def test_a_database_is_made_with_all_tables_and_left_alone_when_opened_again(tmp_path: Path) -> None:
    """The second opening asks one question."""
    Database.open(tmp_path).close()
    with Database.open(tmp_path) as database, database.reading() as connection:
        assert set(inspect(connection).get_table_names()) >= set(metadata.tables)

    assert [path.name for path in tmp_path.iterdir()] == ["isolation.db"]


@pytest.mark.slow
def test_processes_that_make_the_same_database_at_once_all_get_it(tmp_path: Path, url: str | None) -> None:
    """Two first runs at the same moment are usual in a script."""
    code = (
        "import pathlib, sys\n"
        "from isolation.state.database import Database\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "Database.open(pathlib.Path(sys.argv[1]) / 'state', sys.argv[2] or None).close()\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, tmp_path, url or ""],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(4)
    ]

    # All stand ready before any goes on: communicate() alone would let them run one after another.
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
    errors = [process.communicate()[1].decode() for process in processes]

    assert errors == [""] * 4
    if not url:
        # Two that close at the same moment leave SQLite's own files, each for the other; the next one takes them over.
        left = {path.name for path in (tmp_path / "state").iterdir()} - {"isolation.db-shm", "isolation.db-wal"}
        assert left == {"isolation.db"}


def test_the_schema_of_a_later_version_is_refused(database: Database, tmp_path: Path, url: str | None) -> None:
    """Guessing at its meaning could destroy it."""
    with database.writing() as connection:
        connection.execute(update(alembic_version).values(version_num="9999"))

    with pytest.raises(StorageError) as caught:
        Database.open(tmp_path / "state", url)

    assert str(caught.value) == (
        f"{database.place} was written by a later version of isolation (its schema is 9999, ours is {REVISION})"
    )
    assert caught.value.hint == "Upgrade isolation, or choose another folder with --state."


def test_a_damaged_database_is_said_for_people(tmp_path: Path) -> None:
    """SQLite says "file is not a database"."""
    (tmp_path / "isolation.db").write_bytes(b"no database at all" * 500)

    with pytest.raises(StorageError) as caught:
        Database.open(tmp_path)

    assert str(caught.value) == f"the state folder {tmp_path} holds a database that is damaged"


def test_a_database_that_another_process_holds_is_said_for_people(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After waiting, which is cut short here."""
    monkeypatch.setattr(sqlite, "_BUSY_TIMEOUT_S", 0.05)
    with Database.open(tmp_path) as database:
        other = sqlite3.connect(tmp_path / "isolation.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError) as caught, database.writing():
            pass
        other.close()

    assert str(caught.value) == (
        f"the state folder {tmp_path} is busy: another process has held its database for too long"
    )


def test_a_reader_sees_one_moment_and_waits_for_nobody(database: Database) -> None:
    """A snapshot taken while others merge must not be half of one and half of the other."""
    with database.reading() as reader:
        before = reader.scalar(alembic_version.select())
        with database.writing() as writer:
            writer.execute(update(alembic_version).values(version_num="7"))
        assert reader.scalar(alembic_version.select()) == before

    with database.reading() as reader:
        assert reader.scalar(alembic_version.select()) == "7"


def test_an_exception_undoes_everything_that_was_written(database: Database) -> None:
    """And it comes through as it was: it is not the database's."""
    with pytest.raises(OSError, match="mine"), database.writing() as connection:  # noqa: PT012 - the block is tested
        connection.execute(update(alembic_version).values(version_num="7"))
        raise OSError("mine")

    with database.reading() as reader:
        assert reader.scalar(alembic_version.select()) == REVISION


MANY = 20


def test_as_many_may_ask_at_once_as_there_are(database: Database) -> None:
    """A worker of many slots has as many threads; a limit of connections would hold them up, and then fail them."""
    with contextlib.ExitStack() as readers:
        found = [readers.enter_context(database.reading()).scalar(text("SELECT 1")) for _ in range(MANY)]

    assert found == [1] * MANY


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.stop()


@pytest.mark.postgresql
def test_a_server_that_was_started_anew_costs_no_error(server: Server, tmp_path: Path) -> None:
    """The connections of before are dead, and nothing was asked on them."""
    with Database.open(tmp_path, server.url()) as database:
        with contextlib.ExitStack() as readers:
            for _ in range(2):
                readers.enter_context(database.reading())
        server.kill()
        until(server.is_gone)
        server.start()
        with contextlib.ExitStack() as readers:
            found = [readers.enter_context(database.reading()).scalar(text("SELECT 1")) for _ in range(2)]

    assert found == [1, 1]


@pytest.mark.postgresql
@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_a_writer_sees_what_was_committed_whatever_the_servers_default(tmp_path: Path, url: str) -> None:
    """It waits for those before it; what they wrote must not be hidden from it."""
    options = r"&options=-c%20search_path%3Dpublic%20-c%20default_transaction_isolation%3Dserializable"
    with Database.open(tmp_path, url + options) as database, database.writing() as connection:
        found = [connection.scalar(text(f"SHOW {name}")) for name in ("transaction_isolation", "search_path")]

    assert found == ["read committed", "public"]


@pytest.mark.postgresql
@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("SELECT CAST(:nul AS text)", "cannot contain NUL"),
        ("SELECT pg_sleep(60), :nul", "stopped us, since something took too long"),
    ],
)
def test_what_a_server_refuses_is_not_called_lost(database: Database, statement: str, said: str) -> None:
    """It would be asked again and again, for half a minute; and what no text can hold is who sent it to be told of."""
    nul, kind = ("\0", InputError) if "NUL" in said else ("", StorageError)
    with database.writing() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 10"))
        with pytest.raises(kind, match=said) as caught:
            connection.execute(text(statement), {"nul": nul})

    assert not isinstance(caught.value, DatabaseLostError)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:hush@db:abc/runs",
        "postgresql//ann:hush@db/runs",
        "mysql://ann:hush@db/runs",
        "mysql://db/runs?password=hush",
    ],
)
def test_no_error_says_a_password(tmp_path: Path, url: str) -> None:
    """It goes to logs that others read."""
    with pytest.raises(SettingsError) as caught:
        Database.open(tmp_path, url)

    assert "hush" not in f"{caught.value} {caught.value.hint} {caught.value.__cause__}"
