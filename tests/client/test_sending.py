"""When a question is asked again and when not, against servers that misbehave."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
import trustme

from isolation.client import answer
from isolation.client.server import Server
from isolation.errors import (
    AccessError,
    AnswerLostError,
    DatabaseLostError,
    InputError,
    ServerError,
    ServerUnreachableError,
)
from tests.client.answers import BREAK, Answers

if TYPE_CHECKING:
    from tests.client.conftest import AnyClient, MakeClient

PROBLEM = '{"code": "%s", "detail": "a sentence", "hint": "a hint"}'
ENTRY = '{"version": 1, "key": "a", "value": 5, "deleted": false, "who": "", "run_id": null, "at": ""}'


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked again is asked at once: whether it is, and not when, is what these tests look at."""
    monkeypatch.setattr(answer, "_FIRST_WAIT_S", 0.0)


@pytest.fixture
def client(make: MakeClient, answers: Answers) -> AnyClient:
    return make(url=answers.url, token="iso_secret", retries=2)  # noqa: S106 - none that counts anywhere


@pytest.mark.parametrize(
    "trouble", [BREAK, (502, "", ""), (504, "", ""), (503, "0", PROBLEM % "storage"), (429, "0", "")]
)
def test_what_only_reads_is_asked_again(client: AnyClient, answers: Answers, trouble: tuple[int, str, str]) -> None:
    """Twice more here, and then it is enough."""
    answers.given = [trouble, trouble, (200, "", ENTRY)]
    assert client.get("a") == 5
    answers.given = [trouble] * 3
    with pytest.raises(Exception, match=r"a sentence|status \d|did not answer"):
        client.get("a")
    assert len(answers.asked) == 6


@pytest.mark.parametrize(
    "trouble", [(503, "0", PROBLEM % "storage"), (429, "0", PROBLEM % "too_many_requests"), (503, "", "")]
)
def test_a_change_that_was_refused_for_now_is_asked_again(
    client: AnyClient,
    answers: Answers,
    trouble: tuple[int, str, str],
) -> None:
    """It was surely not made."""
    answers.given = [trouble, (200, "", ENTRY)]
    assert client.set("a", 5).version == 1
    assert answers.asked == ["PUT", "PUT"]


@pytest.mark.parametrize("trouble", [BREAK, (502, "", "gateway"), (504, "", "")])
def test_a_change_whose_answer_was_lost_is_not_made_twice(
    client: AnyClient,
    answers: Answers,
    trouble: tuple[int, str, str],
) -> None:
    """Whoever asked hears that nobody knows."""
    answers.given = [trouble]
    with pytest.raises(AnswerLostError, match="may be done, or not"):
        client.set("a", 5)
    assert answers.asked == ["PUT"]


def test_a_change_that_the_database_may_have_lost_is_not_made_twice(client: AnyClient, answers: Answers) -> None:
    """Though its status says that there is no service now."""
    answers.given = [(503, "0", PROBLEM % "database_lost")]
    with pytest.raises(DatabaseLostError, match="a sentence"):
        client.change(set={"a": 5})
    assert answers.asked == ["POST"]


def test_a_server_that_wants_more_patience_than_there_is_is_not_waited_for(client: AnyClient, answers: Answers) -> None:
    """Its refusal is the answer."""
    answers.given = [(429, "3600", PROBLEM % "too_many_requests")]
    with pytest.raises(AccessError, match="a sentence") as refused:
        client.get("a")
    assert (refused.value.hint, answers.asked) == ("a hint", ["GET"])


