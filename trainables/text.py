"""Texts for messages."""


def one_line(error: Exception, limit: int = 300) -> str:
    """``Type: message`` of an exception, blanks collapsed, at most ``limit`` characters."""
    text = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(": ")
    return text if len(text) <= limit else text[: limit - 1] + "…"
