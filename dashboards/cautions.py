"""Warnings in the name of whoever called this package."""

import sys
import warnings


def warn_caller(message: str) -> None:
    """Warns (``UserWarning``) at the first line up the stack that is not of this package."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] == "dashboards":
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)
