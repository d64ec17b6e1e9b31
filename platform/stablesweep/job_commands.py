"""The commands about studies that run as Ray jobs: ``submit``, ``logs`` and ``stop``, and the job in ``status``."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stablesweep.command_options import (
    home_option,
    set_option,
    study_argument,
    wait_for_nodes_option,
)
from stablesweep.errors import INTERRUPTED, StablesweepError
from stablesweep.home import Home, in_ray_job

if TYPE_CHECKING:
    from stablesweep.submission.client import JobServer

address_option = click.option(
    "--address",
    metavar="URL",
    help="The cluster's job server, http://HOST:8265; finds the newest job of STUDY there. "
    "[default: where STUDY was submitted to from this home]",
)


@click.command()
@click.argument("study", default="quickstart")
@click.option("--address", metavar="URL", help="The job server, http://HOST:8265. [default: $RAY_API_SERVER_ADDRESS]")
@set_option
@click.option("--home", metavar="DIR", help="Home on the cluster. [default: ~/stablesweep-home on its head]")
@click.option("--storage", metavar="PLACE", help="As in run, as the cluster sees it. [default: in the home there]")
@click.option(
    "--working-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder to send. [default: that of the study file]",
)
@click.option("--include", multiple=True, metavar="PATTERN", help="Send what is left out; may be repeated.")
@click.option("--env", "names", multiple=True, metavar="NAME", help="Hand over this variable; may be repeated.")
@click.option("--retry-lost", is_flag=True, help="Train trials again that were lost with a machine or a process.")
@wait_for_nodes_option
@click.option("--check/--no-check", default=True, help="Check the cluster first. [default: check]")
@click.option("--wait/--no-wait", default=True, help="Follow the job to its end. [default: wait]")
def submit(
    study: str,
    address: str | None,
    settings: Sequence[str],
    home: str | None,
    storage: str | None,
    working_dir: Path | None,
    include: Sequence[str],
    names: Sequence[str],
    retry_lost: bool,
    wait_for_nodes: bool,
    check: bool,
    wait: bool,
) -> None:
    """Run or continue STUDY as a job of a Ray cluster, after checks there.

    Ctrl-C stops following it; the job goes on, and `status`, `logs` and `stop` find it.
    """
    from stablesweep.study_file import load_study
    from stablesweep.submission.client import connect, server_address
    from stablesweep.submission.environment import job_variables
    from stablesweep.submission.submit import Request, refuse_secrets, submit_study

    refuse_secrets(storage)
    request = Request(
        study=load_study(study, settings),
        source=study,
        settings=tuple(settings),
        home=home,
        storage=storage,
        working_dir=working_dir,
        include=tuple(include),
        retry_lost=retry_lost,
        wait_for_nodes=wait_for_nodes,
        check=check,
    )
    variables = job_variables(names)
    server = connect(server_address(address))
    place = Home.at()
    submission_id = submit_study(request, server, variables, place, click.echo)
    click.echo(f"Submitted as job {submission_id}.")
    if wait:
        _follow(server, submission_id, request.study.name)
    else:
        click.echo(_again(request.study.name))


def _again(study: str) -> str:
    return f"Find it again: stablesweep status {study}, stablesweep logs {study} --follow, stablesweep stop {study}."


def _follow(server: "JobServer", submission_id: str, study: str) -> None:
    """Follow a job to its end, and end with its exit code: 0 or 1."""
    from stablesweep.submission.follow import Follower, describe_end

    try:
        job = Follower(server, submission_id, click.echo).follow()
    except KeyboardInterrupt:
        click.echo(f"Not following any more; the job goes on. {_again(study)}", err=True)
        sys.exit(INTERRUPTED)
    click.echo(describe_end(job), err=job.status != "SUCCEEDED")
    sys.exit(0 if job.status == "SUCCEEDED" else 1)


def _found(home: Home, study: str, address: str | None) -> "tuple[JobServer, str] | None":
    """Where a study's job is and its submission id; None if none is known."""
    # In a job, whoever asks means the study itself.
    if address is None and in_ray_job():
        return None
    from stablesweep.submission.client import connect, server_address
    from stablesweep.submission.job_file import kept_job, newest_job

    if address is not None:
        server = connect(server_address(address))
        return server, newest_job(server, study).submission_id
    kept = kept_job(home, study)
    return (connect(server_address(kept.address)), kept.submission_id) if kept else None


def _required(home: Home, study: str, address: str | None) -> "tuple[JobServer, str]":
    found = _found(home, study, address)
    if found is None:
        raise StablesweepError(
            f"{home.path}: no job of a study {study!r} was submitted from this home; give --address, or the --home from "
            "which it was submitted (the one that `submit --home` names is the cluster's)."
        )
    return found


def echo_job(home: Home, study: str, address: str | None) -> bool:
    """Print the state of a study's job and its last line; returns whether there is one."""
    from stablesweep.submission.asking import JobServerError

    try:
        found = _found(home, study, address)
        if found is None:
            return False
        server, submission_id = found
        job, log = server.job(submission_id), server.logs(submission_id)
    except JobServerError as error:
        # What is known here can be shown all the same.
        if address is not None or not home.study(study).ledger.exists():
            raise
        click.echo(f"Its job cannot be asked: {error}", err=True)
        return True
    click.echo(f"Job {submission_id} at {server.address}: {job.status}")
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    if lines:
        click.echo(f"Its last line: {lines[-1]}")
    return True


@click.command()
@study_argument
@home_option
@address_option
@click.option("--follow", is_flag=True, help="Go on to the end of the job.")
def logs(study: str, home: Path | None, address: str | None, follow: bool) -> None:
    """Print what STUDY's job on a cluster has printed."""
    from stablesweep.submission.follow import Follower

    server, submission_id = _required(Home.at(home), study, address)
    if follow:
        _follow(server, submission_id, study)
    else:
        Follower(server, submission_id, click.echo).look()


@click.command()
@study_argument
@home_option
@address_option
@click.option("--now", is_flag=True, help="Do not wait for a checkpoint.")
def stop(study: str, home: Path | None, address: str | None, now: bool) -> None:
    """Stop STUDY cleanly, on this machine or on the cluster that it was submitted to."""
    from stablesweep.submission.follow import describe_end
    from stablesweep.submission.stop import stop_here, stop_job

    place = Home.at(home)
    if address is None and stop_here(place, study, now=now):
        click.echo(f"{study} has stopped; run it again to continue.")
        return
    found = _found(place, study, address)
    if found is None:
        raise StablesweepError(f"{place.path}: {study} does not run on this machine, and no job of it is known here.")
    server, submission_id = found
    job = server.job(submission_id)
    if not job.ended:
        click.echo(f"Stopping job {submission_id}.")
        job = stop_job(server, job, click.echo, now=now)
    click.echo(describe_end(job))


JOB_COMMANDS: tuple[click.Command, ...] = (submit, logs, stop)
