"""Waiting for what comes about in its own time, however busy the machine is."""

import time
from collections.abc import Callable

PATIENCE_S = 60


def wait_until(
    holds: Callable[[], object],
    what: str = "what is waited for",
    *,
    within_s: float = PATIENCE_S,
    pause: Callable[[float], object] = time.sleep,
) -> None:
    """Ask again and again until it holds; the test fails if it does not within so many seconds.

    Args:
        holds: Whether it is so.
        what: For the message.
        within_s: Seconds.
        pause: Passes so many seconds.
    """
    give_up = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < give_up, f"not within {within_s:g} s: {what}"
        pause(0.05)
