"""The page in a real Chromium: it works by mouse and keyboard, says nothing of errors, and fits a phone."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser import HOSTILE, PHONE, come_in, is_within, shot
from tests.service.server import ISOLATION, Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext, Page

pytestmark = [pytest.mark.slow, pytest.mark.engine]

ROOT = Path(__file__).parents[2]
RECIPES = {"quickstart": 0, "gallery/sleeps-for-ever": 1, "gallery/exits": 1}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, engine: None) -> Iterator[Server]:  # noqa: ARG001 - it fails without an engine
    """A server whose state folder has runs and a context."""
    state = tmp_path_factory.mktemp("browser")
    for recipe, code in RECIPES.items():
        command = [ISOLATION, "--state", str(state), "run", str(ROOT / "recipes" / recipe), "--quiet"]
        assert subprocess.run(command, capture_output=True, check=False).returncode == code, recipe
    command = [ISOLATION, "--state", str(state), "context", "set", "hostile", HOSTILE, "--string", "--who", HOSTILE]
    subprocess.run(command, capture_output=True, check=True)
    with Server(state, "--slots", "0") as server:
        yield server


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    context = chromium.new_context(viewport={"width": 1200, "height": 900})
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, server: Server, complaints: list[str]) -> Page:
    """A page of somebody who came in."""
    page = context.new_page()
    come_in(page, server, complaints)
    return page


def test_a_run_is_found_and_looked_at(page: Page, complaints: list[str]) -> None:
    """From the list to its steps, bill, usage, plots and attestation; nothing is refused by the page's own policy."""
    shot(page, "runs")
    page.get_by_role("row", name="sleeps-for-ever").get_by_role("link").click()
    page.get_by_role("heading", name="Attempt 1: timed out").wait_for()
    page.locator(".uplot canvas").nth(3).wait_for()
    page.get_by_text("Attestation:").click()
    page.get_by_role("row", name="seccomp").first.wait_for()
    shot(page, "run")
    assert page.get_by_role("cell", name="512 MiB").count() >= 1
    assert complaints == []


def test_a_run_is_replayed_and_compared(page: Page, complaints: list[str]) -> None:
    """By two clicks; here nobody takes it from the queue, so that it waits, and can be cancelled."""
    page.get_by_role("row", name="quickstart").last.get_by_role("link").click()
    page.get_by_label("Compare with").fill(page.locator("code").first.inner_text())
    page.get_by_role("button", name="Diff").click()
    page.get_by_role("heading", name="Two runs: identical").wait_for()
    page.go_back()
    page.get_by_role("button", name="Replay").click()
    page.get_by_text("queued").first.wait_for()
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("cancelled").first.wait_for()
    assert complaints == []


def test_what_a_recipe_wrote_runs_nowhere(page: Page, complaints: list[str]) -> None:
    """Neither in a table, nor in a history."""
    page.get_by_role("link", name="Context").click()
    page.get_by_role("link", name="hostile").click()
    page.get_by_role("heading", name="hostile").wait_for()
    shot(page, "history")
    assert HOSTILE in page.get_by_role("row").nth(1).inner_text()
    assert page.title().startswith("hostile")
    assert complaints == []


def test_the_context_changes_before_ones_eyes(page: Page, server: Server, complaints: list[str]) -> None:
    """What somebody else writes is there without a click."""
    page.get_by_role("link", name="Context").click()
    with server.client() as client:
        client.put("/v1/context/entry", params={"key": "new.key"}, json={"value": "by somebody else"})
    page.get_by_text("by somebody else").wait_for()
    assert complaints == []


def test_it_is_all_there_by_keyboard(page: Page) -> None:
    """The first stop is the way past the header; each further one is seen."""
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()  # the browser moves there once it has drawn
    page.keyboard.press("Tab")
    field = page.get_by_label("Recipe")
    expect(field).to_be_focused()
    expect(field).to_have_css("outline-style", "solid")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(chromium: Browser, page: Page, server: Server, scheme: str) -> None:
    """What is wide scrolls by itself, and the page does not."""
    paths = [
        page.get_by_role("row", name="quickstart").last.get_by_role("link").get_attribute("href"),
        "/",
        "/context",
        "/policies",
        "/host",
    ]
    options = {"viewport": PHONE, "color_scheme": scheme, "storage_state": page.context.storage_state()}
    phone = chromium.new_context(**options)  # type: ignore[arg-type]
    small = phone.new_page()
    for path in paths:
        small.goto(f"{server.url}{path}")
        shot(small, f"phone-{scheme}-{'run' if '/runs/' in str(path) else str(path).strip('/') or 'runs'}")
        assert is_within(small), path
    phone.close()


def test_what_is_shown_has_a_name_for_those_who_hear_it(page: Page) -> None:
    """Every field has a label, every table a head, and there is one main heading."""
    page.get_by_role("row", name="quickstart").last.get_by_role("link").click()
    page.get_by_role("heading", level=1).wait_for()
    assert page.get_by_role("heading", level=1).count() == 1
    assert page.locator("html[lang]").count() == 1
    assert page.get_by_role("main").count() == page.get_by_role("banner").count() == 1
    fields = "[...document.querySelectorAll('input:not([type=hidden]), select, button')]"
    unnamed = f"{fields}.filter(field => !(field.labels?.length || field.textContent.trim()))"
    assert page.evaluate(f"{unnamed}.length") == 0


def test_who_leaves_is_gone(page: Page, server: Server) -> None:
    """The door is shown, and what was seen is not there any more."""
    page.get_by_role("button", name="Leave").click()
    page.get_by_role("heading", name="Come in").wait_for()
    page.goto(f"{server.url}/context")
    page.get_by_role("heading", name="Come in").wait_for()
