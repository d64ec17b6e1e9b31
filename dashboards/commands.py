"""The commands that read results: the same under ``python -m dashboards`` and under ``stablesweep``."""

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dashboards import options

if TYPE_CHECKING:
    from dashboards.studies import Studies

Command = TypeVar("Command", bound=Callable[..., Any])
Decorator = Callable[[Any], Any]


class OneSentenceErrors(click.Group):
    """Ends a command with the error's sentence and exit code 1, and says warnings in one line each."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        with plain_warnings(), one_sentence():
            return super().invoke(ctx)


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Inside the block our warnings go to the error stream as a sentence, without the line of code they come from."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: click.echo(f"Warning: {message}", err=True)
        yield


@contextmanager
def one_sentence() -> Iterator[None]:
    """An error that names its cause ends the command with that sentence."""
    try:
        yield
    except ValueError as error:
        sentence = str(error)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sentence = f"{where}{error.strerror or error}; choose another place, or make room."
    else:
        return
    click.echo(f"Error: {sentence}", err=True)
    sys.exit(1)


def reading_commands(place: Decorator, study: Decorator) -> list[click.Command]:
    """The commands ``export``, ``figures``, ``import`` and ``dashboard``.

    Args:
        place: A decorator that adds the options which say where studies are, and gives the command a keyword argument
            ``studies`` (:class:`dashboards.studies.Studies`).
        study: The argument ``study``.
    """
    return [_export(place, study), _figures(place, study), _import(place), _dashboard(place)]


def _export(place: Decorator, study: Decorator) -> click.Command:
    @click.command()
    @study
    @place
    @options.table_option
    @options.curves_option
    @options.more_studies
    @options.where_option
    def export(
        study: str, studies: "Studies", out: Path, curves: bool, more: Sequence[str], where: Sequence[str]
    ) -> None:
        """Write the trials table (or the curves) of STUDY to a file."""
        from dashboards.tables import write_table

        with one_sentence():
            record = studies.read([study, *more], where)
            table = record.curves if curves else record.trials
            write_table(table, out)
        click.echo(f"{out}: {table.num_rows} {'rows' if curves else 'trials'}")

    return export


def _figures(place: Decorator, study: Decorator) -> click.Command:
    @click.command()
    @study
    @place
    @click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="A folder.")
    @options.format_option
    @options.more_studies
    @options.where_option
    def figures(
        study: str, studies: "Studies", out: Path, formats: Sequence[str], more: Sequence[str], where: Sequence[str]
    ) -> None:
        """Write each figure of STUDY's report at publication size. Needs a Chrome or Chromium."""
        from dashboards.figures.export import write_figures

        with one_sentence():
            written = write_figures(studies.read([study, *more], where), out, formats=formats)
        for path in written:
            click.echo(path)

    return figures


def _import(place: Decorator) -> click.Command:
    @click.command(name="import")
    @click.argument("source")
    @place
    @options.import_options
    def import_(source: str, studies: "Studies", **said: Any) -> None:
        """Take over results of another tool: SOURCE is a .csv, .parquet or .arrow file, an Optuna storage or a Ray Tune folder."""
        with one_sentence():
            click.echo(import_study(studies, source, said))

    return import_


def _dashboard(place: Decorator) -> click.Command:
    @click.command()
    @place
    @options.host_option
    @options.port_option
    @options.open_option
    def dashboard(studies: "Studies", host: str, port: int, open_browser: bool) -> None:
        """Open the live web app: studies, progress, stability, comparison, leaderboards, trials."""
        from dashboards.app import serve

        with one_sentence():
            serve(
                studies.tracking_uri,
                host=host,
                port=port,
                open_browser=open_browser,
                snapshots=studies.snapshots,
                imports=studies.imports,
            )

    return dashboard


def import_study(studies: "Studies", source: str, said: Mapping[str, Any]) -> str:
    """Import and save; returns a line that says what came in."""
    from dashboards.imports import import_results, save_import

    if studies.imports is None:
        raise ValueError("There is no folder for imported studies; give one with --imports.")
    name, replace = str(said["name"]), bool(said["replace"])
    given = {key: value for key, value in said.items() if key not in ("name", "replace") and value not in (None, ())}
    for option in ("columns", "statuses"):
        if option in given:
            given[option] = options.pairs_of(option, given[option])
    given["studies"] = given.pop("optuna_studies", ())
    record = import_results(source, name=name, **given)
    studies.imports.mkdir(parents=True, exist_ok=True)
    save_import(record, studies.imports / name, options=given, replace=replace)
    return f"{name}: {record.trials.num_rows} trials imported; see them with `report {name}` or `dashboard`"
