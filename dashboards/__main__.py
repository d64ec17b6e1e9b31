"""``python -m dashboards``: what a study says, on a machine that has neither torch nor ray."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dashboards import options
from dashboards.commands import OneSentenceErrors, one_sentence, reading_commands

if TYPE_CHECKING:
    from dashboards.studies import Studies


@click.group(cls=OneSentenceErrors, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """Statistics, reports and a web app from the studies on an MLflow tracking server."""


def on_server(command: Callable[..., Any]) -> Any:
    """Adds the options that name a tracking server and the folders beside it."""

    @click.option(
        "--tracking-uri", envvar="MLFLOW_TRACKING_URI", required=True, help="MLflow's. [env: MLFLOW_TRACKING_URI]"
    )
    @click.option(
        "--imports",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path("stablesweep-home/imports"),
        show_default=True,
        help="Folder of imported studies.",
    )
    @functools.wraps(command)
    def wrapped(*arguments: Any, tracking_uri: str, imports: Path, **more: Any) -> Any:
        from dashboards.studies import Studies

        return command(*arguments, studies=Studies(tracking_uri=tracking_uri, imports=imports), **more)

    return wrapped


study_argument = click.argument("study")
for shared in reading_commands(on_server, study_argument):
    main.add_command(shared)


@main.command()
@on_server
def studies(studies: "Studies") -> None:
    """List the studies."""
    with one_sentence():
        names = studies.names()
    click.echo("\n".join(names) if names else "No studies there.")


@main.command()
@study_argument
@on_server
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="An .html file.")
@options.more_studies
@options.where_option
@options.published_option
def report(
    study: str, studies: "Studies", out: Path, more: Sequence[str], where: Sequence[str], published: bool
) -> None:
    """Write STUDY's report, one self-contained HTML file, and print its summary."""
    from dashboards.report.page import write_report
    from dashboards.summary import render_summary, summarize

    with one_sentence():
        record = studies.read([study, *more], where)
        write_report(record, out, published=published)
    click.echo(render_summary(summarize(record)))
    click.echo(f"Report: {out}")


if __name__ == "__main__":
    main(prog_name="python -m dashboards")
