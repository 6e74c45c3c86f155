"""
Rows 101 to 111: what a run says, as bytes.

Each is said in two places: by a step to the runner, where our own runner has to refuse it, and by a runner that was
taken over to the host, which has nobody before it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal, Protocol

import pytest

from isolation.model.outcome import Outcome

if TYPE_CHECKING:
    from pydantic import JsonValue

    from isolation.model.run import Result
    from tests.hostile.conftest import Attack
    from tests.hostile.kit import Arena

pytestmark = pytest.mark.engine
Place = Literal["a step", "the runner"]
PLACES: tuple[Place, ...] = ("a step", "the runner")

STEP = """
import os, struct
def run(context, params):
    content = eval(params["content"])
    whole = struct.pack(">BI", 32, params["length"] or len(content)) + content
    try:
        for _ in range(params["times"]):
            left = memoryview(whole)
            while left:
                left = left[os.write(3, left):]
            whole = content
    finally:
        os._exit(0)
"""
RUNNER = """
import struct
def run(channel, plan):
    params = plan["steps"][0]["args"]
    content = eval(params["content"])
    channel.send_json(channel.contract.STEP_STARTED, {"step": 0, "try": 1})
    if params["length"]:
        whole = struct.pack(">BI", channel.contract.STEP_ENDED, params["length"]) + content
        for _ in range(params["times"]):
            channel._write(whole)
            whole = content
    else:
        channel.send(channel.contract.STEP_ENDED, content)
    channel.end()
    channel.wait_for_bye()
"""
AROUND = {
    "a step": (
        '{"set":',
        ',"deleted":[],"writers":{},"reads":[],"read_all":false,"import_s":null,"outputs":null,"problem":null}',
    ),
    "the runner": ('{"step":0,"outcome":"succeeded","tries":1,"cause":"","set":', "}"),
}


class Say(Protocol):
    """What the fixture ``say`` gives."""

    def __call__(self, place: Place, changes: str, *, after: str = ..., length: int = ..., times: int = ...) -> Result:
        """Have a run say ``changes``, an expression for bytes that is evaluated inside, as its changes."""


@pytest.fixture
def say(attack: Attack, treason: Attack) -> Say:
    def say(place: Place, changes: str, *, after: str = "b''", length: int = 0, times: int = 1) -> Result:
        before, behind = AROUND[place]
        content = f"{before.encode()!r} + {changes} + {behind.encode()!r} + {after}"
        args = {"content": content, "length": length, "times": times}
        if place == "a step":
            return attack(STEP, args=args, limits={"memory": "128MiB"})
        return treason(RUNNER, args=args, limits={"memory": "128MiB"})

    return say


BAD = {"a step": "step:s0:bad_answer", "the runner": "channel"}


def check_refused(result: Result, place: Place, arena: Arena) -> None:
    """It is a bad answer, nobody died of it, and nothing of it is in the context."""
    assert (result.outcome, result.cause) == (Outcome.BAD_ANSWER, BAD[place])
    check_nothing_merged(result, arena)


def check_nothing_merged(result: Result, arena: Arena) -> None:
    assert result.merge.status == "none"
    assert not [entry for entry in arena.controller.stores.contexts.history() if entry.run_id == result.run_id]


def check_merged(result: Result, arena: Arena, expected: dict[str, JsonValue]) -> None:
    """It is as good as any other, and kept exactly as it was said."""
    assert result.outcome is Outcome.SUCCEEDED, result.errors
    contexts = arena.controller.stores.contexts
    kept = {key: entry.value for key in expected if (entry := contexts.get(key)) is not None}
    assert repr(kept) == repr(expected)


@pytest.mark.parametrize("place", PLACES)
def test_row_101_a_gigabyte_is_refused_by_its_length_alone(say: Say, arena: Arena, place: Place) -> None:
    """Nothing of it is kept to be looked at, on either side."""
    result = say(place, "bytes(2**20)", length=2**30, times=1024)

    if place == "a step":
        assert (result.outcome, result.cause) == (Outcome.OUTPUT_LIMIT, "step:s0:answer_too_large")
    else:
        assert (result.outcome, result.cause) == (Outcome.BAD_ANSWER, "channel")
    check_nothing_merged(result, arena)


def test_row_101_a_length_that_is_claimed_and_never_comes_is_not_waited_for(attack: Attack, arena: Arena) -> None:
    """The step is over when its process is."""
    result = attack(
        "import os\ndef run(context, params):\n    os.write(3, b'\\x20\\xff\\xff\\xff\\xffx')\n    os._exit(0)"
    )

    assert (result.outcome, result.cause) == (Outcome.OUTPUT_LIMIT, "step:s0:answer_too_large")
    check_nothing_merged(result, arena)


def refused(*contents: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("content", contents)


@pytest.mark.parametrize("place", PLACES)
@refused("b'['*100_000 + b']'*100_000", "b'{\"a\":'*50 + b'1' + b'}'*50", "b'['*400_000", "b'{\"a\":'*100_000")
def test_row_102_deep_nesting_is_a_bad_answer(say: Say, arena: Arena, place: Place, content: str) -> None:
    """Python's own reader runs out of stack somewhere above a thousand levels."""
    check_refused(say(place, f"b'{{\"x\":' + {content} + b'}}'"), place, arena)


