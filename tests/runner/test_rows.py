"""How rows travel from step to step, whatever their number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runner.conftest import Load


@pytest.fixture
def rows(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401 - a module
    module = load("scriptlets._etl.rows")
    monkeypatch.setattr(module, "FOLDER", str(tmp_path / "rows"))
    return module


@pytest.fixture
def context(load: Load) -> Any:  # noqa: ANN401 - the class of another world
    return load("orchestrator.context").Context()


MANY = [{"id": number, "text": "é" * 20} for number in range(2_000)]


def test_few_rows_are_in_the_context_itself(rows: Any, context: Any, tmp_path: Path) -> None:  # noqa: ANN401
    """Where any step and any person can read them."""
    assert rows.keep(context, "k", iter([{"a": 1}, {"a": None}])) == 2
    assert context.get("k") == [{"a": 1}, {"a": None}]
    assert list(rows.take(context, "k")) == [{"a": 1}, {"a": None}]
    assert not (tmp_path / "rows").exists()


def test_many_rows_are_in_a_file_that_the_context_names(rows: Any, context: Any, tmp_path: Path) -> None:  # noqa: ANN401
    """By its content: a step that is tried again writes the same one, and leaves the one that it read."""
    assert rows.keep(context, "k", iter(MANY)) == 2_000
    told = context.get("k")
    assert (told["count"], [*told]) == (2_000, ["rows_file", "count"])
    assert list(rows.take(context, "k")) == MANY

    reading = rows.take(context, "k")
    assert rows.keep(context, "k", reading) == 2_000
    assert context.get("k") == told
    assert [path.name for path in (tmp_path / "rows").iterdir()] == [told["rows_file"]]


def test_the_bound_is_in_bytes_of_json(rows: Any, context: Any) -> None:  # noqa: ANN401
    """Of which the strictest policy lets a step change more."""
    row = {"a": "x" * (rows.INLINE_BYTES - 10)}
    assert len(rows.dumps([row])) == rows.INLINE_BYTES
    rows.keep(context, "k", [row])
    assert isinstance(context.get("k"), list)
    rows.keep(context, "k", [{"a": row["a"] + "x"}])
    assert isinstance(context.get("k"), dict)


def test_rows_that_are_refused_leave_no_file(rows: Any, context: Any, tmp_path: Path) -> None:  # noqa: ANN401
    """The room is wanted by whoever tries again."""
    with pytest.raises(rows.RowError, match=r"^row 2001, field 'n': nan is not a finite number$"):
        rows.keep(context, "k", iter([*MANY, {"n": float("nan")}]))
    assert [*(tmp_path / "rows").iterdir()] == []
    assert "k" not in context


def test_no_rows_are_rows_too(rows: Any, context: Any) -> None:  # noqa: ANN401
    """An empty list, not a missing key."""
    assert rows.keep(context, "k", iter([])) == 0
    assert list(rows.take(context, "k")) == []


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "there are no rows under 'k' .no such key."),
        ("x", "there are no rows under 'k' .a str there."),
        ({"rows": 1}, "there are no rows under 'k' .a dict there."),
        ({"rows_file": "../../etc/passwd"}, "there are no rows under 'k' .a dict there."),
        ({"rows_file": f"{'0' * 64}.jsonl"}, "their file went with the run that made them"),
    ],
)
def test_what_is_no_rows_is_told(rows: Any, context: Any, value: object, said: str) -> None:  # noqa: ANN401
    """A file of another run is gone, and no other file is opened."""
    if value is not None:
        context.set("k", value)
    with pytest.raises(LookupError, match=said):
        rows.take(context, "k")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ([1], "row 7: it is an array, not an object"),
        (None, "row 7: it is null, not an object"),
        ({1: 2}, "row 7: the name 1 of a field is no text"),
        ({"a": b"x"}, "row 7, field 'a': JSON cannot say a bytes: make it a text or a number"),
        ({"a": {"b": [2**53 + 1]}}, "row 7, field 'a': 9007199254740993 is beyond 2**53: make it a text"),
        ({"a": "x\0"}, "row 7, field 'a': the text holds NUL"),
        ({"a": ["\ud800"]}, "row 7, field 'a': the text holds a lone surrogate"),
        ({"a": -float("inf")}, "row 7, field 'a': -inf is not a finite number"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_a_row_that_json_cannot_say_is_named(rows: Any, row: object, said: str) -> None:  # noqa: ANN401
    """Whether there are few rows or many: what the context would refuse is refused in a file, too."""
    with pytest.raises(rows.RowError) as caught:
        rows.check(row, 7)
    assert str(caught.value) == said


def test_rows_that_somebody_else_put_there_are_looked_at(rows: Any, context: Any) -> None:  # noqa: ANN401
    """A list of numbers is no table."""
    context.set("k", [{"a": 1}, 2])
    with pytest.raises(rows.RowError, match="row 2: it is a number, not an object"):
        list(rows.take(context, "k"))
