"""How a job is found again: a file in the home of whoever submitted it, or the job's own metadata."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from stablesweep.errors import StablesweepError
from stablesweep.files import write_text
from stablesweep.home import Home
from stablesweep.submission.client import Job, JobServer

STUDY = "stablesweep.study"
"""Key of a job's metadata: the name of its study."""
HOME = "stablesweep.home"
"""Key of a job's metadata: the home that it was given, by ``--home`` or ``$STABLESWEEP_HOME``; absent if none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobFile:
    """Where a study was submitted to. Holds no secret."""

    study: str
    address: str
    submission_id: str
    submitted: str
    """UTC, ISO 8601."""


def job_file(home: Home, study: str) -> Path:
    """Where the job of a study is kept in a home."""
    return home.path / "jobs" / f"{study}.json"


def keep_job(home: Home, job: JobFile) -> None:
    """Keep what finds a job again. Raises StablesweepError."""
    write_text(job_file(home, job.study), json.dumps(asdict(job), indent=1) + "\n")


def kept_job(home: Home, study: str) -> JobFile | None:
    """The job that was submitted last from this home; None if there is none.

    Raises:
        StablesweepError: If the file is damaged.
    """
    path = job_file(home, study)
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        if not all(isinstance(value, str) for value in fields.values()):
            raise TypeError("its values must be texts")
        return JobFile(**fields)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise StablesweepError(
            f"{path}: cannot be read as a job's address ({error}); remove it and give --address."
        ) from error


def newest_job(server: JobServer, study: str) -> Job:
    """The job of a study that was submitted last, from wherever; one that has not ended comes first.

    Raises:
        JobServerError: If the server cannot be asked.
        StablesweepError: If it has no such job.
    """
    jobs = [job for job in server.jobs() if job.metadata.get(STUDY) == study]
    if not jobs:
        known = sorted({job.metadata[STUDY] for job in server.jobs() if STUDY in job.metadata})
        raise StablesweepError(
            f"{server.address}: no job of a study {study!r} (studies: {', '.join(known) or 'none'}); "
            "jobs that were submitted by hand are found with `ray job list`."
        )
    return max(jobs, key=lambda job: (not job.ended, job.submitted_ms))
