"""Stopping a study cleanly, on this machine or on a cluster."""

import json
import os
import secrets
import shlex
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress

from stablesweep.errors import StablesweepError
from stablesweep.home import HOME_VARIABLE, Home, StudyFolder, is_locked
from stablesweep.owner import UNREADABLE, LockOwner, process_namespace
from stablesweep.submission.client import Job, JobServer
from stablesweep.submission.follow import POLL_S
from stablesweep.submission.job_file import HOME, STUDY

CLEAN_STOP_S = 300.0
"""How long a job may take to stop after a checkpoint, before it is ended at once.

It counts from the submission of the job that asks it, which Ray has to prepare first.
"""


def stop_here(home: Home, study: str, *, now: bool = False) -> bool:
    """Ask the process of this machine that runs a study to stop, and wait until it has.

    Args:
        home: Where the study is.
        study: Its name.
        now: Do not wait for a checkpoint.

    Returns:
        Whether one ran.

    Raises:
        StablesweepError: If it cannot be asked.
    """
    folder = home.study(study)
    if not is_locked(folder):
        return False
    owner = _owner(folder)
    try:
        # Ray blocks SIGINT in a job's processes; a study takes SIGTERM as it takes the first Ctrl-C.
        os.kill(owner, signal.SIGTERM)
        if now:
            time.sleep(1)
            with suppress(ProcessLookupError):
                os.kill(owner, signal.SIGINT)
    # OverflowError: no process has an id so large.
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise StablesweepError(
            f"{folder.lock}: process {owner} cannot be asked to stop ({reason}); stop it where it runs."
        ) from error
    while is_locked(folder):
        time.sleep(0.2)
    return True


def _owner(folder: StudyFolder) -> int:
    """The process that runs a study, as its lock says; it must be one of this machine."""
    try:
        said = json.loads(folder.lock.read_text(encoding="utf-8"))
        # Earlier versions did not write all fields, the first ones the process's id alone.
        fields = said if isinstance(said, dict) else {"host": socket.gethostname(), "pid": said}
        owner = LockOwner.from_fields({"since": "", "job": None, "namespace": process_namespace(), **fields})
        if owner.pid < 2:
            # 0 and negative numbers would mean whole groups of processes.
            raise ValueError(f"process {owner.pid}")
    except (OSError, *UNREADABLE) as error:
        raise StablesweepError(
            f"{folder.lock}: it does not say which process runs the study ({error}); stop that process by hand."
        ) from error
    if owner.host != socket.gethostname():
        raise StablesweepError(f"{folder.lock}: the study runs on {owner.host}; stop it there.")
    if not owner.is_seen_here():
        raise StablesweepError(f"{folder.lock}: the study runs on {owner.host} in another container; stop it there.")
    return owner.pid


def stop_job(server: JobServer, job: Job, say: Callable[[str], None], *, now: bool = False) -> Job:
    """End a study's job: cleanly if it can be had in :data:`CLEAN_STOP_S`, then at once.

    Args:
        server: Where it runs.
        job: The job.
        say: Called with a line when it is ended the hard way.
        now: At once, without a checkpoint.

    Returns:
        The job after its end.

    Raises:
        JobServerError: If the server cannot be asked.
    """
    if not job.ended and not now and job.status == "RUNNING":
        job = _stop_cleanly(server, job)
    if job.ended:
        return job
    if not now:
        say("It could not be stopped cleanly and is ended at once; what its checkpoints hold is kept.")
    server.kill(job.submission_id)
    while not job.ended:
        time.sleep(POLL_S)
        job = server.job(job.submission_id)
    return job


def _stop_cleanly(server: JobServer, job: Job) -> Job:
    """Ask on the head, by a job of its own: Ray's own stop gives a process 3 s, less than a checkpoint takes."""
    study, home = job.metadata[STUDY], _home_of(job)
    words = ["python", "-m", "stablesweep", "stop", study, *(["--home", home] if home else [])]
    asking = f"stablesweep-stop-{study}-{secrets.token_hex(4)}"
    files = {part: job.runtime_env[part] for part in ("working_dir", "py_modules") if part in job.runtime_env}
    server.submit(asking, shlex.join(words), files, {})
    give_up = time.monotonic() + CLEAN_STOP_S
    while time.monotonic() < give_up:
        time.sleep(POLL_S)
        job = server.job(job.submission_id)
        # It fails where the study is not running yet: then there is nothing to be saved.
        if job.ended or server.job(asking).status == "FAILED":
            break
    return job


def _home_of(job: Job) -> str | None:
    """The home that a job was given, by an option or a variable; None if it took the default one."""
    return job.metadata.get(HOME) or (job.runtime_env.get("env_vars") or {}).get(HOME_VARIABLE)
