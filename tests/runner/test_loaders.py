"""Files and keys that rows are loaded into, and what all loaders have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runner.conftest import Load
    from tests.runner.kit import Kit

ROWS: list[dict[str, Any]] = [{"id": 1, "name": "é"}, {"id": 2, "name": None}]
CSV, JSON_LINES = "id,name\r\n1,é\r\n2,\r\n", '{"id":1,"name":"é"}\n{"id":2,"name":null}\n'


@pytest.mark.parametrize(
    ("function", "name", "options", "content"),
    [
        ("CsvLoader", "out/a.csv", {}, CSV),
        ("CsvLoader", "a.txt", {"columns": ["name", "id"], "delimiter": ";"}, "name;id\r\né;1\r\n;2\r\n"),
        ("JsonLinesLoader", "a.jsonl", {}, JSON_LINES),
        ("ArtifactLoader", "a.csv", {}, CSV),
        ("ArtifactLoader", "a.JSONL", {}, JSON_LINES),
        ("ArtifactLoader", "a.json", {}, '[\n{"id":1,"name":"é"},\n{"id":2,"name":null}\n]\n'),
        ("ArtifactLoader", "a.txt", {"format": "csv"}, CSV),
    ],
)
def test_a_relative_path_is_the_name_of_an_artifact(
    kit: Kit, function: str, name: str, options: dict[str, object], content: str
) -> None:
    """In the format that the loader, the options or the name tell."""
    kit.load(function, name, ROWS, **options)
    assert (kit.artifacts / name).read_bytes().decode() == content


def test_a_full_path_is_one(kit: Kit, tmp_path: Path) -> None:
    """For a later step of the run."""
    kit.load("CsvLoader", str(tmp_path / "a.csv"), ROWS)
    assert (tmp_path / "a.csv").read_bytes().decode() == CSV


def test_a_file_that_was_not_finished_is_not_kept(kit: Kit) -> None:
    """Nobody could tell it from a whole one."""
    with pytest.raises(ValueError, match="row 2, field 'b'"):
        kit.load("CsvLoader", "a.csv", [{"a": 1}, {"b": 1}])
    assert [*kit.artifacts.iterdir()] == []


@pytest.mark.parametrize(
    ("function", "target", "said"),
    [
        ("ArtifactLoader", "rows", "the name 'rows' does not tell a format: load_options.format"),
        ("CsvLoader", "https://host/a.csv", "'https://host/a.csv' is no file"),
        ("CsvLoader", "../a.csv", "not a plain name"),
        ("CsvLoader", "", "the length of target_url must be at least 1, not 0"),
    ],
)
def test_a_target_that_is_none_is_told(kit: Kit, function: str, target: str, said: str) -> None:
    """Before anything is written."""
    with pytest.raises(ValueError, match=said):
        kit.load(function, target, ROWS)
    assert not any(path.is_file() for path in kit.artifacts.rglob("*"))


@pytest.mark.parametrize("target", ["report.rows", "context:report.rows"])
def test_a_key_of_the_context_takes_the_list(kit: Kit, target: str) -> None:
    """As rows that any step and any person can read."""
    kit.load("ContextLoader", target, ROWS)
    assert kit.context.get("report.rows") == ROWS


def test_rows_may_be_loaded_into_the_key_where_they_are(kit: Kit) -> None:
    """Then they are not taken away."""
    kit.load("ContextLoader", "etl.rows", ROWS)
    assert kit.context.get("etl.rows") == ROWS


def test_rows_leave_the_context_once_they_are_loaded(kit: Kit) -> None:
    """They were on their way; who has two loaders says so at the first."""
    kit.context.set("mine", ROWS)
    kit.call("loaders", "CsvLoader", target_url="a.csv", input_key="mine", keep_rows=True)
    assert kit.context.get("mine") == ROWS
    kit.call("loaders", "CsvLoader", target_url="b.csv", input_key="mine")
    assert "mine" not in kit.context
    assert (kit.artifacts / "b.csv").read_bytes().decode() == CSV
    with pytest.raises(LookupError, match="there are no rows under 'mine'"):
        kit.call("loaders", "CsvLoader", target_url="c.csv", input_key="mine")


def test_rows_by_the_thousand_go_the_whole_way(kit: Kit, tmp_path: Path) -> None:
    """By a file that the steps share, with the order kept."""
    lines = [f"{number},{number % 7},text {number}" for number in range(20_000)]
    (tmp_path / "in.csv").write_text("\n".join(["id,group,text", *lines]))
    assert kit.call("extractors", "CsvExtractor", source_url=str(tmp_path / "in.csv")) == {"rows": 20_000}
    rules = [{"cast": {"id": "integer"}}, {"filter": {"field": "group", "op": "==", "value": "3"}}]
    assert kit.call("transformers", "DataTransformerScriptlet", transformation_rules=rules) == {
        "rows_in": 20_000,
        "rows": 2_857,
    }
    kit.call("loaders", "CsvLoader", target_url="out.csv")
    wanted = [f"{number},3,text {number}" for number in range(3, 20_000, 7)]
    assert (kit.artifacts / "out.csv").read_bytes().decode() == "\r\n".join(["id,group,text", *wanted, ""])


def test_a_file_that_is_not_there_is_told_with_what_to_do(kit: Kit) -> None:
    """What args name by a relative path is packed; anything else is not."""
    with pytest.raises(FileNotFoundError, match=r"data/none\.csv: no such file: name one of the recipe's folder"):
        kit.extract("CsvExtractor", "data/none.csv")


def test_every_built_in_scriptlet_is_listed_for_packaging(load: Load) -> None:
    """A name that is not in the list is refused before it runs; one that is no scriptlet would not be."""
    from isolation.packaging.builtin import BUILTIN  # noqa: PLC0415 - the host's side

    framework = load("scriptlets.framework")
    for module in BUILTIN:
        load(module)
    registered: dict[str, set[str]] = {module: set() for module in BUILTIN}
    for name, scriptlet in framework.REGISTERED.items():
        registered[scriptlet.__module__].add(name)
    assert registered == {module: {*names} for module, names in BUILTIN.items()}
    assert all(scriptlet.__doc__ and scriptlet.params for scriptlet in framework.REGISTERED.values())
