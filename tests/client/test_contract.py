"""What both clients promise, against a real server: one suite, run on each colour."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from isolation.client import questions
from isolation.client.context import ContextClient
from isolation.context.dumping import Format
from isolation.errors import (
    AccessError,
    ContextChangedError,
    ContextError,
    InputError,
    NoSuchDumpError,
    NoSuchKeyError,
    ServerError,
)

if TYPE_CHECKING:
    from tests.client.conftest import AnyClient, MakeClient
    from tests.service.server import Server

pytestmark = pytest.mark.slow

VALUES: list[object] = [None, True, 0, 1.5, "é\n", [1, [None]], {"a": {"b": []}}]


@pytest.mark.parametrize("value", VALUES)
def test_what_is_set_is_what_is_got(client: AnyClient, value: object) -> None:
    """Whatever JSON can say; also under a key that a URL could misread."""
    client.set("a/b?c=d&e#%20", value, who="me")
    assert client.get("a/b?c=d&e#%20", default="other") == value


def test_a_key_that_is_not_there_is_the_default(client: AnyClient) -> None:
    """As a dictionary has it; one that holds null is there."""
    client.set("null", None)
    assert (client.get("none"), client.get("none", 7), client.get("null", 7)) == (None, 7, None)
    assert client.entry("none") is None


def test_a_delete_tells_whether_there_was_anything(client: AnyClient) -> None:
    """And is no error where there was not."""
    client.set("a", 1)
    assert (client.delete("a", who="me"), client.delete("a"), client.keys()) == (True, False, [])


def test_all_and_a_part_come_by_key(client: AnyClient) -> None:
    """Under both names."""
    client.change(set={"b.x": 1, "a": 2, "b.y": 3})
    assert client.get_all() == client.list_all() == {"a": 2, "b.x": 1, "b.y": 3}
    assert (client.get_all("b.*"), client.keys("b.*")) == ({"b.x": 1, "b.y": 3}, ["b.x", "b.y"])


def test_all_is_of_one_moment_however_many_pages_it_has(
    client: AnyClient,
    server: Server,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Somebody writes between two pages: nothing of that is seen."""
    monkeypatch.setattr(questions, "LARGEST_PAGE", 2)
    client.change(set={f"k{n}": 0 for n in range(7)})
    real, turns = questions._page, list[str]()

    def page(glob: str, version: int | None = None, after: str | None = None) -> object:
        if after == "k3":
            turns.append(after)
            with ContextClient(url=server.url, token=server.token, namespace=namespace) as other:
                other.change(set={"k0": 1, "k6": 1})
        return real(glob, version, after)

    monkeypatch.setattr(questions, "_page", page)

    assert client.get_all() == {f"k{n}": 0 for n in range(7)}
    assert turns == ["k3"]


def test_several_keys_change_together_or_not_at_all(client: AnyClient) -> None:
    """With versions that are expected, 0 of one that holds nothing."""
    first = client.set("a", 1)
    written = client.change(set={"b": 2}, delete=["a"], expected={"a": first.version, "c": 0}, who="me")

    assert [(one.key, one.deleted, one.who) for one in written] == [("a", True, "me"), ("b", False, "me")]
    with pytest.raises(ContextChangedError, match="nothing was written") as refused:
        client.change(set={"c": 1}, expected={"b": 0})
    assert refused.value.hint
    with pytest.raises(NoSuchKeyError):
        client.change(set={"c": 1}, delete=["a"])
    assert client.get_all() == {"b": 2}


def test_a_write_can_depend_on_what_was_seen(client: AnyClient) -> None:
    """Of two who saw the same, one writes."""
    client.set("a", 1, if_version=0)
    seen = client.entry("a")
    client.set("a", 2, if_version=seen.version)
    with pytest.raises(ContextChangedError):
        client.set("a", 3, if_version=seen.version)
    with pytest.raises(ContextChangedError):
        client.delete("a", if_version=seen.version)
    assert client.get("a") == 2