@pytest.mark.parametrize("place", PLACES)
@refused("NaN", "Infinity", "-Infinity", "1e999", "-1E400", "[1,[NaN]]")
def test_row_103_what_is_no_number_is_a_bad_answer(say: Say, arena: Arena, place: Place, content: str) -> None:
    """Python reads all of them, and nobody else does."""
    check_refused(say(place, repr(f'{{"x":{content}}}'.encode())), place, arena)


@pytest.mark.parametrize("place", PLACES)
@refused('{"x":1,"x":2}', '{"x":{"status":"ok","status":"fail"}}', '{"x":1,"\\u0078":2}', '{},"set":{"x":1}')
def test_row_104_two_values_of_one_key_are_a_bad_answer(say: Say, arena: Arena, place: Place, content: str) -> None:
    """One reader takes the first, another the last: a judge and a database must not differ."""
    check_refused(say(place, repr(content.encode())), place, arena)


@pytest.mark.parametrize("place", PLACES)
@refused("1" * 4301, str(2**53 + 1), str(-(2**53) - 1), "1" * 400_000)
def test_row_105_integers_that_others_cannot_hold_are_a_bad_answer(
    say: Say, arena: Arena, place: Place, content: str
) -> None:
    """Beyond 2**53 the same digits are another number elsewhere."""
    expression = f"b'1'*{len(content)}" if len(content) > 100 else repr(content.encode())
    check_refused(say(place, f"b'{{\"x\":' + {expression} + b'}}'"), place, arena)


@pytest.mark.parametrize("place", PLACES)
def test_row_105_the_largest_and_the_smallest_are_kept_exactly(say: Say, arena: Arena, place: Place) -> None:
    """To the last bit, and each as the kind of number that it was."""
    text = '{"n.most":9007199254740992,"n.least":-9007199254740992,"n.tiny":5e-324,"n.zero":-0.0,"n.one":1.0}'
    expected: dict[str, JsonValue] = {
        "n.most": 2**53,
        "n.least": -(2**53),
        "n.tiny": 5e-324,
        "n.zero": -0.0,
        "n.one": 1.0,
    }

    check_merged(say(place, repr(text.encode())), arena, expected)


