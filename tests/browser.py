"""The browser that the tests drive."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.missing import lacks
from tests.waiting import PATIENCE_S, wait_until

expect.set_options(timeout=1000 * PATIENCE_S)


def chromium_program() -> str:
    """Where Chromium is; without one the test is skipped, and fails where ``CI`` is set."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        lacks("no Chromium on PATH: apt-get install chromium")
    return found


@contextmanager
def running_chromium() -> Iterator[Browser]:
    """Chromium, while the block runs; see :func:`chromium_program` for where there is none."""
    program = chromium_program()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


def patient_page(context: BrowserContext) -> Page:
    """A new page that waits long for what it is asked for."""
    page = context.new_page()
    page.set_default_timeout(1000 * PATIENCE_S)
    return page


def until(page: Page, holds: Callable[[], object], what: str) -> None:
    """Wait until it holds, while the page goes on drawing."""
    wait_until(holds, what, pause=lambda seconds: page.wait_for_timeout(1000 * seconds))
