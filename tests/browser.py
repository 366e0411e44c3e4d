"""A real browser, headless: what a page shows, which errors it prints, what a click changes.

Chromium is the system's (`apt-get install chromium`); where there is none the tests that need it are
skipped, and fail in CI.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def program() -> str:
    """The browser's path; without one the test is skipped, or fails in CI."""
    found = next((path for path in map(shutil.which, NAMES) if path), None)
    if found is None:
        missing = "no browser: apt-get install chromium"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    return found


@contextmanager
def started() -> Iterator[Browser]:
    """A headless browser, which keeps nothing and ends with the block."""
    path = program()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Browser, width: int = 1500, height: int = 1000) -> Iterator[tuple[Page, list[str]]]:
    """An empty page of that size in CSS pixels, and the errors that it prints, as they come."""
    page = browser.new_page(viewport={"width": width, "height": height})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    try:
        yield page, errors
    finally:
        page.close()
