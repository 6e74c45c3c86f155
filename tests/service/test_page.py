"""The page: who sees it, what a browser may do with it, and that no text becomes anything else."""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING

import pytest

from isolation.model.access import Role
from isolation.service.doorkeeper import WRONG_A_MINUTE
from isolation.service.page import views
from isolation.service.page.pages import POLICY
from isolation.service.sessions import COOKIE, LIFE_S, MOST_OF_ONE, Sessions
from tests.service.conftest import AT
from tests.service.sending import SENT

if TYPE_CHECKING:
    from httpx2 import Client

    from isolation.model.run import Result
    from isolation.service.service import Service
    from tests.conftest import ResultOf
    from tests.service.conftest import ClientFor, TokenFor

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{7*7}}\u202egpj.exe"
PAGES = ("/", "/context", "/runs/r1", "/context/history?key=a", "/runs/r1/diff?other=r3")


@pytest.fixture
def browser(client_for: ClientFor, token_for: TokenFor) -> Client:
    """A browser whose person came in as a runner."""
    client = client_for(None)
    answer = client.post("/login", data={"token": token_for(Role.RUNNER)}, follow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    return client


@pytest.fixture
def recorded(service: Service, result_of: ResultOf) -> Result:
    """A run on record, as hostile as its recipe could make it."""
    stores = service.stores
    from dataclasses import replace  # noqa: PLC0415

    from isolation.model.changes import Changes  # noqa: PLC0415
    from isolation.model.run import StepError  # noqa: PLC0415
    from isolation.packaging.policy import load_policy  # noqa: PLC0415

    result = result_of("r1")
    digests = replace(result.digests, policy=stores.blobs.put(load_policy("default").content()))
    error = StepError(step=HOSTILE, type=HOSTILE, message=HOSTILE, traceback=HOSTILE)
    changes = Changes(set={f"k.{HOSTILE[:30]}": HOSTILE}, writers={})
    result = replace(result, recipe=HOSTILE, digests=digests, errors=(error,), changes=changes)
    (last,) = result.attempts
    result = replace(result, attempts=(replace(last, cause=HOSTILE), replace(last, number=2)))
    other = replace(result, run_id="r3", changes=Changes(set={f"k.{HOSTILE[:30]}": 1}))
    for one in (result, other):
        stores.ledger.start(one.run_id, HOSTILE, "default", digests, AT)
        with stores.ledger.settling(one.run_id) as settling:
            settling.finish(one, AT)
    stores.contexts.set("a", HOSTILE, HOSTILE, AT)
    return result


@pytest.mark.parametrize("path", PAGES)
def test_without_a_token_there_is_the_door_alone(client_for: ClientFor, recorded: Result, path: str) -> None:
    """Nothing is shown, and the browser is sent to where a token is asked for."""
    answer = client_for(None).get(path, follow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/login")
    assert recorded.run_id not in answer.text


@pytest.mark.parametrize("path", PAGES)
def test_hostile_text_stays_text(browser: Client, recorded: Result, path: str) -> None:
    """Wherever it stands: neither markup, nor a template, nor a change of the writing direction."""
    answer = browser.get(path)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "alert(1)" in answer.text
    assert "<script>alert" not in answer.text
    assert "<img" not in answer.text
    assert "49" not in answer.text.split("alert(1)", 1)[1][:80]
    assert "\u202e" not in answer.text
    assert recorded.recipe == HOSTILE


def test_a_page_may_load_nothing_from_elsewhere(browser: Client) -> None:
    """And no script that stands in the page itself runs."""
    answer = browser.get("/")
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert "unsafe" not in POLICY
    assert "http" not in POLICY
    text = answer.text.replace("https://", "http://")
    assert "http://" not in text
    for path in ("page.css", "page.js", "vendor/htmx.min.js", "vendor/uPlot.iife.min.js", "vendor/uPlot.min.css"):
        assert f"/static/{path}" in text
        assert browser.get(f"/static/{path}").status_code == 200


def test_the_cookie_is_no_scripts_business(client_for: ClientFor, token_for: TokenFor) -> None:
    """It is sent along by this site alone, and nothing can read it; over TLS only over TLS."""
    token = token_for(Role.VIEWER)
    plain = client_for(None).post("/login", data={"token": token}, follow_redirects=False)
    cookie = plain.headers["Set-Cookie"]
    assert token not in cookie
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= {*cookie.split("; ")}
    assert "Secure" not in cookie
    client = client_for(None)
    client.base_url = "https://testserver"
    assert "Secure" in client.post("/login", data={"token": token}, follow_redirects=False).headers["Set-Cookie"]


def test_a_wrong_token_opens_nothing(client_for: ClientFor) -> None:
    """And the page says so."""
    client = client_for(None)
    answer = client.post("/login", data={"token": "iso_wrong"})
    assert answer.status_code == 401
    assert "does not count" in answer.text
    assert COOKIE not in client.cookies


def test_the_door_is_watched_as_every_route(service: Service, client_for: ClientFor, token_for: TokenFor) -> None:
    """Who comes in there, and who does not, is written down; and who guesses is slowed down."""
    client = client_for(None)
    client.post("/login", data={"token": token_for(Role.RUNNER, "team-*")}, follow_redirects=False)
    said = [client.post("/login", data={"token": "iso_wrong"}) for _ in range(WRONG_A_MINUTE + 1)]
    assert [answer.status_code for answer in said] == [401] * WRONG_A_MINUTE + [429]
    assert said[-1].headers["Retry-After"] == "60"
    wrong, *_, came_in = service.audit.newest(100)
    assert (came_in.who, came_in.what, came_in.allowed) == ("a runner", "POST /login", True)
    assert (wrong.who, wrong.what, wrong.allowed) == ("", "POST /login", False)


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://evil.example"}, {"Origin": "http://["}, {"Sec-Fetch-Site": "cross-site"}]
)
def test_no_other_page_has_somebody_come_in(
    client_for: ClientFor, token_for: TokenFor, headers: dict[str, str]
) -> None:
    """Else a person would write into somebody else's context, and not know it."""
    client = client_for(None)
    answer = client.post("/login", data={"token": token_for(Role.VIEWER)}, headers=headers)
    assert answer.status_code == 403
    assert COOKIE not in client.cookies


@pytest.mark.parametrize("shown", [{}, {"X-CSRF-Token": "wrong"}, {"X-CSRF-Token": ""}])
def test_a_browser_changes_nothing_for_another_page(service: Service, browser: Client, shown: dict[str, str]) -> None:
    """The cookie alone is no proof; that holds for the routes of programs, too. It is written down whose it was."""
    answer = browser.put("/v1/context/entry", params={"key": "a"}, json={"value": 1}, headers=shown)
    assert (answer.status_code, answer.json()["code"]) == (403, "cross_site")
    (last,) = service.audit.newest(1)
    assert (last.who, last.what, last.allowed) == ("a runner", "PUT /v1/context/entry", False)
    assert browser.post("/logout", headers=shown).status_code == 403
    assert browser.get("/v1/context/history").json()["entries"] == []


def test_the_page_itself_may(browser: Client, service: Service) -> None:
    """With what it was given; and who leaves is gone."""
    session = service.door.sessions.find(browser.cookies[COOKIE])
    assert session is not None
    assert session.csrf in browser.get("/").text
    headers = {"X-CSRF-Token": session.csrf}
    written = browser.put("/v1/context/entry", params={"key": "a"}, json={"value": 1}, headers=headers)
    assert written.status_code == 200
    assert browser.post("/logout", headers=headers).status_code == 204
    assert browser.get("/", follow_redirects=False).headers["Location"] == "/login"


def test_a_session_ends_with_its_token(browser: Client, service: Service) -> None:
    """Revoked is revoked."""
    (token,) = service.tokens.list()
    service.tokens.revoke(token.token_id, AT)
    service.door.forget()
    assert browser.get("/", follow_redirects=False).status_code == 303


def test_a_session_ends_by_itself() -> None:
    """After half a day, whoever sits there by then has to come in anew."""

    class Clock:
        at_s = 0.0

        def monotonic_s(self) -> float:
            return self.at_s

    clock = Clock()
    sessions = Sessions(clock)  # type: ignore[arg-type]
    cookie = sessions.begin("digest")
    clock.at_s = LIFE_S - 1
    assert sessions.find(cookie) is not None
    clock.at_s = LIFE_S
    assert sessions.find(cookie) is None
    assert sessions.find("") is None


def test_who_comes_in_again_and_again_has_nobody_else_leave(service: Service) -> None:
    """One token's browsers push out one another alone."""
    sessions = Sessions(service.clock)
    other, first = sessions.begin("other"), sessions.begin("mine")
    again = [sessions.begin("mine") for _ in range(MOST_OF_ONE)]
    assert sessions.find(other) is not None
    assert sessions.find(first) is None
    assert all(sessions.find(cookie) for cookie in again)


def test_what_cannot_be_shown_is_a_page_too(browser: Client) -> None:
    """With the sentence and the hint of the error."""
    for path, said in (
        ("/runs/none", "there is no run"),
        ("/?state=odd", "is no state"),
        ("/context/history?key=b", "no key"),
    ):
        answer = browser.get(path)
        assert answer.headers["Content-Type"].startswith("text/html"), path
        assert said in answer.text
        assert answer.status_code in {404, 422}


def test_the_script_asks_for_what_changes_alone(browser: Client, recorded: Result) -> None:
    """A part is no whole page."""
    for path in ("/", "/context", f"/runs/{recorded.run_id}"):
        assert "<html" not in browser.get(path, headers={"HX-Request": "true"}).text


def test_attempts_stand_side_by_side(browser: Client, recorded: Result) -> None:
    """Where there is more than one."""
    text = browser.get(f"/runs/{recorded.run_id}").text
    (table,) = re.findall(r"Attempts, side by side</h2>(.*?)</table>", text, re.DOTALL)
    assert [re.findall(rf'href="#attempt-{number}"', table) != [] for number in (1, 2, 3)] == [True, True, False]
    assert table.count("succeeded</td>") == 2
    assert text.count('class="attempt"') == 2


def test_a_run_is_cancelled_from_its_page(browser: Client, service: Service, result_of: ResultOf) -> None:
    """By who may; a viewer has no such right."""
    service.stores.ledger.start("r2", "etl", "default", result_of("r2").digests, AT)
    session = service.door.sessions.find(browser.cookies[COOKIE])
    assert session is not None
    answer = browser.post("/runs/r2/cancel", headers={"X-CSRF-Token": session.csrf})
    assert answer.status_code == 204
    assert service.stores.ledger.summary("r2").cancelled_at is not None


def test_runs_are_paged(
    browser: Client, service: Service, result_of: ResultOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the newest to those before, and back; the part that changes stays where it is."""
    monkeypatch.setattr(views, "_MOST_RUNS", 2)
    for number in range(3):
        service.stores.ledger.start(f"r{number}", "etl", "default", result_of("r").digests, AT)
    newest = browser.get("/", params={"recipe": "etl"}).text
    assert ("r2<" in newest, "r1<" in newest, "r0<" in newest) == (True, True, False)
    assert "The newest" not in newest
    (before,) = re.findall(r'href="(/\?[^"]*before=r1[^"]*)">Those before', newest)
    rest = browser.get(unescape(before)).text
    assert ("r2<" in rest, "r0<" in rest, "The newest" in rest, "Those before" in rest) == (False, True, True, False)
    assert 'before=r1" hx-trigger' in rest


def test_a_batch_is_shown_as_it_goes(browser: Client, client: Client) -> None:
    """Listed, with the states and outcomes of its runs; who asks for news of one that has ended is told to stop."""
    assert "There are no batches here yet" in browser.get("/batches").text
    runs = client.post("/v1/batches", json=SENT | {"inputs": [{}, {"region": "eu"}], "key": "nightly"}).json()["runs"]
    assert 'href="/batches/nightly?namespace=default"' in browser.get("/batches").text
    client.post(f"/v1/runs/{runs[0]}/cancel")
    page = browser.get("/batches/nightly").text
    assert ("1 of 2 ended" in page, "1 queued" in page, "1 cancelled" in page) == (True, True, True)
    assert all(f"/runs/{run_id}?" in page for run_id in runs)
    asks = {"HX-Request": "true"}
    assert browser.get("/batches/nightly", headers=asks).status_code == 200
    client.post(f"/v1/runs/{runs[1]}/cancel")
    assert browser.get("/batches/nightly", headers=asks).status_code == 286
    assert browser.get("/batches/none").status_code == 404


def test_policies_are_shown_with_their_lines(browser: Client) -> None:
    """Each that this namespace may use."""
    text = browser.get("/policies").text
    assert "strict" in text
    assert "network:" in text


def test_the_host_is_shown_to_who_may_see_all_of_it(client: Client, client_for: ClientFor) -> None:
    """Its load is nobody's else business: it tells of other namespaces' work."""
    assert "Memory available" in client.get("/host").text
    assert client_for(Role.OPERATOR, "theirs").get("/host").status_code == 403
    assert client_for(Role.RUNNER, "*").get("/host").status_code == 403
