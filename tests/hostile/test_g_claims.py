"""Rows 112 to 119: what a run says of itself, when it says it, and what others would make of it."""

from __future__ import annotations

import base64
import json
import marshal
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from isolation.cli.artifacts import ArtifactFolder
from isolation.model.outcome import Outcome
from tests.hostile.kit import outputs_of

if TYPE_CHECKING:
    from pydantic import JsonValue

    from isolation.model.run import Result
    from tests.hostile.conftest import Attack
    from tests.hostile.kit import Arena

pytestmark = pytest.mark.engine

ANSWER: dict[str, Any] = {
    "set": {"said": 1},
    "deleted": [],
    "writers": {},
    "reads": [],
    "outputs": None,
    "problem": None,
}

SAY = """
import base64, os, signal, struct
def frame(content):
    return struct.pack(">BI", 32, len(content)) + content
def run(context, params):
    for piece in params["pieces"]:
        os.write(3, base64.b64decode(piece["content"]) if piece["raw"] else frame(base64.b64decode(piece["content"])))
    if params["signal"]:
        os.kill(os.getpid(), params["signal"])
    os._exit(params["code"])
"""


def saying(*pieces: bytes, raw: bool = False, signal: int = 0, code: int = 0) -> dict[str, Any]:
    """Write what a step is to say, frame by frame or as raw bytes, and how it is to end."""
    said = [{"content": base64.b64encode(piece).decode(), "raw": raw} for piece in pieces]
    return {"pieces": said, "signal": signal, "code": code}


def nothing_merged(result: Result, arena: Arena) -> bool:
    history = arena.controller.stores.contexts.history()
    return result.merge.status == "none" and not [one for one in history if one.run_id == result.run_id]


def answer(**more: object) -> bytes:
    return json.dumps(ANSWER | more).encode()


CLAIMS = [{"run_id": "20250102-030405-0a1b2c3d"}, {"exit_code": 0}, {"status": "success"}, {"outcome": "succeeded"}]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: next(iter(claim)))
def test_row_112_a_step_that_speaks_of_itself_gives_a_bad_answer(
    attack: Attack, arena: Arena, claim: dict[str, object]
) -> None:
    """Who it is, how it ended and what it used is seen from outside: an answer has no place for that."""
    result = attack(SAY, args=saying(answer(**claim)))

    assert (result.outcome, result.cause) == (Outcome.BAD_ANSWER, "step:s0:bad_answer")
    assert nothing_merged(result, arena)


@pytest.mark.parametrize("claim", [*CLAIMS, {"step": 1}, {"outcome": "cancelled"}, {"merge": "merged"}, {"usage": {}}])
def test_row_112_a_runner_that_speaks_of_the_run_is_not_believed(
    treason: Attack, arena: Arena, claim: dict[str, object]
) -> None:
    """Fields that it may not say, a step that is not there, an outcome that only the host can know."""
    result = treason(
        """
        import json
        def run(channel, plan):
            claim = plan["steps"][0]["args"]
            channel.send_json(channel.contract.STEP_STARTED, {"step": 0, "try": 1})
            ended = {"step": 0, "outcome": "succeeded", "tries": 1, "cause": "", "set": {"said": 1}} | claim
            channel.send(channel.contract.STEP_ENDED, json.dumps(ended).encode())
            channel.end()
            channel.wait_for_bye()
        """,
        args=claim,
    )

    if claim == {"outcome": "succeeded"}:  # what it may say: the step's, not the run's
        assert result.outcome is Outcome.SUCCEEDED
        return
    assert (result.outcome, result.cause) == (Outcome.BAD_ANSWER, "channel")
    assert nothing_merged(result, arena)


def test_row_112_what_a_recipe_says_under_our_names_is_its_data(attack: Attack) -> None:
    """It may call its outputs what it likes; ours stand beside them."""
    claimed = {"run_id": "other", "outcome": "failed", "exit_code": 99, "attempts": [], "usage": None}
    result = attack(
        """
        def run(context, params):
            context.set("outcome", "failed")
            print('{"run_id": "other", "outcome": "failed"}')
            return params
        """,
        args=claimed,
    )

    assert outputs_of(result) == claimed
    assert result.run_id != "other"
    assert result.attempts[0].exit_code == 0
    assert result.usage.wall_s is not None


def test_row_112_usage_is_the_hosts_word_against_the_runners(treason: Attack, arena: Arena) -> None:
    """Who pays by what was used does not ask the debtor. gVisor's counters are the host's as well."""
    result = treason(
        """
        def run(channel, plan):
            sum(range(3_000_000))
            channel.settle()
            reading = {"cpu_user_s": 0.0, "cpu_system_s": 0.0, "memory_peak_bytes": 1, "oom_kills": 0}
            channel.send_json(channel.contract.READING, reading)
            channel.end()
            channel.wait_for_bye()
        """
    )

    assert result.outcome is Outcome.SUCCEEDED
    assert result.usage.cpu_s is not None
    assert result.usage.cpu_s > 0.01
    assert result.usage.memory_peak_bytes is not None
    assert result.usage.memory_peak_bytes > 2**20
    assert result.engine.runtime == arena.runtime


