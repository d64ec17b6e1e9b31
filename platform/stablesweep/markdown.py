"""Text for MLflow's descriptions, which are Markdown with some HTML in it."""

import re
from collections.abc import Iterable, Sequence

_MARKUP = re.compile(
    r"[\\`*\[\]<>&|~!@#]"  # marks of Markdown, HTML and tables; @names and images become links and requests
    r"|(?<![^\W_])_|_(?![^\W_])"  # an underscore within a word is a letter
    r"|:(?=//)|(?<=\bwww)\."  # bare addresses
    r"|^[-+=:]"  # an item of a list, a rule
)
_NUMBERED = re.compile(r"^(\d+)([.)])(?=\s)")


def escaped(text: str) -> str:
    """``text`` so that it is shown as it is, on one line: what could be markup becomes a character reference."""
    one_line = " ".join(text.split())
    marked = _MARKUP.sub(lambda match: "".join(f"&#{ord(letter)};" for letter in match[0]), one_line)
    return _NUMBERED.sub(lambda match: f"{match[1]}&#{ord(match[2])};", marked)


def table(header: Sequence[str], rows: Iterable[Sequence[str]], numbers_from: int = 1) -> str:
    """A table of cells that are Markdown already; those from column ``numbers_from`` on to the right."""
    rule = ["---" if place < numbers_from else "---:" for place in range(len(header))]
    # MLflow's pages set columns without a gap between them.
    lines = [[*cells[:numbers_from], *(f"&emsp;{cell}" for cell in cells[numbers_from:])] for cells in (header, *rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (lines[0], rule, *lines[1:]))


def with_part(before: str, part: str, marker: str) -> str:
    """A description that begins with ``part``, followed by what people wrote themselves.

    Args:
        before: The description as it is now.
        part: Ours, anew.
        marker: A line that ends our part and is not shown; all before it is replaced. Without it, all is theirs.
    """
    ours, found, rest = before.partition(marker)
    theirs = (rest if found else ours).strip()
    return f"{part}\n\n{marker}\n\n{theirs}".strip()
