"""Texts for messages."""

import re

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def one_line(error: Exception, limit: int = 300) -> str:
    """``Type: message`` of an exception, blanks collapsed, at most ``limit`` characters.

    Addresses in memory are left out: the same problem gives the same text in every process.
    """
    text = printable(_ADDRESS.sub("", " ".join(f"{type(error).__name__}: {error}".split())).rstrip(": "))
    return text if len(text) <= limit else text[: limit - 1] + "…"


def printable(text: str) -> str:
    """``text`` without what a terminal obeys or no file can hold (control characters, lone surrogates); as long as before."""
    return "".join(letter if letter.isprintable() else " " if letter.isspace() else "\ufffd" for letter in text)
