"""Options that the commands of :mod:`dashboards` and of ``stablesweep`` share."""

from collections.abc import Callable, Sequence
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
port_option = click.option(
    "--port", type=click.IntRange(0, 65535), default=8265, show_default=True, help="Port; 0 takes a free one."
)
open_option = click.option("--open", "open_browser", is_flag=True, help="Open it in the browser.")


def import_options(command: Command) -> Command:
    """The options of ``import``."""
    for option in reversed(_IMPORT_OPTIONS):
        command = option(command)
    return command


def pairs_of(name: str, pairs: Sequence[str]) -> dict[str, str]:
    """``KEY=VALUE`` pairs as a mapping.

    Raises:
        ValueError: If one has no ``=``; names the option as it is typed.
    """
    wrong = [pair for pair in pairs if "=" not in pair]
    if wrong:
        typed = _TYPED.get(name, name)
        raise ValueError(f"--{typed}: got {wrong[0]!r}, expected a pair with '=', see `import --help`.")
    return dict(pair.split("=", 1) for pair in pairs)


_TYPED = {"columns": "column", "statuses": "status"}
"""How an option is typed that may be repeated, by the name of all its values."""

_IMPORT_OPTIONS = (
    click.option("--name", required=True, help="What the study is to be called here."),
    click.option("--replace", is_flag=True, help="Replace an import of this name."),
    click.option("--kind", type=click.Choice(("table", "optuna", "ray_tune")), help="[default: by file or folder]"),
    click.option(
        "--column",
        "columns",
        multiple=True,
        metavar="ROLE=COLUMN",
        help="Which column (parameter, metric) is what, e.g. --column error=val_err --column arm=config. Roles: error or "
        "accuracy, arm, model, optimizer, draw, status, epochs, seed, sampler, ...; may be repeated.",
    ),
    click.option(
        "--hyperparameter",
        "hyperparameters",
        multiple=True,
        metavar="COLUMN",
        help="A hyperparameter; may be repeated. [default: every column without a role]",
    ),
    click.option(
        "--sampler",
        metavar="NAME",
        help="How settings were drawn: random, sobol, halton, grid, or another name. Without it, or a column that says so, "
        "the trials enter no distribution.",
    ),
    click.option("--arm", metavar="MODEL/OPTIMIZER", help="The arm of all trials, where no column says so."),
    click.option("--phase", default="stability", show_default=True, help="The phase, where no column says so."),
    click.option("--epochs", type=click.IntRange(min=1), help="Epochs asked for, where no column says so."),
    click.option(
        "--error-scale",
        type=click.Choice(("percent", "fraction")),
        default="percent",
        show_default=True,
        help="Of errors.",
    ),
    click.option(
        "--missing",
        type=click.Choice(("failed", "diverged")),
        default="failed",
        show_default=True,
        help="What a finished trial without a number is.",
    ),
    click.option(
        "--short",
        type=click.Choice(("pruned", "completed")),
        default="pruned",
        show_default=True,
        help="What a trial of Ray Tune is that ended early.",
    ),
    click.option(
        "--status", "statuses", multiple=True, metavar="THEIRS=OURS", help="What a status means; may be repeated."
    ),
    click.option(
        "--optuna-study",
        "optuna_studies",
        multiple=True,
        metavar="NAME",
        help="A study of the storage. [default: all, one an arm]",
    ),
    click.option("--delimiter", help="Between the fields of a text file. [default: comma, in .tsv tab]"),
)
