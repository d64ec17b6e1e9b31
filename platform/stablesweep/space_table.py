"""The built-in search spaces as a text table."""

from dashboards.terminal import text_table
from search_spaces import PAPER_BATCH_SIZE, LogUniform
from search_spaces.named import PAPER_SOURCE, NamedSpace, named_spaces


def render_spaces() -> str:
    """The spaces that are built in, a line for each dimension, as text of at most 120 columns."""
    header = ["space", "dimension", "centre", "from", "to", "law"]
    rows = [cells for space in named_spaces().values() for cells in _rows(space)]
    return (
        f"{text_table(header, rows, left=2)}\n\n"
        f"Source: {PAPER_SOURCE}; learning rates are for batches of {PAPER_BATCH_SIZE} images.\n"
        "An interval is centre/8 to centre*4, rounded as in the paper; the law is our choice, the paper gives none.\n"
        "In a study: space: {adamw: paper/vit/adamw, sgd: paper/vit/sgd}"
    )


def _rows(named: NamedSpace) -> list[list[str]]:
    rows = []
    for dimension, distribution in named.space.items():
        assert isinstance(distribution, LogUniform)
        numbers = (named.centres[dimension], distribution.low, distribution.high)
        rows.append([named.name, dimension, *(f"{number:g}" for number in numbers), "log-uniform"])
    return rows
