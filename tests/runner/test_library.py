"""What scriptlets are written against: the context and the framework."""

from __future__ import annotations

import json
import logging
import pathlib
from typing import TYPE_CHECKING, Any

import pytest

from isolation.sandbox.frames import RecordFrame, read_frame

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runner.conftest import Load


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


@pytest.fixture
def context(load: Load) -> Any:  # noqa: ANN401 - the class of another world
    return load("orchestrator.context").Context({"a": {"n": [1]}, "b": 2}, who="step")


def test_what_is_got_is_a_copy(context: Any) -> None:  # noqa: ANN401
    """A change that was never set would reach the shared context unseen."""
    context.get("a")["n"].append(2)
    context.to_dict()["a"]["n"].append(3)

    assert context.get("a") == {"n": [1]}


def test_what_is_set_is_a_copy(context: Any) -> None:  # noqa: ANN401
    """What was checked is what is kept; tuples become lists, as everybody will read them."""
    value: dict[str, object] = {"n": (1, 2)}
    context.set("c", value)
    value["n"] = (3,)

    assert context.get("c") == {"n": [1, 2]}
    assert context.get_history("c")[0]["after"] == {"n": [1, 2]}


@pytest.mark.parametrize("key", ["", " a", "a ", "a\n", "\ud800", "x" * 257, 3, None], ids=ascii)
def test_a_key_that_the_host_would_refuse_is_refused_at_once(context: Any, key: object) -> None:  # noqa: ANN401
    """Where its writer can see it."""
    with pytest.raises(ValueError, match="is not a context key"):
        context.set(key, 1)


@pytest.mark.parametrize("value", [float("nan"), b"x", {1: 2}, 2**60, "\0", object], ids=ascii)
def test_a_value_that_json_cannot_say_is_refused_at_once(context: Any, value: object) -> None:  # noqa: ANN401
    """And changes nothing."""
    with pytest.raises(ValueError):  # noqa: PT011 - each has its own sentence
        context.set("c", value)

    assert "c" not in context
    assert context.changes()["set"] == {}


def test_changes_are_the_last_word_on_each_key(context: Any) -> None:  # noqa: ANN401
    """With who said it."""
    context.set("c", 1)
    context.set("c", 2, who="audit")
    assert context.delete("a")
    assert not context.delete("none")
    context.set("d", 1)
    context.delete("d")

    changes = context.changes()

    assert (changes["set"], changes["deleted"]) == ({"c": 2}, ["a", "d"])
    assert changes["writers"] == {"c": "audit", "a": "step", "d": "step"}


def test_history_tells_before_and_after_by_key_and_by_writer(context: Any) -> None:  # noqa: ANN401
    """Oldest first."""
    context.set("b", 3)
    context.set("b", 4, who="audit")
    context.delete("b")

    assert [(one["before"], one["after"], one["who"]) for one in context.get_history("b")] == [
        (2, 3, "step"),
        (3, 4, "audit"),
        (4, None, "step"),
    ]
    assert len(context.get_history(who="audit")) == 1
    assert context.get_history("a") == []


def test_reads_are_what_was_asked_for(context: Any) -> None:  # noqa: ANN401
    """Also what was not there; never what could not be a key, which nobody could say in an answer."""
    context.get("a")
    context.get("none", 1)
    context.get("a\0")
    assert "b" in context
    assert "\ud800" not in context
    assert not context.delete("gone")

    assert (context.reads(), context.read_all) == (["a", "b", "gone", "none"], False)


def test_who_writes_blindly_reads_nothing_and_nobody_reads_what_he_wrote(context: Any) -> None:  # noqa: ANN401
    """But whoever looks first has read, and the history of one's own writes tells what was there before."""
    context.set("a", 1)
    context.set("c", 1)
    assert (context.get("a"), "a" in context, context.delete("c"), context.get("c")) == (1, True, True, None)
    assert context.reads() == []

    context.set("b", context.get("b"))
    assert context.reads() == ["b"]
    assert context.get_history("a")[0]["before"] == {"n": [1]}
    assert context.reads() == ["a", "b"]


@pytest.mark.parametrize("look", ["keys", "to_dict", "list_all"])
def test_who_lists_has_read_everything(context: Any, look: str) -> None:  # noqa: ANN401
    """What is there, and that nothing else is: a key that comes later would have been in the list."""
    getattr(context, look)()

    assert (context.reads(), context.read_all) == ([], True)


def test_more_reads_than_can_be_named_are_all(context: Any) -> None:  # noqa: ANN401
    """A list that was cut in silence would hide the others."""
    for number in range(1000):
        context.get(f"k{number}")
    assert (len(context.reads()), context.read_all) == (1000, False)

    context.get("one more")
    assert (len(context.reads()), context.read_all) == (1000, True)


@pytest.mark.parametrize(("strategy", "reads"), [("last_wins", []), ("first_wins", ["b", "c"]), ("error", ["b", "c"])])
def test_merging_reads_what_it_compares(load: Load, context: Any, strategy: str, reads: list[str]) -> None:  # noqa: ANN401
    """Where the other's value is taken in any case, nothing is."""
    context.merge_from(load("orchestrator.context").Context({"b": 2, "c": 1}), strategy)

    assert (context.reads(), context.read_all) == (reads, False)


@pytest.mark.parametrize(("strategy", "b"), [("last_wins", 9), ("first_wins", 2)])
def test_merging_settles_what_both_have(load: Load, context: Any, strategy: str, b: int) -> None:  # noqa: ANN401
    """And takes over what only the other has."""
    other = load("orchestrator.context").Context({"b": 9, "c": 1})
    context.merge_from(other, strategy)

    assert (context.get("b"), context.get("c")) == (b, 1)


