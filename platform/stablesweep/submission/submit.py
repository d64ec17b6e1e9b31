"""Submitting a study: validated here, checked there, sent as it was said, and kept so that it is found again."""

import secrets
import shlex
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dashboards.formats import holds_password, without_password
from stablesweep import __version__
from stablesweep.checkpoints import STORAGE_VARIABLE
from stablesweep.errors import StablesweepError
from stablesweep.home import HOME_VARIABLE, Home
from stablesweep.study import Study
from stablesweep.submission import checks
from stablesweep.submission.asking import JobServerError
from stablesweep.submission.client import JobServer
from stablesweep.submission.environment import runtime_environment
from stablesweep.submission.job_file import HOME, STUDY, JobFile, keep_job, kept_job
from stablesweep.submission.upload import Upload, UploadError, check_size, choose_files, describe, stage

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What was asked for on the command line."""

    study: Study
    source: str
    """The study's file, or the name of a built-in one."""
    settings: tuple[str, ...] = ()
    home: str | None = None
    """On the cluster."""
    storage: str | None = None
    working_dir: Path | None = None
    include: tuple[str, ...] = ()
    retry_lost: bool = False
    wait_for_nodes: bool = False
    check: bool = True


def submit_study(request: Request, server: JobServer, variables: dict[str, str], home: Home, say: Say) -> str:
    """Send a study to the cluster and start it there.

    Args:
        request: What was asked for.
        server: Where to.
        variables: The environment variables of the job.
        home: Where, on this machine, the job is kept to be found again.
        say: Called with each line for the user.

    Returns:
        The submission id.

    Raises:
        StablesweepError: If something is wrong here or there. No study was started then, unless the message begins with
            the id of its job: of that job the server has not said whether it runs.
    """
    _refuse_relative(request, variables)
    upload, source = _chosen(request)
    with _staged(upload, say) as staged:
        environment = runtime_environment(staged, variables)
        if request.check:
            say("Checking the cluster.")
            arguments = _arguments(request, "doctor", source)
            findings = checks.check_cluster(server, _new_id("check", request.study.name), arguments, environment)
            say(checks.render_findings(findings))
            checks.refuse_if_wrong(findings, waits_for_nodes=request.wait_for_nodes)
        _refuse_second(request, server, home)
        submission_id = _keep(request, server, home)
        try:
            server.submit(submission_id, _arguments(request, "run", source), environment, _metadata(request, variables))
        except JobServerError as error:
            look = f"stablesweep status {request.study.name} --address {server.address}"
            raise type(error)(f"{submission_id}: this job may have been started, see `{look}`: {error}") from error
    return submission_id


def _refuse_second(request: Request, server: JobServer, home: Home) -> None:
    """Raises StablesweepError if the study's job from this home still runs: it would not be found again after this one."""
    study = request.study.name
    kept = kept_job(home, study)
    if kept is None or kept.address != server.address:
        return
    try:
        job = server.job(kept.submission_id)
    except JobServerError:
        # It was never started, or its cluster was started anew.
        return
    if not job.ended:
        raise StablesweepError(
            f"{study}: its job {job.submission_id} is {job.status} at {server.address}; follow it with `stablesweep logs {study} "
            f"--follow`, or end it with `stablesweep stop {study}`, and submit again."
        )


def _keep(request: Request, server: JobServer, home: Home) -> str:
    """A new job's id, kept before there is the job: it must be found also if the answer to its submission is lost."""
    job = JobFile(
        study=request.study.name,
        address=server.address,
        submission_id=_new_id(request.study.name),
        submitted=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    keep_job(home, job)
    return job.submission_id


def refuse_secrets(storage: str | None) -> None:
    """Raises StablesweepError if a URI holds a password: a job's command line is shown to everyone who may see jobs."""
    if storage is not None and holds_password(storage):
        raise StablesweepError(
            f"--storage {without_password(storage)}: it holds a password, and everyone who may see the cluster's jobs would see it; "
            "give the nodes their credentials in the environment of their Ray."
        )


def _refuse_relative(request: Request, variables: dict[str, str]) -> None:
    """Raises StablesweepError if a place on the cluster is relative: a job's own folder is deleted after it."""
    if request.home and not request.home.startswith(("/", "~")):
        raise StablesweepError(
            f"--home {request.home}: on the cluster it would lie in the job's own folder, which Ray deletes; "
            "give an absolute folder, or one that begins with ~."
        )
    storage = request.storage or variables.get(STORAGE_VARIABLE)
    if storage and not storage.startswith(("/", "~")) and "://" not in storage:
        raise StablesweepError(
            f"--storage {storage}: on the cluster it would lie in the job's own folder, which Ray deletes; "
            "give an absolute folder that all nodes see, or a URI such as s3://bucket/folder."
        )


def _chosen(request: Request) -> tuple[Upload | None, str]:
    """What is sent, and how the study is called there."""
    file = Path(request.source)
    if not file.is_file():
        upload = choose_files(request.working_dir, include=request.include) if request.working_dir else None
        return upload, request.source
    root = (request.working_dir or file.parent).resolve()
    if not file.resolve().is_relative_to(root):
        raise UploadError(f"{file}: it is not in --working-dir {root}; give a folder that holds it.")
    upload = choose_files(root, always=file, include=request.include, dataset=_dataset(request.study))
    return upload, str(file.resolve().relative_to(root))


def _dataset(study: Study) -> Path | None:
    """The folder or file of the study's data; None if it has none."""
    path = study.dataset.options.get("path") if study.dataset is not None else None
    return Path(path) if isinstance(path, str) else None


@contextmanager
def _staged(upload: Upload | None, say: Say) -> Iterator[Path | None]:
    """A folder with exactly what is said to be sent; None if nothing is."""
    if upload is None:
        yield None
        return
    for line in describe(upload):
        say(line)
    check_size(upload)
    with tempfile.TemporaryDirectory(prefix="stablesweep-") as folder:
        stage(upload, Path(folder))
        yield Path(folder)


def _arguments(request: Request, command: str, source: str) -> str:
    """The command line on the cluster."""
    words = ["python", "-m", "stablesweep", command, source]
    words += [word for setting in request.settings for word in ("--set", setting)]
    words += ["--home", request.home] if request.home else []
    words += ["--storage", request.storage] if request.storage else []
    if command == "doctor":
        words.append("--json")
    else:
        words += ["--retry-lost"] * request.retry_lost + ["--wait-for-nodes"] * request.wait_for_nodes
    return shlex.join(words)


def _metadata(request: Request, variables: dict[str, str]) -> dict[str, str]:
    home = request.home or variables.get(HOME_VARIABLE)
    return {STUDY: request.study.name, "stablesweep.version": __version__, **({HOME: home} if home else {})}


def _new_id(*parts: str) -> str:
    return "-".join(["stablesweep", *parts, secrets.token_hex(4)])
