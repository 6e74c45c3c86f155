"""A context that outlives its program, with the methods of the one in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from isolation.errors import ContextError, InputError
from orchestrator.context import Context
from orchestrator.keeping import AtServer
from orchestrator.kept import KeptContext
from orchestrator.runner import EnhancedRecipeRunner
from tests.service.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pydantic import JsonValue


@pytest.fixture(params=["memory", "store", pytest.param("server", marks=pytest.mark.slow)])
def context(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Context | KeptContext]:
    if request.param == "memory":
        yield Context()
        return
    if request.param == "store":
        with KeptContext(tmp_path / "state") as kept:
            yield kept
        return
    with Server(tmp_path / "server", "--slots", "0") as server, KeptContext(server.url, token=server.token) as kept:
        yield kept


def test_what_is_set_is_there_until_it_is_deleted(context: Context | KeptContext) -> None:
    """Values are copies, whichever it is."""
    inner: list[JsonValue] = [1, None]
    context.set("one.two", {"a": inner}, who="me")
    inner.append(2)

    assert context.get("one.two") == {"a": [1, None]}
    assert ("one.two" in context, "one" in context, context.get("one", 7)) == (True, False, 7)
    assert (context.keys(), context.to_dict()) == (["one.two"], {"one.two": {"a": [1, None]}})
    assert (context.delete("one.two", who="you"), context.delete("one.two")) == (True, False)
    assert context.list_all() == {}


def test_the_history_tells_who_wrote_what_and_what_was_there(context: Context | KeptContext) -> None:
    """Of all keys, of one, and of one writer; a glob is a key like any other."""
    context.set("a", 1, who="me")
    context.set("a", 2, who="you")
    context.set("a*", 3, who="me")
    context.delete("a", who="you")

    told = [(one["key"], one["before"], one["after"], one["who"], "deleted" in one) for one in context.get_history()]
    assert told == [
        ("a", None, 1, "me", False),
        ("a", 1, 2, "you", False),
        ("a*", None, 3, "me", False),
        ("a", 2, None, "you", True),
    ]
    assert [one["after"] for one in context.get_history("a*")] == [3]
    assert [one["after"] for one in context.get_history(who="me")] == [1, 3]
    times: list[Any] = [one["timestamp"] for one in context.get_history()]
    assert times == sorted(times)


def test_one_context_takes_over_another(context: Context | KeptContext) -> None:
    """By three strategies; one that minds conflicts takes over all or nothing."""
    other = Context()
    other.set("a", 1)
    other.set("b", 2)
    context.set("x.a", 9)

    with pytest.raises(ValueError, match=r"both contexts have 'x\.a'"):
        context.merge_from(other, "error", prefix="x.")
    assert context.to_dict() == {"x.a": 9}
    context.merge_from(other, "first_wins", prefix="x.")
    assert context.to_dict() == {"x.a": 9, "x.b": 2}
    context.merge_from(other, prefix="x.")
    assert context.to_dict() == {"x.a": 1, "x.b": 2}
    with pytest.raises(ValueError, match="unknown conflict_strategy 'best'"):
        context.merge_from(other, "best")


def test_what_is_kept_is_there_for_the_next_program(tmp_path: Path) -> None:
    """And namespaces never meet."""
    with KeptContext(tmp_path) as first:
        first.set("a", 1)
    with KeptContext(tmp_path) as again, KeptContext(tmp_path, namespace="other") as other:
        assert (again.get("a"), other.get("a")) == (1, None)


def test_a_place_that_is_not_named_is_that_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server, as for the clients; else the usual state folder."""
    monkeypatch.setenv("ISOLATION_URL", "http://127.0.0.1:1")
    with KeptContext() as context:
        assert isinstance(context.keeping, AtServer)
    monkeypatch.delenv("ISOLATION_URL")
    monkeypatch.setenv("ISOLATION_STATE", str(tmp_path / "usual"))
    with KeptContext() as context, KeptContext(tmp_path / "usual") as usual:
        context.set("a", 1)
        assert usual.get("a") == 1


def test_a_place_that_is_none_is_refused(tmp_path: Path) -> None:
    """As are values that the context cannot keep."""
    with pytest.raises(InputError, match="'ftp://x' is no place for a context"):
        KeptContext("ftp://x")
    with pytest.raises(InputError, match="only a server wants a token"):
        KeptContext(tmp_path, token="iso_secret")  # noqa: S106 - none that counts anywhere
    with KeptContext(tmp_path) as context, pytest.raises(ContextError):
        context.set("a", float("nan"))


@pytest.mark.engine
@pytest.mark.usefixtures("engine")
def test_a_run_on_a_kept_context_merges_there(tmp_path: Path) -> None:
    """In the transaction that ends the run: `isolation context history` shows the run."""
    (tmp_path / "recipe.yaml").write_text("steps: [{name: go, module: go, function: go}]")
    (tmp_path / "go.py").write_text("def go(context, params):\n    context.set('n', context.get('n', 0) + 1)\n")
    with KeptContext(tmp_path / "state", namespace="mine") as context, EnhancedRecipeRunner(context) as runner:
        first, second = runner.run_recipe(tmp_path), runner.run_recipe(tmp_path)

        assert (first.overall_success, second.overall_success, context.get("n")) == (True, True, 2)
        assert (first.context_keys_created, second.context_keys_created) == (("n",), ())
        assert [one["who"] for one in context.get_history()] == ["go", "go"]
