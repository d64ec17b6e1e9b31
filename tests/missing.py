"""Programs that some tests need and that not every machine has."""

import os
from typing import NoReturn

import pytest


def lacks(message: str) -> NoReturn:
    """Skips the test; fails it where ``CI`` is set, where all of them must be installed."""
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)
