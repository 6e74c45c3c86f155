"""Rows 116 to 119: what others would make of what a run says: programs, commands, other kinds of values, too many."""

from __future__ import annotations

import base64
import marshal
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from isolation.cli.artifacts import ArtifactFolder
from isolation.model.outcome import Outcome
from tests.hostile.answers import ANSWER, SAY, answer, nothing_merged, saying
from tests.hostile.kit import outputs_of

if TYPE_CHECKING:
    from pydantic import JsonValue

    from tests.hostile.conftest import Attack
    from tests.hostile.kit import Arena

pytestmark = pytest.mark.engine


class Trap:
    """Leaves a file where it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        """Say how to be unpickled."""
        return Path.touch, (Path(self.path),)  # type: ignore[return-value]


def payloads(path: str) -> dict[str, bytes]:
    pickled = pickle.dumps(Trap(path))
    array = b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n"
    return {
        "pickle": pickled,
        "numpy": array + pickled,
        "marshal": marshal.dumps(compile(f"open({path!r}, 'w')", "x", "exec")),
        "yaml": f"!!python/object/apply:os.system ['touch {path}']".encode(),
        "python": f"__import__('pathlib').Path({path!r}).touch()".encode(),
    }


@pytest.mark.parametrize("kind", payloads(""))
def test_row_116_what_would_run_when_it_is_loaded_is_a_bad_answer(attack: Attack, arena: Arena, kind: str) -> None:
    """The host loads nothing but JSON; and as a text in JSON, it is a text."""
    path = arena.host.folder / "loaded"
    content = payloads(str(path))[kind]

    bad = attack(SAY, args=saying(content))
    text = attack(
        SAY, args=saying(answer(set={"said": base64.b64encode(content).decode()}, outputs={"x": repr(content)}))
    )

    assert (bad.outcome, bad.cause) == (Outcome.BAD_ANSWER, "step:s0:bad_answer")
    assert nothing_merged(bad, arena)
    assert text.changes.set == {"said": base64.b64encode(content).decode()}
    assert not path.exists()


def test_row_116_an_object_that_is_no_data_is_refused_where_it_is_returned(attack: Attack) -> None:
    """It is never turned into something else, by its own rules, on the way to the host."""
    result = attack(
        """
        class Own(dict):
            def __reduce__(self):
                raise SystemExit(0)
        class Text(str):
            def encode(self, *_):
                return b"another"
        def run(context, params):
            context.set("text", Text("own"))
            return {"object": object()}
        """
    )

    assert (result.outcome, result.cause) == (Outcome.BAD_ANSWER, "step:s0:bad_outputs")
    assert result.merge.status == "none"


INJECTIONS = (
    "=cmd|' /C calc'!A0",
    "+1+1",
    "@SUM(1)",
    "'; DROP TABLE runs; --",
    '" OR 1=1 --',
    "<script>alert(1)</script>",
    "{{7*7}}${7*7}<%= 7*7 %>#{7*7}",
    "../../etc/passwd",
    "$(touch x)`touch x`;touch x|touch x&touch x",
    "%s%n%x",
    "-rf",
    "--output=x",
    "[bold red]x[/]",
    "CON",
    "a\\..\\..\\b",
)


def test_row_117_a_text_is_only_ever_a_text(attack: Attack, arena: Arena) -> None:
    """As a key, a value, a writer and an output: the database, the views and the shell get it as it is."""
    keys = [text for text in INJECTIONS if text == text.strip()]
    result = attack(
        """
        def run(context, params):
            for text in params["texts"]:
                context.set(text, {text: [text]}, who=text)
            return {text: text for text in params["texts"]}
        """,
        args={"texts": keys},
    )

    contexts = arena.controller.stores.contexts
    assert outputs_of(result) == {text: text for text in keys}
    for text in keys:
        entry = contexts.get(text)
        assert entry is not None
        assert (entry.value, entry.who) == ({text: [text]}, f"s0 as {text}")
    assert arena.controller.stores.ledger.summary(result.run_id).state == "finished"


def test_row_117_no_file_of_a_run_is_named_as_an_option_or_a_command(
    attack: Attack, arena: Arena, tmp_path: Path
) -> None:
    """Somebody will write `rm *` in the folder where they are."""
    result = attack(
        """
        import os
        def run(context, params):
            os.makedirs("/scratch/artifacts")
            for text in params["texts"]:
                try:
                    open("/scratch/artifacts/" + text, "w").close()
                except OSError:
                    pass
            open("/scratch/artifacts/plain", "w").close()
        """,
        args={"texts": INJECTIONS},
    )
    folder = ArtifactFolder.prepare(tmp_path / "out")
    assert folder.copy(result.artifacts, arena.controller.stores.blobs) is None

    names = {path.name for path in (tmp_path / "out").rglob("*")}
    assert "plain" in names
    assert not [name for name in names if name.startswith(("-", ".", "~")) or not name.isprintable()]
    assert names <= {"plain", "+1+1", "@SUM(1)", "CON"}


TYPES: list[tuple[JsonValue, JsonValue]] = [
    (1, True),
    (1, 1.0),
    (0, False),
    ("1", 1),
    (None, ""),
    ([], {}),
    ([1], [True]),
]


@pytest.mark.parametrize(("before", "after"), TYPES, ids=repr)
def test_row_118_values_that_python_calls_equal_are_different_values(
    attack: Attack, arena: Arena, before: JsonValue, after: JsonValue
) -> None:
    """A run that turns 1 into true has changed it, and what is kept is true."""
    contexts = arena.controller.stores.contexts
    contexts.set("kind", before, "somebody", "2025-01-02T03:04:05.678Z")
    result = attack("def run(context, params):\n    context.set('kind', params['after'])", args={"after": after})

    entry = contexts.get("kind")
    assert result.merge.status == "merged"
    assert entry is not None
    assert (entry.run_id, repr(entry.value)) == (result.run_id, repr(after))


FALSE_KINDS = [{"step": False}, {"step": 0.0}, {"tries": "1"}, {"tries": True}, {"set": []}, {"cause": None}]
FALSE_READS = [{"reads": {"a": 1}}, {"reads": ["\x1b"]}, {"reads": ["a"] * 1001}, {"read_all": 1}, {"dropped": [" "]}]
FALSE_TIMES = [{"wall_s": "1"}, {"import_s": -1}]


@pytest.mark.parametrize(
    "kind",
    [*FALSE_KINDS, *FALSE_READS, {"writers": {"a": 1}}, *FALSE_TIMES],
    ids=lambda kind: str(kind)[:40],
)
def test_row_118_no_field_of_a_frame_takes_another_kind_of_value(
    treason: Attack, arena: Arena, kind: dict[str, object]
) -> None:
    """True is no number, a text is none, and nothing is turned into what was meant."""
    result = treason(
        """
        import json
        def run(channel, plan):
            channel.send_json(channel.contract.STEP_STARTED, {"step": 0, "try": 1})
            ended = {"step": 0, "outcome": "succeeded", "tries": 1, "cause": "", "set": {"said": 1}}
            channel.send(channel.contract.STEP_ENDED, json.dumps(ended | plan["steps"][0]["args"]).encode())
            channel.end()
            channel.wait_for_bye()
        """,
        args=kind,
    )

    assert (result.outcome, result.cause) == (Outcome.BAD_ANSWER, "channel")
    assert nothing_merged(result, arena)


EXPLOSIONS = {
    "a million keys": '{f"k{n}": 1 for n in range(1_000_000)}',
    "two hundred thousand keys": '{f"{n}": 1 for n in range(200_000)}',
    "a key of a megabyte": '{"k" * 1_000_000: 1}',
    "a key of 257 bytes": '{"k" * 257: 1}',
    "a text of a megabyte": '{"k": "x" * 1_000_000}',
    "a value of two megabytes": '{"k": ["x" * 60_000] * 34}',
}


@pytest.mark.parametrize("what", EXPLOSIONS)
def test_row_119_too_many_keys_or_too_large_ones_are_refused(attack: Attack, arena: Arena, what: str) -> None:
    """By the library where the step asks, by the runner where it does not, before anybody else has to hold them."""
    said = "import json\ndef run(context, params):\n    return " + EXPLOSIONS[what]
    by_api = attack(said, limits={"memory": "512MiB"})
    raw = f"""
import json, os, struct
def run(context, params):
    content = json.dumps({{"set": {EXPLOSIONS[what]}, **params}}).encode()
    left = memoryview(struct.pack(">BI", 32, len(content)) + content)
    try:
        while left:
            left = left[os.write(3, left):]
    finally:
        os._exit(0)
"""
    by_hand = attack(
        raw, args={name: value for name, value in ANSWER.items() if name != "set"}, limits={"memory": "512MiB"}
    )

    assert by_api.outcome in {Outcome.BAD_ANSWER, Outcome.OUTPUT_LIMIT}
    assert by_hand.outcome in {Outcome.BAD_ANSWER, Outcome.OUTPUT_LIMIT, Outcome.FAILED}
    assert nothing_merged(by_api, arena)
    assert nothing_merged(by_hand, arena)
