"""What counts as JSON, and how bytes cross the channel."""

from __future__ import annotations

import hashlib
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as some

from isolation import contract
from isolation.contract import (
    MAX_DEPTH,
    MAX_INTEGER,
    MAX_KEY_BYTES,
    MAX_NODES,
    MAX_STRING_BYTES,
    Malformed,
    Tally,
    check_artifact_name,
    check_json,
    dumps,
    frame,
    loads,
)

TEXT = some.text(some.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
JSON = some.recursive(
    some.none()
    | some.booleans()
    | some.integers(-MAX_INTEGER, MAX_INTEGER)
    | some.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: some.lists(inner, max_size=5) | some.dictionaries(TEXT, inner, max_size=5),
    max_leaves=20,
)
ALMOST_JSON = some.lists(some.sampled_from([*'{}[],:"-.eE019\\', "NaN", "null", "true", "\\u", "d800", " "])).map(
    "".join
)

REFUSED = {
    b"\xff": "not UTF-8 at byte 0",
    b"\xef\xbb\xbf1": "not JSON: Unexpected UTF-8 BOM (decode using utf-8-sig): line 1 column 1 (char 0)",
    '{"a":1}'.encode("utf-16"): "not UTF-8 at byte 0",
    b'{"status":"ok","status":"fail"}': "the key 'status' stands twice in one object",
    b'{"a":NaN}': "NaN is not JSON",
    b"[Infinity]": "Infinity is not JSON",
    b"[-Infinity]": "-Infinity is not JSON",
    b"[1e999]": "the number 1e999 is too large",
    b"[9007199254740993]": "an integer at $[0] is beyond 2**53; say it as a string",
    b"[-9007199254740993]": "an integer at $[0] is beyond 2**53; say it as a string",
    b"1" * 4301: "the integer 11111111111111111111… is beyond 2**53; say it as a string",
    b'"\\ud800"': "a string at $ holds a lone surrogate",
    b'{"\\udfff":1}': "a string at $ holds a lone surrogate",
    b'{"a":["\\u0000"]}': "a string at $.a[0] holds NUL",
    b'{"\\u0000":1}': "a string at $ holds NUL",
    b"{} {}": "not JSON: Extra data: line 1 column 4 (char 3)",
    b"": "not JSON: Expecting value: line 1 column 1 (char 0)",
    b"[" * 100_000: f"nested more than {MAX_DEPTH} deep",
    b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1): f"nested more than {MAX_DEPTH} deep",
    b"[" + b"0," * MAX_NODES + b"0]": f"more than {MAX_NODES} values",
    b'"' + b"x" * (MAX_STRING_BYTES + 1) + b'"': f"a string at $ has more than {MAX_STRING_BYTES} bytes",
    b'{"' + b"x" * (MAX_KEY_BYTES + 1) + b'":1}': f"a key at $ has more than {MAX_KEY_BYTES} bytes",
}


@pytest.mark.parametrize("content", REFUSED, ids=range(len(REFUSED)))
def test_what_other_readers_take_differently_is_refused_with_a_sentence(content: bytes) -> None:
    """Each of these means something else to some reader, or costs more than it may (SECURITY 4.2)."""
    with pytest.raises(Malformed) as caught:
        loads(content)

    assert str(caught.value) == REFUSED[content]


@pytest.mark.parametrize("value", [b"x", {1: 2}, {"a"}, object, float("nan"), 2**53 + 1, "\ud800"], ids=repr)
def test_what_json_cannot_say_is_refused_before_it_is_said(value: object) -> None:
    """The step that made it learns of it, not the host."""
    with pytest.raises(Malformed):
        dumps(value)


def test_a_value_that_holds_itself_is_refused() -> None:
    """It would be looked at for ever."""
    endless: list[object] = []
    endless.append(endless)

    with pytest.raises(Malformed, match="deep"):
        check_json(endless)


