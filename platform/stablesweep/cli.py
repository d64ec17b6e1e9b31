"""The command line. Each command imports what it needs when it is called, so that ``--help`` is quick."""

import functools
import shlex
import shutil
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dashboards import options
from dashboards.commands import plain_warnings, reading_commands
from dashboards.formats import without_password
from stablesweep import __version__
from stablesweep.command_options import (
    home_option,
    set_option,
    storage_option,
    study_argument,
    wait_for_nodes_option,
)
from stablesweep.doctor.command import doctor
from stablesweep.errors import INTERRUPTED, StablesweepError, TrackingError, still_unpublished
from stablesweep.home import TRACKING_VARIABLE, Home, in_ray_job
from stablesweep.job_commands import JOB_COMMANDS, address_option, echo_job

if TYPE_CHECKING:
    from rich.console import Console

Result = TypeVar("Result")


class _OneSentenceErrors(click.Group):
    """Ends a command with the error's sentence and exit code; what is not expected stays a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            with plain_warnings():
                return super().invoke(ctx)
        except StablesweepError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(error.exit_code)
        except KeyboardInterrupt:
            click.echo("Stopped at once; run the same command again to continue.", err=True)
            sys.exit(INTERRUPTED)


@click.group(cls=_OneSentenceErrors, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="stablesweep")
def main() -> None:
    """How carefully must a model's learning rate and weight decay be chosen?"""


@main.command()
@click.argument("study", default="quickstart")
@home_option
@set_option
@click.option("--retry-lost", is_flag=True, help="Train trials again that were lost with a machine or a process.")
@storage_option
@wait_for_nodes_option
def run(
    study: str,
    home: Path | None,
    settings: Sequence[str],
    retry_lost: bool,
    storage: str | None,
    wait_for_nodes: bool,
) -> None:
    """Run or continue STUDY: a YAML file or a built-in name.

    Finished trials are never run twice. Ctrl-C stops after a checkpoint; twice stops at once.
    """
    from stablesweep.run import run_study
    from stablesweep.stopping import sigterm_interrupts
    from stablesweep.study_file import load_study

    # Before training there is no checkpoint to wait for.
    sigterm_interrupts()
    place = Home.at(home)
    loaded = load_study(study, settings)
    console = _console()
    if in_ray_job():
        click.echo(f"Everything that the study writes goes to {place.path} on {socket.gethostname()}.")
    outcome = run_study(
        loaded,
        place,
        console,
        source=study,
        retry_lost=retry_lost,
        storage=storage,
        wait_for_nodes=wait_for_nodes,
    )
    if outcome.unpublished is not None:
        raise TrackingError(still_unpublished(place, loaded.name, outcome.unpublished))
    _show_results(place, loaded.name, outcome.timing)
    if outcome.skipped:
        count = len(outcome.skipped)
        which = f"1 sample of the dataset was left out: {outcome.skipped[0]}"
        if count > 1:
            which = f"{count} samples of the dataset were left out, e.g. {outcome.skipped[0]}"
        click.echo(f"{which}.", err=True)
    if outcome.unfinished:
        click.echo(f"Stopped: {outcome.unfinished} trials are left; run the same command again to continue.")
        sys.exit(INTERRUPTED)
    if outcome.lost:
        reasons = "; ".join(outcome.lost_reasons[:3])
        click.echo(f"{outcome.lost} trials were lost ({reasons}); `run --retry-lost` trains them again.", err=True)
        sys.exit(1)


def _console() -> "Console":
    from rich.console import Console

    return Console()


def _show_results(home: Home, name: str, timing: dict[str, float]) -> None:
    import dataclasses

    from dashboards.summary import render_summary
    from stablesweep.reporting import make_report

    report = _reading(lambda: make_report(home, name))
    total = timing.get("total", 0.0) + report.seconds
    shown = dataclasses.replace(report.summary, timing={**timing, "report": report.seconds, "total": total})
    click.echo()
    click.echo(render_summary(shown))
    click.echo(f"Report: {report.path}")
    click.echo(f"Web app: {_callable('stablesweep')} dashboard{_home_option(home)}")
    click.echo(f"MLflow: {_browse_command(home)}")


def _home_option(home: Home) -> str:
    """What a command needs to find this home from here; empty if it finds it by itself."""
    return "" if Home.at().path == home.path else f" --home {shlex.quote(str(home.path))}"


def _browse_command(home: Home) -> str:
    uri = home.tracking_uri
    if uri.startswith("http"):
        return without_password(uri)
    # A password is not printed: the shell puts it in.
    shown = uri if without_password(uri) == uri else f'"${TRACKING_VARIABLE}"'
    return f"{_callable('mlflow')} ui --backend-store-uri {shown}"