def test_merging_may_refuse_or_rename(load: Load, context: Any) -> None:  # noqa: ANN401
    """A strategy that nobody knows is an error before anything is taken."""
    other = load("orchestrator.context").Context({"b": 9})
    with pytest.raises(ValueError, match="both contexts have 'b'"):
        context.merge_from(other, "error")
    with pytest.raises(ValueError, match="unknown conflict_strategy"):
        context.merge_from(other, "guess")
    context.merge_from(other, "error", prefix="other.")

    assert (context.get("b"), context.get("other.b")) == (2, 9)


def test_what_a_logger_is_told_beside_the_message_goes_with_its_record(load: Load) -> None:
    """By the names that its author gave."""
    logger, sent = load("src.core.logger"), []
    logger._Sink(lambda *record: sent.append(record)).emit(
        logging.getLogger("a").makeRecord("a", 20, "", 1, "%d rows", (5,), None, extra={"rows": 5, "table": "orders"})
    )
    assert sent == [("INFO", "a", "5 rows", {"rows": 5, "table": "orders"})]


@pytest.mark.parametrize(
    ("extra", "fields"),
    [
        ({"rows": 5, "names": ["a"]}, {"rows": 5, "names": ["a"]}),
        ({"at": pathlib.PurePosixPath("/x"), "n": float("nan")}, {"at": "PurePosixPath('/x')", "n": "nan"}),
        ({"deep": nested(29)}, {"deep": nested(29)}),
        ({"deep": nested(30)}, {"deep": repr(nested(30))}),
        ({"text": "x" * 8_178}, {"text": "x" * 8_178}),
        ({"a": "x" * 8_192}, {"left_out": "1 fields: more than 32, or than 8192 bytes as JSON"}),
        ({"a": b"x" * 9_000}, {"left_out": "1 fields: more than 32, or than 8192 bytes as JSON"}),
        ({f"f{n}": n for n in range(33)}, {"left_out": "33 fields: more than 32, or than 8192 bytes as JSON"}),
    ],
    ids=lambda value: str(value)[:20],
)
def test_fields_are_json_and_bounded(load: Load, extra: dict[str, Any], fields: dict[str, Any]) -> None:
    """What JSON cannot say is said as text; too much of it must not cost the record its place."""
    assert load("step")._say_fields(extra) == fields


@pytest.mark.parametrize("depth", [29, 30])
@pytest.mark.parametrize("count", [32, 33])
def test_the_runner_passes_on_what_the_host_takes(load: Load, depth: int, count: int) -> None:
    """A step that writes its own records must not make ours look broken."""
    fields = {f"f{n}": nested(depth) for n in range(count)}
    record = {"level": "INFO", "logger": "x", "message": "hi", "at": 1, "fields": fields}
    try:
        load("answers").read_record(json.dumps(record).encode())
    except load("isolation.contract").Malformed:
        assert (depth, count) != (29, 32)
        return
    assert (depth, count) == (29, 32)
    assert read_frame(RecordFrame, json.dumps({"step": 0, "record": record}).encode()).record.fields == fields


@pytest.mark.parametrize("name", ["../up", "/etc/passwd", "a/../../b", ".hidden", ""])
def test_an_artifact_cannot_lead_out_of_its_folder(context: Any, name: str) -> None:  # noqa: ANN401
    """Refused where its author sees it, by the rule that the host applies again."""
    with pytest.raises(ValueError, match="not a plain name"):
        context.artifact(name)


def test_an_artifacts_folder_is_made(load: Load, context: Any, tmp_path: Path, monkeypatch: Any) -> None:  # noqa: ANN401
    """So that one can write to the path at once."""
    monkeypatch.setattr(load("orchestrator.context"), "ARTIFACTS", str(tmp_path))

    context.artifact("plots/a.txt").write_text("x")

    assert (tmp_path / "plots" / "a.txt").read_text() == "x"


def test_a_scriptlet_registers_under_its_name_or_another(load: Load) -> None:
    """With and without arguments, and the class stays what it was."""
    framework = load("scriptlets.framework")

    @framework.register_scriptlet
    class One(framework.BaseScriptlet):  # type: ignore[name-defined, misc]
        """Do one thing."""

    @framework.register_scriptlet(name="second")
    class Two(framework.BaseScriptlet):  # type: ignore[name-defined, misc]
        """Do another."""

    assert {"One": One, "second": Two} == framework.REGISTERED
    assert (One().name, One().description) == ("One", "Do one thing.")
    with pytest.raises(NotImplementedError, match="One has no run"):
        One().run({}, {})


def test_a_secret_can_be_had_by_its_name(load: Load) -> None:
    """Only those that the step names; what else there is, or is not, looks the same."""
    context = load("orchestrator.context").Context({}, secrets={"API_TOKEN": "hunter22"})

    assert context.secret("API_TOKEN") == "hunter22"
    with pytest.raises(LookupError) as caught:
        context.secret("DB_PASSWORD")
    assert str(caught.value) == "this step did not ask for the secret 'DB_PASSWORD': add it to the step's own `secrets`"


def test_a_secret_is_no_key_of_the_context(load: Load) -> None:
    """Whoever passes the whole context on does not pass the secrets on with it."""
    context = load("orchestrator.context").Context({"a": 1}, secrets={"API_TOKEN": "hunter22"})
    context.secret("API_TOKEN")

    assert (context.keys(), context.to_dict(), context.get("API_TOKEN")) == (["a"], {"a": 1}, None)
    assert "hunter22" not in str([context.changes(), context.reads(), context.get_history()])