def test_a_server_that_is_silent_is_waited_for_so_long_and_no_longer(make: MakeClient) -> None:
    """It takes the connection, and says nothing: a change is then in doubt."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = make(url=f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.05, retries=1)
        with pytest.raises(ServerUnreachableError, match="did not answer"):
            client.get("a")
        with pytest.raises(AnswerLostError, match="may be done, or not"):
            client.set("a", 1)


def test_where_nobody_listens_is_said_with_what_to_do(make: MakeClient) -> None:
    """The address in it, exit code 3, and no word of httpx's."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ServerUnreachableError, match=rf"no server answers at http://127\.0\.0\.1:{port}") as refused:
        make(port=port, retries=1).set("a", 1)
    assert (refused.value.hint, refused.value.exit_code) == (
        "Start one with `isolation serve`, or name the one that runs.",
        3,
    )


@pytest.mark.parametrize(
    "said", [(200, "", "<html>"), (200, "", "[]"), (404, "", "none"), (302, "", ""), (500, "", "")]
)
def test_a_server_that_is_none_of_ours_is_said_to_be_none(
    client: AnyClient, answers: Answers, said: tuple[int, str, str]
) -> None:
    """Also one that sends elsewhere: the token does not go there."""
    answers.given = [said]
    with pytest.raises(ServerError, match="as no server of ours does"):
        client.get("a")
    assert answers.asked == ["GET"]


def test_a_server_has_to_prove_who_it_is(make: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a certificate that this machine trusts; it is not asked a second time."""
    authority = trustme.CA()
    answers = Answers(authority.issue_cert("localhost"))
    try:
        with pytest.raises(ServerError, match="does not prove who it is"):
            make(url=answers.url, token="iso_secret").get("a")  # noqa: S106
        assert answers.asked == []
        with authority.cert_pem.tempfile() as file:
            monkeypatch.setenv("SSL_CERT_FILE", file)
            answers.given = [(200, "", ENTRY)]
            assert make(url=answers.url, token="iso_secret").get("a") == 5  # noqa: S106
    finally:
        answers.close()


def test_a_token_goes_readable_to_no_other_machine(make: MakeClient) -> None:
    """Unless somebody says that nobody can listen; then it is theirs to know."""
    with pytest.raises(InputError, match=r"readable on the way to db\.example\.org") as refused:
        make(url="http://db.example.org:8080", token="iso_secret")  # noqa: S106
    assert "allow_plain" in refused.value.hint
    make(url="http://db.example.org:8080", token="iso_secret", allow_plain=True)  # noqa: S106
    make(url="http://db.example.org:8080", token="")
    make(url="https://db.example.org", token="iso_secret")  # noqa: S106
    for near in ("localhost", "127.8.8.8", "::1"):
        make(host=near, token="iso_secret")  # noqa: S106


def test_a_proxy_of_the_environment_never_sees_a_token_in_the_clear(
    answers: Answers,
    make: MakeClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is asked over plain HTTP goes straight there."""
    proxy = Answers()
    try:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        answers.given = [(200, "", ENTRY)]
        assert make(url=answers.url, token="iso_secret").get("a") == 5  # noqa: S106
        assert (proxy.asked, answers.headers[0]["Authorization"]) == ([], "Bearer iso_secret")
    finally:
        proxy.close()


def test_nothing_shows_a_token(client: AnyClient) -> None:
    """Not what a client is written as."""
    assert repr(client).startswith("ContextClient('http://127.0.0.1:")
    assert "iso_secret" not in repr(Server(url="http://x", token="iso_secret"))  # noqa: S106


@pytest.mark.parametrize(
    "url", ["ftp://x", "nonsense", "http://", "https://me:pw@x", "https://x?a=1", "https://x:port"]
)
def test_an_address_that_is_none_is_refused(make: MakeClient, url: str) -> None:
    """Before anything is sent; one with a password in it is not shown again."""
    with pytest.raises(InputError) as refused:
        make(url=url, token="")
    assert "pw" not in str(refused.value)


@pytest.mark.parametrize("token", ["a b", "a\nb", "é"])
def test_a_token_that_is_none_is_refused(make: MakeClient, token: str) -> None:
    """It could end a header and begin another."""
    with pytest.raises(InputError, match="cannot be a token") as refused:
        make(token=token)
    assert token not in str(refused.value)
