"""The strict reader of JSON against Python's own: what it takes means the same, and what is no I-JSON is refused."""

from __future__ import annotations

import json
import math
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as some

from isolation.contract import (
    MAX_DEPTH,
    MAX_INTEGER,
    MAX_KEY_BYTES,
    MAX_NODES,
    MAX_STRING_BYTES,
    Malformed,
    dumps,
    loads,
)

EDGES = some.sampled_from([MAX_INTEGER, MAX_INTEGER + 1, -MAX_INTEGER, -MAX_INTEGER - 1, 10**18, 10**40, 0, -1])
STRINGS = some.text(max_size=8) | some.sampled_from(["\ud800", "\0", "x" * MAX_STRING_BYTES, "é" * MAX_STRING_BYTES])
SCALARS = some.none() | some.booleans() | EDGES | some.integers() | some.floats() | STRINGS
KEYS = some.text(max_size=5) | some.sampled_from(["a", "\0", "\udfff", "k" * MAX_KEY_BYTES, "k" * (MAX_KEY_BYTES + 1)])
VALUES = some.recursive(
    SCALARS, lambda inner: some.lists(inner, max_size=4) | some.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)
SIGNS = [*'{}[],:"-.eE+01', " ", "\n", "\t", "'", "\x0b", "\u2028", "\ufeff", "//", "{}", "[]", "null", "true", "false"]
NUMBERS = ["NaN", "Infinity", "1e999", "-0", "1E-5", str(MAX_INTEGER), str(MAX_INTEGER + 1), "9" * 4301]
QUOTED = ['"a"', '"b"', '"a":', '"b":', '"\\u0000"', '"\\ud83d\\ude00"', '"\\ud800"', '"\\/"']
TEXTS = some.lists(some.sampled_from([*SIGNS, *NUMBERS, *QUOTED]), max_size=12).map("".join)


class Pairs(dict[str, Any]):
    """An object as it stands in the text: every pair, also of a key that came before."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


def is_i_json(value: object, depth: int = 1) -> bool:
    """Say it again, as RFC 7493 and our bounds have it, and as slowly as one likes."""
    if depth > MAX_DEPTH:
        return False
    if isinstance(value, Pairs):
        keys = [key for key, _ in value.pairs]
        good = len({*keys}) == len(keys) and all(is_text(key, MAX_KEY_BYTES) for key in keys)
        return good and all(is_i_json(item, depth + 1) for _, item in value.pairs)
    if isinstance(value, list):
        return all(is_i_json(item, depth + 1) for item in value)
    if isinstance(value, str):
        return is_text(value, MAX_STRING_BYTES)
    return not isinstance(value, int | float) or (
        math.isfinite(value) if isinstance(value, float) else abs(value) <= MAX_INTEGER
    )


def is_text(text: str, most_bytes: int) -> bool:
    plain = not any(char == "\0" or "\ud800" <= char <= "\udfff" for char in text)
    return plain and len(text.encode()) <= most_bytes


def read(content: bytes) -> tuple[bool, object]:
    try:
        return True, loads(content)
    except Malformed:
        return False, None


def python_reads(content: bytes) -> tuple[bool, object]:
    """Read strict UTF-8 as Python does, keeping every pair; what it refuses is no JSON."""
    try:
        return True, json.loads(content.decode(), object_pairs_hook=Pairs)
    except (ValueError, RecursionError):  # bytes, syntax, or more digits than Python converts
        return False, None


@settings(max_examples=400)
@given(TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass")) | some.binary(max_size=40))
@example(b'{"a":1,"a":1}')
@example(b"\xef\xbb\xbf{}")
@example('{"a":1}'.encode("utf-16"))
@example(b"-0")
@example(b"[1e-999]")
def test_what_python_reads_is_read_the_same_or_is_no_i_json(content: bytes) -> None:
    """A reader that is laxer than another lets two parties believe different things of the same bytes."""
    theirs, expected = python_reads(content)

    ours, value = read(content)

    assert ours == (theirs and is_i_json(expected))
    if ours:
        assert repr(value) == repr(plain(expected))  # repr: 1, 1.0 and True are three values, and so are 0.0 and -0.0


def plain(value: object) -> object:
    match value:
        case dict():
            return {key: plain(item) for key, item in value.items()}
        case list():
            return [plain(item) for item in value]
    return value


@given(VALUES)
def test_a_value_is_said_exactly_if_it_can_be_read_again(value: object) -> None:
    """What the runner's side refuses to say and what the host's refuses to read are the same values."""
    text = json.dumps(value).encode()

    try:
        said = dumps(value)
    except Malformed:
        assert not read(text)[0]
        return
    assert repr(loads(said)) == repr(loads(text)) == repr(value)


@pytest.mark.parametrize("item", ["0", "[]", "{}", '""', '",[{"'])
@pytest.mark.parametrize("count", [MAX_NODES, MAX_NODES + 1])
def test_the_bound_on_values_is_exact_whatever_they_are(count: int, item: str) -> None:
    """One value more than may be is refused, and none less; commas and brackets in a text are no values."""
    content = f"[{','.join([item] * (count - 1))}]".encode()

    assert read(content)[0] == (count <= MAX_NODES)


@given(some.integers(1, MAX_DEPTH + 3), some.booleans(), some.booleans())
def test_the_bound_on_depth_is_exact(depth: int, first: bool, second: bool) -> None:  # noqa: FBT001
    """A writer at the bound is understood, and one beyond it is not; lists and objects count alike."""
    value: object = 0
    for level in range(depth - 1):
        value = [value] if (first if level % 2 else second) else {"a": value}

    assert read(json.dumps(value).encode())[0] == (depth <= MAX_DEPTH)


@pytest.mark.parametrize(("short", "spare"), [(0, 0), (0, 1), (3, 3), (3, 4)])
def test_what_is_let_through_with_spare_can_be_said_with_that_much_around_it(short: int, spare: int) -> None:
    """The runner checks an answer so that the host, which gets it with words around it, finds it good too."""
    answer: list[object] = [0] * (MAX_NODES - 1 - short)
    text = dumps(answer)
    try:
        loads(text, spare=spare)
    except Malformed:
        assert short < spare
        return
    assert short >= spare
    assert loads(dumps([answer, *range(spare - 1)] if spare else answer)) is not None


def test_a_text_of_very_many_values_is_refused_before_they_are_made() -> None:
    """Thirty bytes of memory and more go with each byte of empty lists; their signs are counted first."""
    content = b"[" + b"[]," * 2_000_000 + b"[]]"
    tracemalloc.start()
    try:
        assert not read(content)[0]
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak_bytes < 2 * len(content)


def test_quotes_that_are_never_closed_cost_no_more_than_others() -> None:
    """A search that began anew at each of them would take minutes."""
    started_s = time.process_time()

    assert not read(b'"' + b'\\"' * 300_000 + b"," * 100_001)[0]

    assert time.process_time() - started_s < 1
