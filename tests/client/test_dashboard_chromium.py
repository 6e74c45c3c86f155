"""The example of a dashboard as somebody meets it: a process of its own, and a real Chromium."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from isolation.client.context import ContextClient
from tests.browser import HOSTILE, PHONE, heed, is_within, shot
from tests.service.server import Server, free_port
from tests.site import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page
    from pydantic import JsonValue

pytestmark = pytest.mark.slow

APP = Path(__file__).parents[2] / "examples/dashboard/app.py"
VALUES: dict[str, JsonValue] = {
    "disk.free": 0.25,
    "jobs.done": 17,
    "jobs.failed": -3,
    "service.state": "running",
    "with": ["a", None],
}

DRAWN = """keys => {
    const labels = [...document.querySelectorAll("#numbers .ytick text")];
    labels.sort((one, other) => one.getBoundingClientRect().y - other.getBoundingClientRect().y);
    const same = JSON.stringify(labels.map(label => label.textContent)) === JSON.stringify(keys);
    return same && document.querySelectorAll("#numbers .bars .point").length === keys.length;
}"""


@contextmanager
def dashboard(server: Server, log: Path) -> Iterator[str]:
    """Run the example for the block, and give its address."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    own = {"ISOLATION_URL": server.url, "ISOLATION_TOKEN": server.token, "PORT": str(port)}
    with log.open("wb") as said, subprocess.Popen([sys.executable, APP], env=os.environ | own, stderr=said) as process:
        try:
            until(lambda: process.poll() is not None or answers(url))
            assert process.poll() is None, log.read_text()
            yield url
        finally:
            process.terminate()


def answers(url: str) -> bool:
    try:
        return httpx2.get(url).is_success
    except httpx2.TransportError:
        return False


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Server]:
    """A server that comes back at the address that it had."""
    with Server(tmp_path / "state", "--slots", "0", "--port", str(free_port())) as server:
        yield server


@pytest.fixture
def writer(own: Server) -> Iterator[ContextClient]:
    with ContextClient(url=own.url, token=own.token) as client:
        client.change(set=VALUES)
        yield client


@pytest.fixture
def url(own: Server, tmp_path: Path) -> Iterator[str]:
    with dashboard(own, tmp_path / "log") as url:
        yield url


@contextmanager
def opened(chromium: Browser, url: str, complaints: list[str], **how: Any) -> Iterator[Page]:  # noqa: ANN401 - playwright's own
    """Open the dashboard, and wait until it has been filled."""
    context = chromium.new_context(**{"viewport": {"width": 1200, "height": 900}, **how})
    page = context.new_page()
    heed(page, complaints)
    page.goto(url)
    page.get_by_role("status").filter(has_text="keys").wait_for()
    yield page
    context.close()


def wait_for_bars(page: Page, *keys: str) -> None:
    """Wait until there are these, in the order in which they are seen."""
    page.wait_for_function(DRAWN, arg=[*keys])


def test_it_shows_the_context_and_what_changes(
    chromium: Browser, url: str, writer: ContextClient, complaints: list[str]
) -> None:
    """Nobody loads the page again, and nothing comes from elsewhere."""
    asked: set[str] = set()
    with opened(chromium, url, complaints) as page:
        page.on("request", lambda request: asked.add(request.url))
        page.reload()
        page.get_by_role("row", name="jobs.done 17").wait_for()
        page.get_by_role("row", name='with ["a", null]').wait_for()
        wait_for_bars(page, "disk.free", "jobs.done", "jobs.failed")

        page.evaluate("window.untouched = true")
        writer.change(set={"jobs.done": 18, "jobs.waiting": 4}, delete=["service.state"])
        page.get_by_role("row", name="jobs.done 18").wait_for()
        wait_for_bars(page, "disk.free", "jobs.done", "jobs.failed", "jobs.waiting")
        assert page.get_by_role("row", name="service.state").count() == 0
        assert page.get_by_role("status").inner_text() == "5 keys"
        assert page.evaluate("window.untouched") is True
        shot(page, "dashboard")
    assert {address for address in asked if not address.startswith((url, "data:", "blob:"))} == set()
    assert complaints == []


def test_what_somebody_wrote_runs_nowhere(
    chromium: Browser, url: str, writer: ContextClient, complaints: list[str]
) -> None:
    """Neither as a key nor as a value, neither in the table nor in the chart, which has a markup of its own."""
    link, short = "<a href='//a'>here</a>", "<img src=x onerror='x'>"
    writer.change(set={HOSTILE: HOSTILE, short: 5, link: 7, "<b>fat</b>": 9, "&lt;i&gt;": 11})
    with opened(chromium, url, complaints) as page:
        page.get_by_role("cell", name=HOSTILE).first.wait_for()
        wait_for_bars(page, "&lt;i&gt;", link, "<b>fat</b>", short, "disk.free", "jobs.done", "jobs.failed")
        assert page.locator("main a, main img, main script, #numbers [style*='bold']").count() == 0
        assert page.title() == "Context"
        shot(page, "dashboard-hostile")
    assert complaints == []


def test_a_server_that_goes_away_is_told_of_and_found_again(
    chromium: Browser, url: str, own: Server, writer: ContextClient, complaints: list[str]
) -> None:
    """What was seen before is not shown as if it were so now."""
    with opened(chromium, url, complaints) as page:
        own.stop()
        page.get_by_text(f"no server answers at {own.url}").wait_for()
        assert page.locator("tbody tr").count() == 0
        assert not page.locator("#numbers").is_visible()
        shot(page, "dashboard-away")

        own.start()
        writer.set("service.state", "back")
        page.get_by_role("row", name="service.state back").wait_for()
        wait_for_bars(page, "disk.free", "jobs.done", "jobs.failed")
        assert page.get_by_role("status").inner_text() == "5 keys"
    assert complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(
    chromium: Browser, url: str, writer: ContextClient, complaints: list[str], scheme: str
) -> None:
    """However long a key or a value is."""
    writer.change(set={"a.key.that.is.rather.long.for.a.phone.to.show.beside.a.bar": 12, "long": "word" * 80})
    with opened(chromium, url, complaints, viewport=PHONE, color_scheme=scheme) as page:
        wait_for_bars(page, "a.key.that.is.rather.lon…", "disk.free", "jobs.done", "jobs.failed")
        shot(page, f"dashboard-phone-{scheme}")
        assert is_within(page)
    assert complaints == []


def test_an_address_that_is_none_is_said() -> None:
    """Before anything is served."""
    environment = os.environ | {"ISOLATION_URL": "nowhere"}
    done = subprocess.run(
        [sys.executable, APP], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr.splitlines()[0]) == (1, "'nowhere' is no address of a server")
