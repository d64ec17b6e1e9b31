import json
from pathlib import Path

from search_spaces import space_names
from stablesweep.space_table import render_spaces

WIDTH = 120
"""Columns of the terminal that the table must fit."""


def cells() -> list[list[str]]:
    """The cells of each line of the table, without its header."""
    return [line.split() for line in render_spaces().partition("\n\n")[0].splitlines()[1:]]


def test_every_interval_is_the_papers() -> None:
    published = json.loads((Path(__file__).parent / "paper_intervals.json").read_text(encoding="utf-8"))
    found = {(row[0], row[1]): [float(row[3]), float(row[4])] for row in cells()}
    assert found == {
        (f"paper/{family}/{optimizer}", dimension): interval
        for family, optimizers in published.items()
        for optimizer, dimensions in optimizers.items()
        for dimension, interval in dimensions.items()
    }


def test_centres_are_those_that_the_intervals_were_made_around() -> None:
    # Section 5.3 of the paper: an eighth and four times a good value.
    centres = [float(row[2]) for row in cells()]
    assert centres == [2e-3, 0.2, 0.8, 3e-5, 1e-2, 0.06, 2.0, 2e-5]


def test_the_table_fits_and_says_where_it_is_from() -> None:
    output = render_spaces()
    assert max(map(len, output.splitlines())) <= WIDTH
    assert "arXiv:2106.14881, Table 4" in output
    assert "batches of 2048 images" in output
    assert {row[0] for row in cells()} == set(space_names())
