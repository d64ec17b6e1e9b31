"""The browser that the tests drive."""

import os
import shutil

import pytest


def chromium_program() -> str:
    """Where Chromium is; without one the test is skipped, and fails where ``CI`` is set."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        message = "no Chromium on PATH: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found
