"""What a test needs and a machine may lack."""

import os
from typing import NoReturn

import pytest


def lacks(message: str) -> NoReturn:
    """Skip the test with this message; fail it where ``CI`` is set: there everything must be."""
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)
