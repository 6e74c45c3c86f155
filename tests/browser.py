"""A real Chromium, Debian's, and what tests of pages look at in it."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

    from tests.service.server import Server

SHOTS = Path(__file__).parents[1] / "build" / "screenshots"
HOSTILE = "<script>document.title='taken'</script><img src=x onerror=document.title='taken'>"
PHONE = {"width": 390, "height": 800}


@contextmanager
def running_chromium() -> Iterator[Browser]:
    """Run it for the block."""
    path = shutil.which("chromium")
    if path is None:
        pytest.fail("Chromium is not there; scripts/chromium installs it", pytrace=False)
    with sync_playwright() as playwright:
        # Its own sandbox wants what root in a container does not have; nothing but our own pages is loaded.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def heed(page: Page, told: list[str]) -> None:
    """Have what the browser complains of put into a list."""
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("console", lambda message: told.append(message.text) if message.type in {"error", "warning"} else None)


def come_in(page: Page, server: Server, told: list[str]) -> None:
    """Show a server's page to its operator; what the browser complains of is put into a list."""
    heed(page, told)
    page.goto(server.url)
    page.get_by_label("Token").fill(server.token)
    page.get_by_role("button", name="Come in").click()
    page.get_by_role("heading", name="Runs").wait_for()


def shot(page: Page, name: str) -> None:
    """Keep a picture, for whoever wants to look."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png", full_page=True)


def is_within(page: Page) -> bool:
    """Tell whether nothing sticks out to the right."""
    fits: bool = page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    return fits
