"""The page in a real Chromium while a run goes on: what it does is seen as it happens, and nothing jumps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.browser import HOSTILE, come_in, shot
from tests.service.sending import RECIPE, submitted
from tests.service.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx2
    from playwright.sync_api import Browser, Page, Route

pytestmark = [pytest.mark.slow, pytest.mark.engine, pytest.mark.usefixtures("engine")]

WORK = f"""
import time

def run(context, params):
    print({HOSTILE!r}, flush=True)
    for number in range(600):
        print("line", number, flush=True)
        time.sleep(0.1)
"""


AGAIN = "name: again\nlimits: {wall: 2s, step_wall: 2s}\nretry: {timed_out: {attempts: 9}}\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("live"), "--slots", "1") as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[httpx2.Client]:
    with server.client() as client:
        yield client


@pytest.fixture
def page(chromium: Browser, server: Server, complaints: list[str]) -> Iterator[Page]:
    """A page of somebody who came in."""
    page = chromium.new_page(viewport={"width": 1200, "height": 900})
    come_in(page, server, complaints)
    yield page
    page.close()


@pytest.fixture
def run_id(client: httpx2.Client) -> Iterator[str]:
    """A run that goes on for a minute."""
    run_id = submitted(client, files={"load.py": WORK})
    yield run_id
    client.post(f"/v1/runs/{run_id}/cancel")


def test_a_run_is_watched_from_its_first_step_to_its_end(page: Page, run_id: str, complaints: list[str]) -> None:
    """The list, the step under way, its plots, its log line by line, and the end: without a click."""
    page.get_by_role("row", name=run_id).get_by_role("link").click()
    page.get_by_role("heading", name="under way, run").wait_for()
    page.get_by_role("row", name="load").get_by_text("under way").wait_for()
    page.locator(".uplot canvas").nth(3).wait_for()
    log = page.get_by_role("log")
    log.get_by_text("load line 20", exact=True).wait_for()
    shot(page, "run-under-way")
    assert HOSTILE in log.inner_text()
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("heading", name="Attempt 1: cancelled").wait_for()
    assert page.get_by_text("under way").count() == 0
    texts = log.inner_text().splitlines()
    numbers = [int(text.rsplit(" ", 1)[1]) for text in texts if " line " in text]
    assert numbers == [*range(len(numbers))]
    assert complaints == []


def test_what_somebody_does_is_not_undone_by_what_is_new(page: Page, client: httpx2.Client, run_id: str) -> None:
    """The focus stays on a link while the table around it changes."""
    link = page.get_by_role("row", name=run_id).get_by_role("link")
    link.focus()
    later = submitted(client, files={"load.py": WORK})
    page.get_by_role("row", name=later).wait_for()
    assert page.evaluate("document.activeElement.textContent") == run_id
    client.post(f"/v1/runs/{later}/cancel")


def test_what_was_unfolded_stays_so(page: Page, server: Server, client: httpx2.Client) -> None:
    """Also when another attempt has ended and stands below; and the two stand side by side."""
    (server.state / "policies").mkdir()
    (server.state / "policies" / "again.yaml").write_text(AGAIN, encoding="utf-8")
    run_id = submitted(client, files={"load.py": WORK}, policy="again")
    page.goto(f"{server.url}/runs/{run_id}")
    page.get_by_role("heading", name="Attempt 1: timed out").wait_for()
    page.get_by_text("Attestation:").first.click()
    page.get_by_role("heading", name="Attempt 2: timed out").wait_for()
    assert page.locator("details[open]").count() == 1
    page.get_by_role("heading", name="Attempts, side by side").wait_for()
    client.post(f"/v1/runs/{run_id}/cancel")
    page.get_by_role("heading", name="under way").wait_for(state="detached")
    assert page.locator("details[open]").count() == 1


def test_a_batch_is_watched(page: Page, client: httpx2.Client, complaints: list[str]) -> None:
    """From its first run to its last, without a click."""
    inputs: list[dict[str, object]] = [{} for _ in range(3)]
    sent = {"recipe": RECIPE, "files": {"load.py": "def run(context, params): ..."}, "inputs": inputs, "key": "three"}
    assert client.post("/v1/batches", json=sent).status_code == 202
    page.get_by_role("link", name="Batches").click()
    page.get_by_role("link", name="three").click()
    page.get_by_text("3 of 3 ended").wait_for()
    assert page.get_by_role("row").count() == 1 + len(inputs)
    page.get_by_text("3 succeeded").wait_for()
    shot(page, "batch")
    assert complaints == []


def cut_off(route: Route, client: httpx2.Client, run_id: str) -> None:
    """Answer with the lines that came since, and end there, as a connection that breaks off does."""
    (cursor,) = parse_qs(urlsplit(route.request.url).query)["cursor"]
    found: dict[str, Any] = {"lines": []}
    while not found["lines"]:
        found = client.get(f"/v1/runs/{run_id}/logs", params={"cursor": cursor}).json()
    lines = "".join(f"<span>load {line['text']}</span>" for line in found["lines"])
    body = f"retry: 1\nid: {found['next']}\nevent: line\ndata: {lines}\n\n"
    route.fulfill(content_type="text/event-stream", body=body)


def test_a_log_goes_on_where_the_connection_broke(page: Page, client: httpx2.Client, run_id: str) -> None:
    """No line is there twice, and none is missing."""
    page.route("**/log?*", lambda route: cut_off(route, client, run_id), times=1)
    page.get_by_role("row", name=run_id).get_by_role("link").click()
    log = page.get_by_role("log")
    log.get_by_text("load line 40", exact=True).wait_for()
    numbers = [int(text.rsplit(" ", 1)[1]) for text in log.inner_text().splitlines() if " line " in text]
    assert numbers == [*range(len(numbers))]
