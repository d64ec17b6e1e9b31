"""Ctrl-C: once asks for a clean stop, twice stops at once."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


def sigterm_interrupts() -> None:
    """From now on SIGTERM raises KeyboardInterrupt, as SIGINT does. Outside the main thread nothing changes."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)


@contextlib.contextmanager
def stop_on_signal(stop: threading.Event) -> Iterator[None]:
    """Set ``stop`` on the first SIGINT or SIGTERM; the second SIGINT raises KeyboardInterrupt.

    Outside the main thread (a notebook's helper, say) signals cannot be caught, and nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(signum: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
