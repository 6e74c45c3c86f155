"""What may be a key or a value, with the exact sentences that people read when it may not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from isolation.context.key import check_key
from isolation.context.value import check_value
from isolation.errors import ContextError

if TYPE_CHECKING:
    from pydantic import JsonValue


@pytest.mark.parametrize("key", ["a", "sales.eu.total", "a b", "é", "日本", "x" * 256, "*", "-"])
def test_any_printable_text_can_be_a_key(key: str) -> None:
    """People name things in their own language."""
    assert check_key(key) == key


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("", "a context key is empty"),
        (" a", "the context key ' a' begins or ends with a space"),
        ("a\n", "the context key 'a\\n' has a character that cannot be printed"),
        ("a\x00b", "the context key 'a\\x00b' has a character that cannot be printed"),
        ("\ud800", "the context key '\\ud800' has a character that cannot be printed"),
        ("a\u202eb", "the context key 'a\\u202eb' has a character that cannot be printed"),
        ("é" * 129, f"the context key {'é' * 40!r}... is longer than 256 bytes"),
    ],
)
def test_a_text_that_cannot_be_a_key_is_refused_with_a_sentence(key: str, sentence: str) -> None:
    """Control characters and the like would forge a line on somebody's terminal."""
    with pytest.raises(ContextError) as caught:
        check_key(key)

    assert str(caught.value) == sentence
    assert caught.value.hint


def nested(depth: int) -> JsonValue:
    value: JsonValue = 1
    for _ in range(depth - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        2**53 + 1,
        -(2**53) - 1,
        "a\x00",
        "\ud800",
        {"\ud800": 1},
        {1: 2},
        {"a": {1, 2}},
        b"bytes",
        nested(40),
        "x" * (2**20 + 1),
    ],
    ids=lambda value: repr(value)[:12],
)
def test_a_value_that_is_no_json_for_everybody_is_refused(value: Any) -> None:  # noqa: ANN401 - wrong on purpose
    """It would come back as something else, or not at all, from one reader or another."""
    with pytest.raises(ContextError, match="the value of the context key 'k'") as caught:
        check_value("k", value)

    assert caught.value.hint


def test_equal_objects_are_written_equally() -> None:
    """The order of an object's keys means nothing in JSON, so it must not make a conflict."""
    assert check_value("k", {"b": 1, "a": {"d": 1, "c": 2}}) == check_value("k", {"a": {"c": 2, "d": 1}, "b": 1})
