"""Options that the commands of :mod:`dashboards` and of ``stablesweep`` share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

PICTURE_FORMATS = ("png", "svg", "pdf")

more_studies = click.option(
    "--study", "more", multiple=True, metavar="NAME", help="A further study, merged with the first; may be repeated."
)
where_option = click.option(
    "--where",
    multiple=True,
    metavar="CONDITION",
    help="Keep trials that fulfil it, e.g. --where 'lr<0.01' --where optimizer=sgd; may be repeated.",
)
published_option = click.option(
    "--published", is_flag=True, help="Show the published figures of arXiv:2106.14881 beside the peak leaderboard."
)
format_option = click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(PICTURE_FORMATS),
    default=("pdf",),
    show_default=True,
    help="May be repeated.",
)
table_option = click.option(
    "--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="A .parquet, .arrow or .csv file."
)
curves_option = click.option("--curves", is_flag=True, help="The learning curves instead: one row a trial and epoch.")
host_option = click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
port_option = click.option("--port", default=8265, show_default=True, help="Port; 0 takes a free one.")
open_option = click.option("--open", "open_browser", is_flag=True, help="Open it in the browser.")


def import_options(command: Command) -> Command:
    """The options of ``import``."""
    for option in reversed(_IMPORT_OPTIONS):
        command = option(command)
    return command


def columns_of(pairs: tuple[str, ...]) -> dict[str, str]:
    """``MEANING=COLUMN`` pairs as a mapping.

    Raises:
        ValueError: If one has no ``=``.
    """
    wrong = [pair for pair in pairs if "=" not in pair]
    if wrong:
        raise ValueError(f"--column: got {wrong[0]!r}, expected MEANING=COLUMN, e.g. --column error=val_error.")
    return dict(pair.split("=", 1) for pair in pairs)


_IMPORT_OPTIONS = ()
