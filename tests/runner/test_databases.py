"""SQLite and PostgreSQL, read from and loaded into: real ones."""

from __future__ import annotations

import sqlite3
import sys
import uuid
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.postgresql import Server
    from tests.runner.kit import Kit

ROWS = [
    {"id": 1, "name": 'a "b"', "price": 2.5, "ok": True, "tags": ["x"]},
    {"id": 2, "name": None, "price": None, "ok": False},
]
QUERY = "SELECT id, name FROM shop WHERE id > ? ORDER BY id"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    path = tmp_path / "shop 1?#.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE shop (id INTEGER, name TEXT, price REAL, image BLOB)")
        connection.execute("INSERT INTO shop VALUES (1, 'tea', 2.5, NULL), (2, 'salt', NULL, NULL)")
    return path


def seen(path: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


@pytest.mark.parametrize("function", ["SqlExtractor", "DatabaseExtractor"])
def test_sqlite_gives_what_a_query_asks_for(kit: Kit, shop: Path, function: str) -> None:
    """By a path or a URL, a query with values apart from it, or a whole table."""
    assert kit.extract(function, str(shop), query=QUERY, parameters=[1]) == [{"id": 2, "name": "salt"}]
    assert kit.extract(function, f"sqlite:///{shop}", table="shop") == [
        {"id": 1, "name": "tea", "price": 2.5, "image": None},
        {"id": 2, "name": "salt", "price": None, "image": None},
    ]
    named = "SELECT name FROM shop WHERE name LIKE '%a%' AND id = :id"
    assert kit.extract(function, str(shop), query=named, parameters={"id": 1}) == [{"name": "tea"}]


def test_an_empty_result_has_no_rows(kit: Kit, shop: Path) -> None:
    """And is none the less one."""
    assert kit.extract("SqlExtractor", str(shop), query="SELECT 1 AS a WHERE 1 = 0") == []


@pytest.mark.parametrize("query", ["DELETE FROM shop", "CREATE TABLE t (a)", "INSERT INTO shop SELECT * FROM shop"])
def test_reading_cannot_change_sqlite(kit: Kit, shop: Path, query: str) -> None:
    """Whatever the query says."""
    before = shop.read_bytes()
    with pytest.raises(RuntimeError, match="SQLite: attempt to write a readonly database"):
        kit.extract("SqlExtractor", str(shop), query=query)
    assert shop.read_bytes() == before


def test_a_file_that_nobody_can_change_needs_no_journal(kit: Kit, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is read-only, and so is its folder: SQLite could not make the files that it makes beside others."""
    with closing(sqlite3.connect(shop)) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("INSERT INTO shop VALUES (3, 'rice', 1, NULL)")
        connection.commit()
    monkeypatch.setattr("os.access", lambda *_: False)
    assert len(kit.extract("SqlExtractor", str(shop), table="shop")) == 3
    assert [path.name for path in shop.parent.iterdir() if path.is_file()] == [shop.name]


SAID: list[tuple[dict[str, object], str]] = [
    ({"query": "SELECT * FROM nowhere"}, "SQLite: no such table: nowhere"),
    ({"query": "SELECT id, id FROM shop"}, "two columns of the query have one name: id, id"),
    ({"query": "SELECT x'00' AS image, 'b' AS b"}, "row 1, field 'image': JSON cannot say a bytes: cast it to text"),
    ({"query": "SELECT 1e999 AS a"}, "row 1, field 'a': inf is not a finite number"),
    ({}, "connection_params names either a query or a table"),
    ({"query": "SELECT 1", "table": "shop"}, "connection_params names either a query or a table"),
    ({"quary": "SELECT 1"}, "connection_params.quary is unknown: did you mean query?"),
]


@pytest.mark.parametrize(("options", "said"), SAID, ids=lambda value: str(value)[:30])
def test_what_cannot_be_read_is_told(kit: Kit, shop: Path, options: dict[str, object], said: str) -> None:
    """In the database's words, or by the row and the field."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - each has its own
        kit.extract("SqlExtractor", str(shop), **options)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("missing.db", "missing.db: no such file: name one of the recipe's folder"),
        ("mysql://host/shop", "no database is known by mysql://: postgres://host/database or sqlite:///file"),
    ],
)
def test_a_database_that_is_not_there_is_told(kit: Kit, url: str, said: str) -> None:
    """And none is made in its place."""
    with pytest.raises((FileNotFoundError, ValueError), match=said):
        kit.extract("SqlExtractor", url, query="SELECT 1")


@pytest.mark.parametrize("function", ["SqlLoader", "DatabaseLoader"])
def test_rows_are_loaded_into_an_sqlite_file_that_is_an_artifact(kit: Kit, function: str) -> None:
    """Its table is made with the types of the first row; true is 1, as SQLite has it, and lists are JSON."""
    kit.load(function, "out/shop.db", ROWS, table="my shop")
    path = kit.artifacts / "out/shop.db"
    assert seen(path, 'SELECT * FROM "my shop"') == [(1, 'a "b"', 2.5, 1, '["x"]'), (2, None, None, 0, None)]
    assert [path.name for path in path.parent.iterdir()] == ["shop.db"]


def test_loading_appends_or_replaces(kit: Kit) -> None:
    """As the mode says; columns may be named."""
    for mode, ids in [("replace", [1]), ("append", [1, 1]), ("replace", [1])]:
        kit.load("SqlLoader", "sqlite:///a.db", [{"id": 1}], table="t", mode=mode, columns=["id", "no"])
        assert [row[0] for row in seen(kit.artifacts / "a.db", "SELECT id, no FROM t")] == ids