@pytest.mark.parametrize("place", PLACES)
@refused(
    '{"x":"\\u0000"}', '{"x":{"\\u0000":1}}', '{"a\\u0001b":1}', '{"x":"\\ud800"}', '{"x":"\\udc00\\ud800"}', '{" x":1}'
)
def test_row_107_nul_half_characters_and_keys_that_do_not_print_are_refused(
    say: Say, arena: Arena, place: Place, content: str
) -> None:
    """A text ends at NUL for whoever is written in C; a key is shown in every list."""
    result = say(place, repr(content.encode()))

    assert result.outcome in {Outcome.BAD_ANSWER, Outcome.FAILED}
    check_nothing_merged(result, arena)


@pytest.mark.parametrize("place", PLACES)
def test_row_107_every_other_character_comes_back_as_it_was(say: Say, arena: Arena, place: Place) -> None:
    """Control characters, overrides of direction, noncharacters: the database keeps what it is given."""
    text = "".join(map(chr, [*range(1, 0xA1), 0x2028, 0x202E, 0xFEFF, 0xFFFE, 0x1F600, 0xE0041, 0x10FFFF]))
    inside = "repr(''.join(map(chr, [*range(1, 0xA1), 0x2028, 0x202E, 0xFEFF, 0xFFFE, 0x1F600, 0xE0041, 0x10FFFF])))"
    said = inside.replace("repr(", "__import__('json').dumps(", 1)

    check_merged(say(place, f"b'{{\"c\":' + {said}.encode() + b'}}'"), arena, {"c": text})


@pytest.mark.parametrize("place", PLACES)
@refused("b'\\xef\\xbb\\xbf{}'", 'b\'{"x":"\\xff"}\'', 'b\'{"x":"\\xc0\\x80"}\'', 'b\'{"x":"\\xed\\xa0\\x80"}\'')
def test_row_108_what_is_not_strict_utf_8_is_a_bad_answer(say: Say, arena: Arena, place: Place, content: str) -> None:
    """Python guesses the encoding of bytes, by their zeros."""
    check_refused(say(place, content), place, arena)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-8-sig"])
def test_row_108_a_whole_answer_in_another_encoding_is_a_bad_answer(
    attack: Attack, arena: Arena, encoding: str
) -> None:
    """Also where every byte of it is of that encoding."""
    before, behind = AROUND["a step"]
    content = f"({before!r} + '{{}}' + {behind!r}).encode({encoding!r})"

    result = attack(STEP, args={"content": content, "length": 0, "times": 1})

    check_refused(result, "a step", arena)


@pytest.mark.parametrize("place", PLACES)
def test_row_109_keys_that_mean_something_elsewhere_are_keys(say: Say, arena: Arena, place: Place) -> None:
    """To a browser, a database or a template; here they are data, and are given back as such."""
    expected: dict[str, JsonValue] = {
        "__proto__": {"admin": True},
        "constructor": {"prototype": {"a": 1}},
        "$where": "1",
        "$ref": "#/",
        "__class__": [{"$gt": ""}],
    }

    check_merged(say(place, repr(json.dumps(expected).encode())), arena, expected)


@pytest.mark.parametrize("place", PLACES)
@refused("b'{}'", "b' {}'", "b'x'", "b'\\n[]'", "b'\\0'", "b','")
def test_row_110_more_than_one_document_is_a_bad_answer(say: Say, arena: Arena, place: Place, content: str) -> None:
    """The first might be ours to believe, and what follows somebody else's."""
    check_refused(say(place, "b'{}'", after=content), place, arena)


@pytest.mark.parametrize("place", PLACES)
@refused("b'[' + b'[],'*300_000 + b'[]]'", "b'[' + b'{},'*300_000 + b'{}]'", "b'[' + b'0,'*450_000 + b'0]'")
def test_row_111_a_short_text_of_very_many_values_is_a_bad_answer(
    say: Say, arena: Arena, place: Place, content: str
) -> None:
    """Thirty times its size in memory, if they are made: in here that is the cell's, on the host it is everybody's."""
    check_refused(say(place, f"b'{{\"x\":' + {content} + b'}}'"), place, arena)