def test_row_112_a_success_of_words_with_an_exit_code_of_1_is_none(treason: Attack, arena: Arena) -> None:
    """Both must say the same, and the engine's is the one that cannot be forged."""
    result = treason(
        """
        def run(channel, plan):
            channel.settle(set={"said": 1})
            channel.end()
            channel.wait_for_bye()
            return 1
        """
    )

    assert (result.outcome, result.cause) == (Outcome.NO_ANSWER, "exit_code:1")
    assert nothing_merged(result, arena)


@pytest.mark.parametrize("ending", [{"signal": 9}, {"signal": 11}, {"code": 0}, {"code": 3}], ids=str)
def test_row_114_half_an_answer_is_never_merged(attack: Attack, arena: Arena, ending: dict[str, int]) -> None:
    """However its step ends after the half: by a signal, with a code, or as if all were well."""
    content = answer()
    whole = b"\x20" + len(content).to_bytes(4, "big") + content

    result = attack(SAY, args=saying(whole[: len(whole) // 2], raw=True, **ending))

    assert (result.outcome, result.cause) == (Outcome.BAD_ANSWER, "step:s0:bad_answer")
    assert nothing_merged(result, arena)


@pytest.mark.parametrize("part", ["half a frame", "no end", "half an end"])
def test_row_114_a_runner_that_dies_in_the_middle_has_said_nothing(treason: Attack, arena: Arena, part: str) -> None:
    """What it had said before stands in the record, and nowhere else."""
    result = treason(
        """
        import os, struct
        def run(channel, plan):
            part = plan["steps"][0]["args"]["part"]
            if part != "half a frame":
                channel.settle(set={"said": 1})
            if part == "half a frame":
                channel.send_json(channel.contract.STEP_STARTED, {"step": 0, "try": 1})
                channel._write(struct.pack(">BI", channel.contract.STEP_ENDED, 1000) + b'{"step":0,')
            if part == "half an end":
                body = channel._tally.end(channel._nonce)
                channel._write(struct.pack(">BI", channel.contract.END, len(body)) + body[:-1])
            os._exit(0)
        """,
        args={"part": part},
    )

    assert (result.outcome, result.cause) == (Outcome.NO_ANSWER, "exit_code:0")
    assert nothing_merged(result, arena)


def test_row_115_a_second_answer_makes_both_bad(attack: Attack, arena: Arena) -> None:
    """One that was written when the first was done is not ours to choose from."""
    result = attack(SAY, args=saying(answer(), answer(set={"said": 2})))

    assert (result.outcome, result.cause) == (Outcome.BAD_ANSWER, "step:s0:bad_answer")
    assert nothing_merged(result, arena)


def test_row_115_what_a_child_says_after_its_step_is_not_heard_as_the_steps(attack: Attack, arena: Arena) -> None:
    """It kept the pipe, and waits until its parent is gone: then nobody listens any more, and it is killed."""
    result = attack(
        """
        import json, os, struct, time
        def run(context, params):
            context.set("said", 1)
            if os.fork() == 0:
                os.setsid()
                kept = os.dup(3)
                while os.getppid() != 1:
                    time.sleep(0.001)
                content = json.dumps(params).encode()
                while True:
                    os.write(kept, struct.pack(">BI", 32, len(content)) + content)
        """,
        args=ANSWER | {"set": {"said": 2}},
    )

    assert result.outcome in {Outcome.SUCCEEDED, Outcome.BAD_ANSWER}
    if result.outcome is Outcome.SUCCEEDED:
        assert result.changes.set == {"said": 1}
    else:
        assert nothing_merged(result, arena)


def test_row_115_what_is_said_after_the_end_is_not_merged(treason: Attack) -> None:
    """The end proves what came before it, and its hash is of the bytes that were merged."""
    result = treason(
        """
        def run(channel, plan):
            channel.settle(set={"said": 1})
            channel.end()
            ended = {"step": 0, "outcome": "succeeded", "tries": 1, "cause": "", "set": {"said": 2}}
            channel.send_json(channel.contract.STEP_ENDED, ended)
            channel.end()
            channel.wait_for_bye()
        """
    )

    assert result.changes.set == {"said": 1}
    assert result.outcome in {Outcome.SUCCEEDED, Outcome.BAD_ANSWER}, "as the end came alone, or with what follows it"


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


@pytest.mark.parametrize("kind", [*FALSE_KINDS, {"writers": {"a": 1}}, {"reads": {"a": 1}}, {"wall_s": "1"}], ids=str)
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