def test_all_rows_are_loaded_or_none(kit: Kit) -> None:
    """Also beyond the first few hundred, and the table that was made for them goes, too."""
    rows: list[dict[str, object]] = [{"id": number} for number in range(1200)]
    kit.load("SqlLoader", "a.db", rows, table="t")
    assert seen(kit.artifacts / "a.db", "SELECT count(*), max(id) FROM t") == [(1200, 1199)]
    with pytest.raises(ValueError, match="row 1201, field 'no': there is no such column"):
        kit.load("SqlLoader", "a.db", [*rows, {"no": 1}], table="t", mode="replace")
    with pytest.raises(ValueError, match="row 1201, field 'no'"):
        kit.load("SqlLoader", "a.db", [*rows, {"no": 1}], table="u")
    assert seen(kit.artifacts / "a.db", "SELECT count(*) FROM t") == [(1200,)]
    assert seen(kit.artifacts / "a.db", "SELECT name FROM sqlite_master") == [("t",)]


def test_rows_that_a_table_refuses_are_told_by_their_numbers(kit: Kit) -> None:
    """In the database's words."""
    kit.load("SqlLoader", "a.db", [{"id": 1}], table="t")
    with pytest.raises(RuntimeError, match="rows 1 to 2: table t has no column named nme"):
        kit.load("SqlLoader", "a.db", [{"id": 1, "nme": 2}, {"id": 2}], table="t")


@pytest.mark.postgresql
def test_postgresql_gives_what_a_query_asks_for(kit: Kit, postgresql: Server) -> None:
    """Dates and identifiers as text, numbers as numbers, as long as none of their digits is lost."""
    url, some = postgresql.url(), uuid.UUID(int=7)
    with psycopg.connect(url) as connection:
        connection.execute("CREATE SEQUENCE numbers")
        connection.execute("CREATE TABLE shop (id int, at timestamptz, price numeric, key uuid, more jsonb, ok bool)")
        connection.execute(
            "INSERT INTO shop VALUES (1, '2026-01-02T03:04:05Z', 2.50, %s, '{\"a\": [1]}', true)", [some]
        )
    assert kit.extract("DatabaseExtractor", url.replace("postgresql:", "postgres:"), table="shop") == [
        {"id": 1, "at": "2026-01-02T03:04:05+00:00", "price": 2.5, "key": str(some), "more": {"a": [1]}, "ok": True}
    ]
    query = "SELECT n AS id FROM generate_series(1, 1200) n WHERE n %% %s = 0"
    assert len(kit.extract("DatabaseExtractor", url, query=query, parameters=[2])) == 600
    assert kit.extract("DatabaseExtractor", url, query="SELECT 5 % 3 AS a") == [{"a": 2}]
    with pytest.raises(ValueError, match=r"row 1, field 'a': 0\.12345678901234567890 has more digits"):
        kit.extract("DatabaseExtractor", url, query="SELECT 0.12345678901234567890 AS a")
    with pytest.raises(RuntimeError, match=r"PostgreSQL: cannot execute nextval\(\) in a read-only transaction"):
        kit.extract("DatabaseExtractor", url, query="SELECT nextval('numbers')")


@pytest.mark.postgresql
def test_postgresql_takes_all_rows_or_none(kit: Kit, postgresql: Server) -> None:
    """Into a table that is there; true is true, and lists are JSON."""
    url = postgresql.url()
    with psycopg.connect(url) as connection:
        connection.execute("CREATE SCHEMA sales")
        connection.execute("CREATE TABLE sales.shop (id int UNIQUE, name text, price float, ok bool, tags jsonb)")
    for mode in ("append", "replace"):
        kit.load("DatabaseLoader", url, ROWS, table="sales.shop", mode=mode)
        with psycopg.connect(url) as connection:
            found = connection.execute("SELECT * FROM sales.shop ORDER BY id").fetchall()
        assert found == [(1, 'a "b"', 2.5, True, ["x"]), (2, None, None, False, None)]
    with pytest.raises(RuntimeError, match="rows 1 to 2: duplicate key value violates unique constraint"):
        kit.load("DatabaseLoader", url, [{"id": 3}, {"id": 1}], table="sales.shop")
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM sales.shop").fetchone() == (2,)
    with pytest.raises(RuntimeError, match='rows 1 to 1: relation "nowhere" does not exist'):
        kit.load("DatabaseLoader", url, [{"id": 3}], table="nowhere")


def test_a_password_is_a_secret_of_the_step(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands in no recipe; the rest of the URL is the driver's."""
    asked: list[Any] = []

    def connect(*args: object, **more: object) -> None:
        asked.append((args, more))
        raise psycopg.OperationalError("no\n\thost")

    monkeypatch.setattr(psycopg, "connect", connect)
    kit.renew(secrets={"DB": "hunter22"})
    with pytest.raises(RuntimeError, match=r"PostgreSQL: no host$"):
        kit.extract("SqlExtractor", "postgres://me@db/shop", query="SELECT 1", password_secret="DB", timeout_s=7)  # noqa: S106
    assert asked == [(("postgres://me@db/shop",), {"connect_timeout": 7, "password": "hunter22"})]


def test_a_driver_that_is_missing_is_told_with_what_to_require(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """The container brings none; a driver that is broken says so itself."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    with pytest.raises(RuntimeError, match=r"add requirements: \['psycopg\[binary\]>=3.2'\] to the recipe's metadata"):
        kit.extract("SqlExtractor", "postgres://db/shop", query="SELECT 1")
