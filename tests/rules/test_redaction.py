"""Secrets are taken out, in every form and however the bytes are cut, and nothing else is touched."""

from __future__ import annotations

import base64
import html
import json
import re
import time
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as some

from isolation.errors import SecretError
from isolation.model.secret import Secret
from isolation.rules.forms import forms
from isolation.rules.needles import Stream
from isolation.rules.redaction import NOTHING, Redaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import JsonValue

VALUE = 'c4n4ry "tök€n"/+?\\ of\ttests'
HEAD_BYTES = 64

# Few letters, so that secrets overlap with themselves, each other, their neighbours and the marks.
LETTERS = 'aab[]" \n%é'
VALUES = some.text(LETTERS, min_size=6, max_size=9) | some.text("ab\n", min_size=60, max_size=140)


def hiding(*values: str) -> Redaction:
    return Redaction([Secret(f"S{number}", value) for number, value in enumerate(values)])


def streamed(redaction: Redaction, pieces: list[bytes], *, cut: bool = False) -> bytes:
    stream = redaction.stream()
    return b"".join(stream.feed(piece) for piece in pieces) + stream.end(cut=cut)


@some.composite
def texts(draw: some.DrawFn, *, whole_ones: bool = True) -> tuple[Redaction, list[bytes], list[bytes]]:
    """
    Draw secrets, a text that is made of them, their parts and other things, and one way to cut it into pieces.

    Without whole ones, all parts lack their first byte or their last; together they may still make a secret.
    """
    values = draw(some.lists(VALUES, min_size=1, max_size=3))
    found = sorted({form for value in values for form in forms(value)})
    assume(found)
    lacking = [part for form in found for part in (form[: min(HEAD_BYTES, len(form)) - 1], form[1:])]
    part = some.sampled_from(found if whole_ones else lacking)
    whole = b"".join(
        draw(
            some.lists(
                part
                | some.tuples(part, some.integers(0, 140)).map(lambda both: both[0][: both[1]])
                | some.tuples(part, some.integers(0, 140)).map(lambda both: both[0][both[1] :])
                | some.text(LETTERS, max_size=5).map(str.encode),
                max_size=8,
            )
        )
    )
    cuts = sorted(draw(some.sets(some.integers(0, len(whole)), max_size=12)))
    pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    try:
        return hiding(*values), pieces, [form[:HEAD_BYTES] for form in found]
    except SecretError:  # one that cannot be told from its own mark is refused
        assume(False)  # noqa: FBT003 - as hypothesis has it
        raise


@given(texts())
def test_no_secret_is_left_however_the_bytes_are_cut(drawn: tuple[Redaction, list[bytes], list[bytes]]) -> None:
    """Not in what is said, and not where what is said meets a mark; a long form counts by its first 64 bytes."""
    redaction, pieces, heads = drawn
    shown = streamed(redaction, pieces)

    assert [head for head in heads if head in shown] == []
    assert shown == streamed(redaction, [b"".join(pieces)]), "the same, however it was cut"


@given(texts(whole_ones=False))
def test_what_holds_no_secret_is_not_touched(drawn: tuple[Redaction, list[bytes], list[bytes]]) -> None:
    """Byte for byte: a log is evidence."""
    redaction, pieces, heads = drawn
    whole = b"".join(pieces)
    assume(not any(head in whole for head in heads))

    assert streamed(redaction, pieces) == whole


@given(texts())
def test_nothing_is_held_back_for_long(drawn: tuple[Redaction, list[bytes], list[bytes]]) -> None:
    """Who watches a run wants to see its lines; and memory is bounded."""
    redaction, pieces, _ = drawn
    stream = redaction.stream()
    assert isinstance(stream, Stream)

    for piece in pieces:
        stream.feed(piece)
        assert len(stream._held) < HEAD_BYTES


@given(some.text(max_size=200))
def test_where_there_are_no_secrets_nothing_changes(text: str) -> None:
    """Not even looked at."""
    assert NOTHING.text(text) is text
    assert streamed(NOTHING, [text.encode("utf-8", "surrogatepass")]) == text.encode("utf-8", "surrogatepass")
    assert (NOTHING.find(text), bool(NOTHING)) == ("", False)


ENCODINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "hex": lambda text: text.encode().hex(),
    "capital hex": lambda text: text.encode().hex().upper(),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "base64, one byte in": lambda text: base64.b64encode(b"?" + text.encode() + b"??").decode(),
    "base64, two bytes in": lambda text: base64.b64encode(b"??" + text.encode() + b"?").decode(),
    "basic authentication": lambda text: base64.b64encode(f"user:{text}".encode()).decode(),
    "a URL": quote,
    "a URL's part": lambda text: quote(text, safe=""),
    "a form": quote_plus,
    "a form with small digits": lambda text: re.sub("%..", lambda found: found[0].lower(), quote_plus(text)),
    "JSON": json.dumps,
    "JSON with all letters": lambda text: json.dumps({"a": [text]}, ensure_ascii=False),
    "repr": repr,
    "repr of bytes": lambda text: repr(text.encode()),
    "HTML": html.escape,
}


@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS)
def test_a_secret_is_found_in_its_usual_encodings(encode: Callable[[str], str]) -> None:
    """What a log, a URL, a header or a traceback makes of it by accident."""
    redaction = hiding(VALUE)

    assert redaction.find(f"before {encode(VALUE)} after") == "S0"
    assert "[secret S0]" in redaction.text(f"before {encode(VALUE)} after")


