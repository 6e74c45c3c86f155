"""Dumps over HTTP: what is in them, where they may be, and that they are whole."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from isolation.context import dumps as dumps_module
from isolation.context.dumping import Format
from isolation.errors import ContextError
from isolation.model.access import Role
from isolation.model.changes import Changes

if TYPE_CHECKING:
    from httpx2 import Client
    from pydantic import JsonValue

    from isolation.service.service import Service
    from tests.service.conftest import ClientFor

AT = "2025-01-01T00:00:00.000Z"
VALUES: dict[str, JsonValue] = {"a.text": 'x"\n\u2028ä,', "b.number": -5, "c": {"d": [1, None]}, "=2+2": "=1+1"}


@pytest.fixture
def filled(service: Service, client: Client) -> Client:
    """Ask about a context with a history: one key was written twice, one deleted."""
    contexts = service.stores.contexts
    contexts.set("b.number", 1, "@ann", AT)
    contexts.change(Changes(set=VALUES | {"gone": 1}), "ann", AT)
    contexts.delete("gone", "bob", AT)
    return client


def dump(client: Client, **wanted: object) -> tuple[dict[str, object], str]:
    """Have a dump written; returns what is told of it, and what is in it."""
    answer = client.post("/v1/context/dumps", json=wanted)
    assert answer.status_code == 200, answer.text
    told: dict[str, object] = answer.json()
    content = client.get(f"/v1/context/dumps/{told['filename']}")
    assert len(content.content) == told["file_size"]
    assert content.headers["Content-Disposition"] == f'attachment; filename="{told["filename"]}"'
    return told, content.content.decode()


@pytest.mark.parametrize("form", ["json", "pretty"])
def test_json_has_the_values_and_if_wanted_the_history(filled: Client, form: str) -> None:
    """Both exact; a deleted key is in the history alone."""
    told, text = dump(filled, format=form, filename="backup", include_history=True, who="cron")
    assert (told["filename"], told["keys"], told["version"], told["who"]) == (f"backup.{form}", 4, 7, "cron")
    content = json.loads(text)
    assert content["context"] == VALUES
    assert [(one["version"], one["key"], one["deleted"]) for one in content["history"]][-1] == (7, "gone", True)
    assert len(content["history"]) == 7
    assert (text.count("\n") > 20) == (form == "pretty")

    _, short = dump(filled, format=form)
    assert "history" not in json.loads(short)


def test_pretty_is_indented_as_json_usually_is(filled: Client) -> None:
    """To the last space."""
    _, text = dump(filled, format="pretty", include_history=True)
    assert text == json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"


def test_a_table_has_exact_values_and_no_formula(filled: Client) -> None:
    """What begins as a formula does is marked; a value is JSON, and begins with a quote."""
    _, text = dump(filled, format="csv", include_history=True)
    rows = [*csv.DictReader(io.StringIO(text, newline=""))]
    held = {row["key"]: json.loads(row["value"]) for row in rows if row["part"] == "context"}
    assert held == {"'=2+2" if key == "=2+2" else key: value for key, value in VALUES.items()}
    past = [row for row in rows if row["part"] == "history"]
    assert [int(row["version"]) for row in past] == [*range(1, 8)]
    assert (past[0]["who"], past[-1]["deleted"], past[-1]["value"]) == ("'@ann", "true", "")
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "@"))]
    assert "history" not in dump(filled, format="csv")[1]


def test_text_has_one_line_a_key(service: Service, filled: Client) -> None:
    """Whatever is in a value: no line break, nothing that moves a cursor."""
    service.stores.contexts.set("evil", "\x1b[2J\x9b\u202e", "\x1b]\n", AT)
    _, text = dump(filled, format="txt", include_history=True)
    lines = text.splitlines()
    assert lines[0].startswith("# the context of default at version 8, ")
    assert 'a.text = "x\\"\\n\\u2028ä,"' in lines
    assert f'7 {AT} gone deleted (by "bob")' in lines
    assert len(lines) == 1 + 5 + 2 + 8
    assert text.replace("\n", "").isprintable()
    assert len(dump(filled, format="txt")[1].splitlines()) == 1 + 5


@pytest.mark.parametrize("form", [*Format])
@pytest.mark.parametrize("history", [True, False])
def test_nothing_can_be_dumped_too(client: Client, form: str, history: bool) -> None:  # noqa: FBT001 - a parameter
    """It is a dump with no keys."""
    told, text = dump(client, format=form, include_history=history)
    assert (told["keys"], told["version"]) == (0, 0)
    if form in {"json", "pretty"}:
        assert json.loads(text)["context"] == {}


@pytest.mark.parametrize(
    "name", ["../up", "/etc/passwd", "a/b", ".hidden", "..", "a\n", "a\0b", "", "-rf", "x" * 101, "ä", 'a"b', "a\\b"]
)
def test_a_name_that_could_lead_elsewhere_is_refused(service: Service, client: Client, name: str) -> None:
    """And nothing is written anywhere."""
    before = {*service.stores.folder.rglob("*")}
    answer = client.post("/v1/context/dumps", json={"filename": name})
    assert answer.status_code == 422
    left = {path for path in service.stores.folder.rglob("*") if path not in before}
    assert not [path for path in left if path.suffix in {".json", ".csv"} or "dumps" in path.parts]


@pytest.mark.parametrize("name", ["..%2F..%2Fisolation.db", "isolation.db", ".new-x", "none.json", "a%00.json", "json"])
def test_what_is_no_dump_cannot_be_fetched(service: Service, filled: Client, name: str) -> None:
    """Not even what lies in the folder, and not through a link in it."""
    dump(filled)
    (service.stores.dumps.folder / ".new-x").write_text("half")
    for method in ("GET", "DELETE"):
        assert filled.request(method, f"/v1/context/dumps/{name}").status_code == 404
    (service.stores.dumps.folder / "link.json").symlink_to(service.stores.folder / "isolation.db")
    assert filled.get("/v1/context/dumps/link.json").status_code >= 400


def test_the_list_has_the_newest_first(filled: Client) -> None:
    """Each name once: a dump takes the place of one of the same name."""
    for wanted in ({"filename": "a"}, {"filename": "b.csv", "format": "csv"}, {"filename": "a.json"}):
        dump(filled, **wanted)
    listed = filled.get("/v1/context/dumps").json()["dump_files"]
    assert [one["filename"] for one in listed] == ["a.json", "b.csv"]
    assert {*listed[0]} == {"filename", "file_size", "format", "timestamp"}

    assert filled.delete("/v1/context/dumps/a.json").status_code == 204
    assert [one["filename"] for one in filled.get("/v1/context/dumps").json()["dump_files"]] == ["b.csv"]


def test_a_dump_that_fails_leaves_the_one_before(
    service: Service, filled: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing half written is ever seen, and nothing is left behind."""
    _, before = dump(filled, filename="daily")

    def fails(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("isolation.context.dumps.os.fsync", fails)
    answer = filled.post("/v1/context/dumps", json={"filename": "daily"})
    assert (answer.status_code, answer.json()["code"]) == (503, "storage")
    assert filled.get("/v1/context/dumps/daily.json").text == before
    assert [path.name for path in service.stores.dumps.folder.iterdir()] == ["daily.json"]


def test_there_is_an_end_to_their_number(service: Service, filled: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is there already can still be written over."""
    monkeypatch.setattr(dumps_module, "MOST_DUMPS", 1)
    dump(filled, filename="a")
    dump(filled, filename="a")
    with pytest.raises(ContextError, match="there are 1 dumps"):
        service.stores.dumps.write(Format.CSV, "a", include_history=False, who="", at=AT)


def test_who_may_only_look_writes_none(client_for: ClientFor) -> None:
    """And nobody sees those of another namespace."""
    ours, theirs, viewer = client_for(Role.RUNNER, "ours"), client_for(Role.RUNNER, "theirs"), client_for(Role.VIEWER)
    dump(ours, filename="a")
    assert theirs.get("/v1/context/dumps").json()["dump_files"] == []
    assert theirs.get("/v1/context/dumps/a.json").status_code == 404
    assert theirs.get("/v1/context/dumps/a.json", params={"namespace": "ours"}).status_code == 403
    assert viewer.post("/v1/context/dumps", json={}).status_code == 403
    assert viewer.get("/v1/context/dumps").status_code == 200


@pytest.mark.slow
def test_a_large_context_is_written_piece_by_piece(service: Service) -> None:
    """It needs a small part of its size in memory."""
    value = "x" * 20_000
    for start in range(0, 3_000, 500):
        changes = Changes(set={f"k.{number}": value for number in range(start, start + 500)})
        service.stores.contexts.change(changes, "ann", AT)
    tracemalloc.start()
    try:
        written = service.stores.dumps.write(Format.CSV, "large", include_history=True, who="", at=AT)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert written.file_size > 2 * 3_000 * len(value)
    assert peak_bytes < written.file_size / 2