def test_the_bounds_themselves_are_allowed() -> None:
    """A bound that refuses its own value is off by one."""
    deepest: object = 1
    for _ in range(MAX_DEPTH - 1):
        deepest = [deepest]
    for value in (deepest, [0] * (MAX_NODES - 1), "x" * MAX_STRING_BYTES, {"k" * MAX_KEY_BYTES: -MAX_INTEGER}):
        assert loads(dumps(value)) == value


def test_a_short_text_of_very_many_values_costs_little() -> None:
    """A megabyte of zeros is half a million values: they are counted before anything is made for each."""
    started_s = time.process_time()
    with pytest.raises(Malformed, match="more than"):
        loads(b"[" + b"0," * 500_000 + b"0]")

    assert time.process_time() - started_s < 1


def test_spare_values_are_kept_for_what_goes_around() -> None:
    """A step's answer is said again inside the runner's report, which the host holds to the same bounds."""
    with pytest.raises(Malformed):
        loads(dumps([0] * (MAX_NODES - 1)), spare=1)


@given(some.binary(max_size=200) | ALMOST_JSON.map(str.encode))
def test_reading_bytes_gives_a_value_or_says_that_they_are_malformed(content: bytes) -> None:
    """No byte of a recipe's may raise anything else in the host."""
    try:
        value = loads(content)
    except Malformed:
        return
    assert loads(dumps(value)) == value


@given(ALMOST_JSON | some.text(max_size=50))
def test_reading_text_gives_a_value_or_says_that_it_is_malformed(text: str) -> None:
    """Text may hold lone surrogates, which bytes cannot."""
    try:
        loads(text)
    except Malformed:
        return


@given(JSON)
def test_what_is_said_is_read_as_the_same(value: object) -> None:
    """True stays true and 1.0 a float: compared as text, where Python's == would not see it."""
    read = loads(dumps(value))

    assert json.dumps(read) == json.dumps(value)


def test_a_frame_is_its_kind_its_length_and_its_payload() -> None:
    """The layout is a promise to images that were built earlier."""
    assert frame(contract.LOG, b"abc") == b"\x03\x00\x00\x00\x03abc"
    assert frame(contract.BYE, b"") == b"\x11\x00\x00\x00\x00"


@given(some.lists(some.lists(some.binary(max_size=20), min_size=1), max_size=10))
def test_a_tally_is_the_same_however_a_frame_is_cut_in_pieces(frames: list[list[bytes]]) -> None:
    """The runner adds pieces, the host whole frames; both must come to the same end."""
    pieces, whole = Tally(), Tally()
    for cut in frames:
        pieces.add(*cut)
        whole.add(b"".join(cut))

    content = b"".join(b"".join(cut) for cut in frames)
    nonce = bytes(range(32))
    digest = hashlib.blake2b(content, digest_size=32).digest()
    expected = contract.END_BODY.pack(nonce, len(frames), len(content), digest)
    assert pieces.end(nonce) == whole.end(bytearray(nonce)) == expected


def test_every_kind_of_frame_has_a_number_of_its_own() -> None:
    """Two kinds of one number could not be told apart."""
    assert len({contract.PLAN, contract.BYE, contract.ANSWER, *range(contract.HELLO, contract.END + 1)}) == 12


@pytest.mark.parametrize(
    "name",
    ["../up", "/etc/passwd", "a/../b", "a//b", "", "a/", ".hidden", "a/.b", "a\nb", "a\0b", "a\x1bb", "é", "\u202ea",
     "a\\b", "x" * 101, "/".join("abcdefghi"), "a:b", "$x", "a\n", "-rf", "a/--x", " a"],
)  # fmt: skip
def test_an_artifact_is_never_named_what_could_lead_elsewhere(name: str) -> None:
    """It becomes a path in some person's folder."""
    with pytest.raises(Malformed):
        check_artifact_name(name)


@pytest.mark.parametrize(
    "name", ["report.txt", "plots/by year (2).png", "a-b_c=d+e@f,g", "/".join("abcdefgh"), "x" * 100]
)
def test_plain_names_of_artifacts_are_fine(name: str) -> None:
    """What people call their files."""
    check_artifact_name(name)