def test_base64_in_lines_is_found() -> None:
    """As the program `base64` and Python's encodebytes write it."""
    redaction = hiding("".join(f"{number:04}" for number in range(100)))
    content = "".join(f"{number:04}" for number in range(100)).encode()
    shown = redaction.text(base64.encodebytes(content).decode())

    assert set(shown.split("\n")) == {"[secret S0]", ""}


def test_each_line_of_a_secret_is_one() -> None:
    """A key in a file is read line by line, and its lines are printed with something before them."""
    redaction = hiding("-----BEGIN KEY-----\n  MIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\nshort\n-----END KEY-----\n")

    assert redaction.text("1: MIIEvQIBADANBgkq\n2: hkiG9w0BAQEFAASC\n3: short") == (
        "1: [secret S0]\n2: [secret S0]\n3: short"
    )
    assert redaction.text("  MIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\nshort\n-----END KEY-----") == (
        "  [secret S0]\n[secret S0]\nshort\n[secret S0]"
    )


def test_a_value_is_redacted_at_any_depth() -> None:
    """Texts, keys and digits; of two keys that only a secret told apart, both values stay."""
    redaction = hiding("hunter22", "31415926")
    value: JsonValue = {
        "a": ["hunter22", {"x-hunter22": None}, True, 31415926, 3.1415926, 7],
        "hunter22": 1,
        "aHVudGVyMjI=": 2,
    }

    assert redaction.value(value) == {
        "a": ["[secret S0]", {"x-[secret S0]": None}, True, "[secret S1]", 3.1415926, 7],
        "[secret S0]": 1,
        "[secret S0] (2)": 2,
    }
    assert redaction.find(value) == "S0"
    assert redaction.find(["", {"a": 131415926}]) == "S1"
    assert redaction.find([True, None, 7, "hunter2"]) == ""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("x" * 93 + "correct", "x" * 93 + "[secret S0]"),
        ("staple" + "x" * 94, "[secret S0]" + "x" * 94),
        ("x" * 95 + "corre", "x" * 95 + "corre"),
        ("taple" + "x" * 95, "taple" + "x" * 95),
        ("x" * 92 + "correct", "x" * 92 + "correct"),
    ],
)
def test_a_text_that_was_cut_shows_no_part_of_a_secret(text: str, shown: str) -> None:
    """At either end, from six bytes on; a text that was not cut is left alone."""
    assert hiding("correct horse battery staple").text(text, 100) == shown


def test_a_stream_that_was_cut_shows_no_part_of_a_secret() -> None:
    """The container was stopped in the middle of it."""
    assert streamed(hiding("hunter2222"), [b"it is hunter2"], cut=True) == b"it is [secret S0]"
    assert streamed(hiding("hunter2222"), [b"it is hunt"], cut=True) == b"it is hunt"
    assert streamed(hiding("hunter2222", "hunter2"), [b"it is hunter2"], cut=False) == b"it is [secret S1]"


def test_the_longest_secret_at_a_place_is_the_one_that_shows() -> None:
    """Else the rest of the longer one would stand there."""
    redaction = hiding("hunter", "hunter22", "hunter22-and-more")

    assert redaction.text("hunter, hunter22, hunter22-and-more") == "[secret S0], [secret S1], [secret S2]"


def test_a_long_secret_is_swallowed_as_far_as_it_goes() -> None:
    """Also when it goes wrong near its end: 64 bytes of it were enough."""
    value = "".join(f"{number:03}." for number in range(500))
    redaction = hiding(value)

    assert redaction.text(f"<{value}>") == "<[secret S0]>"
    assert redaction.text(f"<{value[:-1]}>") == "<[secret S0]>"
    assert redaction.text(f"<{value[:64]}>{value[64:128]}") == f"<[secret S0]>{value[64:128]}"


@pytest.mark.parametrize("value", ["secret", "cret S0", "secret "])
def test_a_secret_that_its_own_mark_would_show_is_refused(value: str) -> None:
    """Whatever stood in its place, it would be there."""
    with pytest.raises(SecretError) as caught:
        hiding(value)
    assert caught.value.sentence == "the secret 'S0' cannot be told from the mark that shows in its place"


def test_another_mark_stands_in_where_a_secret_would_go_on_with_it() -> None:
    """A secret that begins like a mark ends could be written after one."""
    assert hiding("hunter22", "]tricky").text("hunter22]tricky") == "<secret S0><secret S1>"


def test_nothing_of_a_secret_is_in_a_repr() -> None:
    """Reprs end up in tracebacks and logs."""
    secret = Secret("S0", "hunter22")
    redaction = Redaction([secret])
    needles = redaction._needles
    assert needles is not None

    shown = repr([secret, redaction, redaction.stream(), needles, needles.all[0]])
    assert repr(secret) == "Secret('S0')"
    assert redaction.find(shown) == ""
    with pytest.raises(TypeError, match="never written down"):
        secret.__reduce__()


def test_the_cost_follows_the_bytes_however_they_come() -> None:
    """A recipe that has a long secret could else keep the host busy: a byte at a time, wrong at the end, again."""
    value = "\n".join(f"{number:063}" for number in range(1000))
    redaction = hiding(value)
    stream = redaction.stream()
    almost = value.encode()[:-1]
    began_s = time.process_time()
    for start in range(len(almost)):
        stream.feed(almost[start : start + 1])

    assert time.process_time() - began_s < 5, "64 thousand bytes"
    assert stream.found == "S0"