def _callable(command: str) -> str:
    """How a command of this environment is called: by its name, unless the environment is not activated."""
    beside = Path(sys.executable).with_name(command)
    return command if shutil.which(command) or not beside.exists() else shlex.quote(str(beside))


def _reading(read: Callable[[], Result]) -> Result:
    """Call ``read``; an MLflow that cannot be read ends the command with its sentence."""
    try:
        return read()
    except ValueError as error:
        raise StablesweepError(str(error)) from error


@main.command()
@click.argument("study", default="quickstart")
@home_option
@set_option
@click.option(
    "--calibrate", is_flag=True, help="Also train each arm for some ten seconds here, to say how long all takes."
)
def plan(study: str, home: Path | None, settings: Sequence[str], calibrate: bool) -> None:
    """Show what `run STUDY` would do and cost: arms, trials, packs, images, PFLOP, disk. Writes nothing."""
    from rich.console import Console

    from stablesweep.estimate import find_data
    from stablesweep.plan import make_plan
    from stablesweep.plan_text import render_plan
    from stablesweep.plan_times import measure_times
    from stablesweep.study_file import load_study

    loaded, place = load_study(study, settings), Home.at(home)
    found = find_data(loaded)
    planned = make_plan(loaded, place, found)
    # To the error stream, so that the plan alone goes into a file or a pipe.
    times = measure_times(loaded, planned, found, Console(stderr=True)) if calibrate else None
    click.echo(render_plan(planned, times))
    if calibrate and times is None:
        click.echo(f"Nothing was timed: {planned.uncounted or 'no trial is left to train'}.", err=True)


@main.command()
@study_argument
@home_option
@address_option
def status(study: str, home: Path | None, address: str | None) -> None:
    """Show what is done, running, diverged, failed and lost. STUDY is a name, or a study file.

    Of a study that was submitted to a cluster, the state of its job.
    """
    from stablesweep.status import read_status, render_status

    place = Home.at(home)
    if echo_job(place, study, address):
        if not place.study(study).ledger.exists():
            return
        click.echo(f"\nIn {place.path}, on this machine:\n")
    click.echo(render_status(read_status(place, study)))


@main.command(name="list")
@home_option
def list_studies(home: Path | None) -> None:
    """List the studies in this home."""
    from stablesweep.status import read_status, render_list

    place = Home.at(home)
    click.echo(render_list(place, [read_status(place, name) for name in place.study_names()]))


def in_home(command: Callable[..., Any]) -> Any:
    """Adds ``--home`` to a command that reads results, and gives it the studies that are found there."""

    @home_option
    @functools.wraps(command)
    def wrapped(*arguments: Any, home: Path | None, **more: Any) -> Any:
        return command(*arguments, studies=Home.at(home).studies(), **more)

    return wrapped


for shared in reading_commands(in_home, study_argument):
    main.add_command(shared)
for about_jobs in JOB_COMMANDS:
    main.add_command(about_jobs)
main.add_command(doctor)


@main.command()
@study_argument
@home_option
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Where to write. [default: in the home]")
@options.more_studies
@options.where_option
@options.published_option
def report(
    study: str, home: Path | None, out: Path | None, more: Sequence[str], where: Sequence[str], published: bool
) -> None:
    """Write STUDY's report, one self-contained HTML file; of a whole study, log it to MLflow as well."""
    from stablesweep.reporting import make_report

    written = _reading(lambda: make_report(Home.at(home), study, out, more=more, where=where, published=published))
    click.echo(f"Report: {written.path}")


@main.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--measure", is_flag=True, help="Also measure images per second and memory on this device; takes minutes."
)
def models(names: Sequence[str], measure: bool) -> None:
    """List the built-in models, or those NAMEd, with their cost beside the paper's figures."""
    from rich.console import Console

    from stablesweep import model_table as table

    # To the error stream, so that the table alone goes into a file or a pipe.
    console = Console(stderr=True)
    settings = _reading(lambda: table.model_settings(names))
    counting = table.shown_one_by_one(settings, "counting", console, lines=False)
    click.echo(table.render_models(_reading(lambda: [table.count_model(setting) for setting in counting])))
    if measure:
        measuring = table.shown_one_by_one(settings, "measuring", console, lines=True)
        click.echo()
        click.echo(table.render_measurements([table.measure_setting(setting) for setting in measuring]))


@main.command()
def spaces() -> None:
    """List the named search spaces: the paper's intervals, for use in a study."""
    from stablesweep.space_table import render_spaces

    click.echo(render_spaces())
