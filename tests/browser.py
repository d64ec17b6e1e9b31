"""The browser that the tests drive."""

import shutil

from tests.missing import lacks


def chromium_program() -> str:
    """Where Chromium is; without one the test is skipped, and fails where ``CI`` is set."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        lacks("no Chromium on PATH: apt-get install chromium")
    return found
