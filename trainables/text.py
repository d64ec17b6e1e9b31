"""Texts for messages."""

import re

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def one_line(error: Exception, limit: int = 300) -> str:
    """``Type: message`` of an exception, blanks collapsed, at most ``limit`` characters.

    Addresses in memory are left out: the same problem gives the same text in every process.
    """
    text = _ADDRESS.sub("", " ".join(f"{type(error).__name__}: {error}".split())).rstrip(": ")
    return text if len(text) <= limit else text[: limit - 1] + "…"
