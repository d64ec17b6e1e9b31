"""The browser that the tests drive."""

import shutil
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.missing import lacks
from tests.waiting import PATIENCE_S, wait_until

expect.set_options(timeout=1000 * PATIENCE_S)


def chromium_program() -> str:
    """Where Chromium is; without one the test is skipped, and fails where ``CI`` is set."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        lacks("no Chromium on PATH: apt-get install chromium")
    return found


def until(page: Page, holds: Callable[[], object], what: str) -> None:
    """Wait until it holds, while the page goes on drawing."""
    wait_until(holds, what, pause=lambda seconds: page.wait_for_timeout(1000 * seconds))
