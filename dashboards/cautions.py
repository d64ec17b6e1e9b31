"""Warnings in the name of whoever called this package."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_kept: ContextVar[list[str] | None] = ContextVar("_kept", default=None)


def warn_caller(message: str) -> None:
    """Warns (``UserWarning``) at the first line up the stack that is not of this package; see :func:`kept_cautions`."""
    kept = _kept.get()
    if kept is not None:
        kept.append(message)
        return
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] == "dashboards":
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)


@contextmanager
def kept_cautions() -> Iterator[list[str]]:
    """Inside the block and thread, :func:`warn_caller` adds to the list instead: to be said later, or often."""
    kept: list[str] = []
    token = _kept.set(kept)
    try:
        yield kept
    finally:
        _kept.reset(token)