def test_the_history_tells_who_wrote_what_and_what_was_there(client: AnyClient) -> None:
    """Of all, of a key as it is spelt, of a writer; the newest of many, oldest first."""
    client.set("a", 1, who="me")
    client.set("a", 2, who="you")
    client.set("a*", 3, who="me")
    client.delete("a", who="you")

    told = [(one["key"], one["before"], one["after"], one["who"], "deleted" in one) for one in client.get_history()]
    assert told == [
        ("a", None, 1, "me", False),
        ("a", 1, 2, "you", False),
        ("a*", None, 3, "me", False),
        ("a", 2, None, "you", True),
    ]
    assert [one["after"] for one in client.get_history("a*")] == [3]
    assert [one["after"] for one in client.get_history(who="me")] == [1, 3]
    assert [(one["before"], one["after"]) for one in client.get_history("a", limit=2)] == [(1, 2), (2, None)]


def test_the_history_comes_page_by_page(client: AnyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it is, and no further than it is asked for."""
    for number in range(7):
        client.set("n", number)
    monkeypatch.setattr(questions, "LARGEST_PAGE", 3)

    assert [one["after"] for one in client.history()] == [*range(7)][::-1]
    assert [one["after"] for one in client.history(limit=4)] == [6, 5, 4, 3]
    assert [one["after"] for one in client.history("other.*")] == []


def test_what_cannot_be_kept_is_refused(client: AnyClient) -> None:
    """Here or there, by the same error."""
    with pytest.raises(ContextError, match="not a finite number"):
        client.set("a", float("nan"))
    with pytest.raises(ContextError, match="begins or ends with a space") as refused:
        client.set(" a", 1)
    assert refused.value.hint == "Write 'a'."
    with pytest.raises(InputError, match="nothing to change"):
        client.change()
    with pytest.raises(InputError, match="limit"):
        client.get_history(limit=0)


def test_a_namespace_is_its_own(client: AnyClient, make: MakeClient, server: Server) -> None:
    """What is written in one shows in no other."""
    client.set("a", 1)
    assert make(url=server.url, token=server.token, namespace="of-others").get_all() == {}


def test_a_token_that_does_not_count_is_refused(
    make: MakeClient, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As is none; ISOLATION_TOKEN is who asks where nothing is said."""
    monkeypatch.delenv("ISOLATION_TOKEN", raising=False)
    for token in ("iso_wrong", None):
        with pytest.raises(AccessError, match="no token that counts") as refused:
            make(url=server.url, token=token).get("a")
        assert "isolation token new" in refused.value.hint
    monkeypatch.setenv("ISOLATION_TOKEN", server.token)
    assert make("127.0.0.1", int(server.url.rpartition(":")[2])).get("a") is None


def test_a_server_that_is_not_named_is_that_of_the_environment(
    make: MakeClient, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for the shell; what is said in the program goes first, each part of it."""
    monkeypatch.setenv("ISOLATION_TOKEN", server.token)
    monkeypatch.setenv("ISOLATION_URL", f"{server.url}/")
    assert repr(make()) == f"ContextClient({server.url!r})"
    assert make().get("a") is None
    assert repr(make("::1")) == "ContextClient('http://[::1]:8080')"
    assert repr(make(port=99)) == "ContextClient('http://127.0.0.1:99')"
    assert repr(make(url="https://a.example")) == "ContextClient('https://a.example')"
    monkeypatch.delenv("ISOLATION_URL")
    assert repr(make()) == "ContextClient('http://127.0.0.1:8080')"
    monkeypatch.setenv("ISOLATION_URL", "http://a.example")
    with pytest.raises(InputError, match=r"readable on the way to a\.example"):
        make()


@pytest.mark.parametrize("format_", Format)
def test_a_dump_is_written_there_and_can_be_fetched(client: AnyClient, format_: Format) -> None:
    """In each format, with the history; the newest is the first of the list."""
    client.set("a", "gone before", who="me")
    client.set("a", "\u00e9 here now", who="me")
    told = client.dump_context(format=format_.value, filename="backup", include_history=True, who="backup_service")

    assert client.list_dumps()["dump_files"][0]["filename"] == told["filename"]
    text = client.download_dump(told["filename"])
    assert "gone before" in text
    assert "here now" in text


def test_a_dump_that_is_not_there_is_refused(client: AnyClient) -> None:
    """By its own error; a name that would lead elsewhere leads nowhere."""
    with pytest.raises(NoSuchDumpError, match=r"no dump 'none\.json'"):
        client.download_dump("none.json")
    with pytest.raises((ContextError, ServerError)):
        client.download_dump("../../etc/passwd")


def test_the_formats_are_the_servers() -> None:
    """Who has the client alone knows them, too."""
    assert tuple(Format) == questions.FORMATS
