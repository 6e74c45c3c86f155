"""Rows of files, and files of rows."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.runner.conftest import imported

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.runner.conftest import Load

    Read = Callable[..., Any]

with imported() as importing:
    FORMATS = importing("scriptlets._etl.formats")

PLAIN = {"delimiter": ",", "encoding": "utf-8"}


@pytest.fixture
def read(load: Load) -> Read:
    """Read all rows of bytes, in one of the formats."""
    formats = load("scriptlets._etl.formats")
    return lambda form, content, **options: list(formats.READERS[form](io.BytesIO(content), PLAIN | options))


@pytest.fixture
def write(load: Load) -> Callable[..., str]:
    """Write rows in one of the formats."""
    formats = load("scriptlets._etl.formats")

    def writing(form: str, rows: list[Any], **options: Any) -> str:  # noqa: ANN401
        text = io.StringIO(newline="")
        assert formats.WRITERS[form](rows, text, PLAIN | options) == len(rows)
        return text.getvalue()

    return writing


def test_csv_is_text_under_the_names_of_its_first_line(read: Read) -> None:
    """Quotes, line ends in values, a byte order mark and empty lines are what they are in other programs."""
    content = '\ufeffid,name\r\n1,"a ""b"", c\nd"\r\n\r\n2,\r\n'.encode()
    assert read("csv", content) == [{"id": "1", "name": 'a "b", c\nd'}, {"id": "2", "name": ""}]


def test_csv_may_have_its_names_from_elsewhere(read: Read) -> None:
    """And other signs and encodings."""
    options = {"columns": ["id", "name"], "delimiter": ";", "encoding": "latin-1"}
    assert read("csv", b"1;caf\xe9\n", **options) == [{"id": "1", "name": "café"}]


WRONG: list[tuple[str, bytes, dict[str, Any], str]] = [
    ("csv", b"", {}, "there is not even a line with the names of the columns"),
    ("csv", b"a,b,a\n", {}, "two columns have one name: a"),
    ("csv", b"a,b\n1,2\n1\n", {}, "row 2: 1 values for 2 columns"),
    ("csv", b"a\n1,2\n", {}, "row 1: 2 values for 1 columns"),
    ("csv", b'a\n1\n"x"y\n', {}, "line 3: ',' expected after '\"'"),
    ("csv", b"a\n\xff\n", {}, "the text is not utf-8: invalid start byte; encoding names another"),
    ("csv", b"a\n" + b"x" * 65_537, {}, "line 2: field larger than field limit"),
    ("csv", b"a\n", {"encoding": "klingon"}, "unknown encoding: klingon"),
    ("jsonl", b'{"a": 1}\n\n{"a": }\n', {}, "row 2: not JSON: Expecting value: line 1 column 7"),
    ("jsonl", b'{"a": NaN}\n', {}, "row 1: not JSON: NaN is not JSON"),
    ("jsonl", b"[1]\n", {}, "row 1: it is an array, not an object"),
    ("jsonl", b'{"a": 1e999}\n', {}, "row 1, field 'a': inf is not a finite number"),
    ("jsonl", b"[" * 100_000, {}, "row 1: not JSON: maximum recursion depth exceeded"),
    ("jsonl", b'\xff\xfe{"a": 1}\n', {}, "the text is not utf-8"),
    ("json", b'{"a": 1}', {}, 'an array of objects is wanted, not object {"a":1}: records leads to it'),
    ("json", b'{"a": [1]}', {"records": "a"}, "row 1: it is a number, not an object"),
    ("json", b'{"a": {}}', {"records": "a.b"}, "records leads nowhere: there is no member 'b' in object {}"),
    ("json", b"[1", {}, "not JSON: Expecting ',' delimiter"),
]


@pytest.mark.parametrize(("form", "content", "options", "said"), WRONG, ids=lambda value: str(value)[:30])
def test_what_is_not_in_the_format_is_told_by_its_place(  # noqa: PLR0917 - what is read, and what is said of it
    load: Load, read: Read, form: str, content: bytes, options: dict[str, Any], said: str
) -> None:
    """Never skipped, never filled up."""
    with pytest.raises(load("scriptlets._etl.rows").RowError) as caught:
        read(form, content, **options)
    assert str(caught.value).startswith(said)


def test_json_lines_are_objects(read: Read) -> None:
    """With empty lines between them, if anybody likes."""
    assert read("jsonl", '{"a": "é"}\r\n \n{"a": [1, null]}'.encode()) == [{"a": "é"}, {"a": [1, None]}]


def test_json_has_its_rows_in_an_array_somewhere(read: Read) -> None:
    """By the names of members."""
    assert read("json", b'[{"a": 1}]') == [{"a": 1}]
    assert read("json", b'{"data": {"items": [{"a": 1}]}, "next": 2}', records="data.items") == [{"a": 1}]


ROWS = [{"id": 1, "name": 'a "b"', "ok": True, "tags": ["x"]}, {"id": 2, "name": None, "ok": False}]


def test_csv_says_values_as_json_does(write: Callable[..., str]) -> None:
    """Null, and what a row lacks, is empty."""
    assert write("csv", ROWS) == 'id,name,ok,tags\r\n1,"a ""b""",true,"[""x""]"\r\n2,,false,\r\n'
    assert write("csv", ROWS[1:], columns=["ok", "id", "name", "no"], delimiter=";") == "ok;id;name;no\r\nfalse;2;;\r\n"
    assert write("csv", [], columns=["a", "b"]) == "a,b\r\n"
    assert write("csv", []) == ""


def test_a_field_that_is_no_column_is_refused(load: Load, write: Callable[..., str]) -> None:
    """It would be lost."""
    with pytest.raises(load("scriptlets._etl.rows").RowError, match="row 2, field 'b': there is no such column"):
        write("csv", [{"a": 1}, {"a": 2, "b": 3}])


def test_json_and_json_lines_are_what_they_say(write: Callable[..., str]) -> None:
    """Also with no row at all."""
    assert write("jsonl", [{"a": "é"}, {}]) == '{"a":"é"}\n{}\n'
    assert write("json", [{"a": 1}, {}]) == '[\n{"a":1},\n{}\n]\n'
    assert (write("json", []), write("jsonl", [])) == ("[]\n", "")


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False), TEXT
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(TEXT, inner, max_size=2)),
    max_leaves=4,
)


@pytest.mark.parametrize("form", ["json", "jsonl"])
@given(rows=st.lists(st.dictionaries(TEXT, JSON, max_size=3), max_size=4))
@settings(deadline=None)
def test_json_comes_back_as_it_was(form: str, rows: list[dict[str, Any]]) -> None:
    """Whatever is in the texts: a line's end in one is no line's end."""
    content = io.StringIO(newline="")
    FORMATS.WRITERS[form](rows, content, PLAIN)
    assert list(FORMATS.READERS[form](io.BytesIO(content.getvalue().encode()), PLAIN)) == rows


@given(rows=st.lists(st.fixed_dictionaries({"a": TEXT, "b": TEXT, 'c"\n': TEXT}), max_size=4))
@settings(deadline=None)
def test_text_comes_back_from_csv_as_it_was(rows: list[dict[str, str]]) -> None:
    """Quotes, commas and line ends of all kinds."""
    content = io.StringIO(newline="")
    FORMATS.write_csv(rows, content, {**PLAIN, "columns": ["a", "b", 'c"\n']})
    assert list(FORMATS.read_csv(io.BytesIO(content.getvalue().encode()), PLAIN)) == rows
