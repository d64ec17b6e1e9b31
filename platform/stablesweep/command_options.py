"""What several commands have in common."""

from pathlib import Path

import click

from stablesweep.home import DEFAULT_HOME, HOME_VARIABLE

home_option = click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    help=f"Folder for everything that studies write. [default: ${HOME_VARIABLE} or ./{DEFAULT_HOME}]",
)
storage_option = click.option(
    "--storage",
    metavar="PLACE",
    help="Folder for checkpoints that all nodes see: a path, or a URI such as s3://bucket/folder. "
    "[default: $STABLESWEEP_STORAGE or in the home]",
)
wait_for_nodes_option = click.option(
    "--wait-for-nodes",
    is_flag=True,
    help="Wait for nodes to join the cluster where no pack fits, as one that grows does.",
)
set_option = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a key of the study, e.g. --set pack.size=4; may be repeated.",
)


def study_name(study: str) -> str:
    """The name of a study that is given by its name or by its file."""
    if not Path(study).suffix or not Path(study).is_file():
        return study
    from stablesweep.study_file import load_study

    return load_study(study).name


def _named(_context: click.Context, _parameter: click.Parameter, study: str) -> str:
    return study_name(study)


study_argument = click.argument("study", default="quickstart", callback=_named)
