"""The browser that the tests drive."""

import shutil
import time
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.missing import lacks

# A machine that does other things besides is slow to draw.
PATIENCE_S = 30
expect.set_options(timeout=1000 * PATIENCE_S)


def chromium_program() -> str:
    """Where Chromium is; without one the test is skipped, and fails where ``CI`` is set."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        lacks("no Chromium on PATH: apt-get install chromium")
    return found


def until(page: Page, holds: Callable[[], object], what: str) -> None:
    """Wait until it holds, looking again and again: an app draws in its own time."""
    give_up = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up:
        if holds():
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"it did not come about: {what}")
