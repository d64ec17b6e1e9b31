"""Following a job by asking for its status and its log again and again: Ray's log streams end early."""

import time
from collections.abc import Callable

from stablesweep.errors import INTERRUPTED
from stablesweep.submission.asking import Unreachable
from stablesweep.submission.client import Job, JobServer

POLL_S = 2.0
PATIENCE_S = 600.0
"""How long a server may stay away before following ends; the job itself goes on."""


class Follower:
    """Prints what a job prints, each line once."""

    def __init__(self, server: JobServer, submission_id: str, say: Callable[[str], None]) -> None:
        self._server = server
        self._id = submission_id
        self._say = say
        self._printed = 0

    def follow(self) -> Job:
        """Print new lines until the job has ended.

        Raises:
            JobServerError: If the server refuses, or stays away for :data:`PATIENCE_S`.
        """
        last_answer, away = time.monotonic(), False
        while True:
            try:
                job = self.look()
                last_answer, away = time.monotonic(), False
                if job.ended:
                    return job
            except Unreachable:
                if time.monotonic() - last_answer > PATIENCE_S:
                    raise
                if not away:
                    self._say(f"{self._server.address} does not answer; asking again until it does.")
                away = True
            time.sleep(POLL_S)

    def look(self) -> Job:
        """Print the lines that are new, and return the state that the job had before."""
        # The status first: of a job that has ended the log is then whole.
        job = self._server.job(self._id)
        text = self._server.logs(self._id)
        whole = len(text) if job.ended else text.rfind("\n") + 1
        if whole > self._printed:
            self._say(text[self._printed : whole].rstrip("\n"))
            self._printed = whole
        return job


def describe_end(job: Job) -> str:
    """How a job ended, one sentence."""
    if job.status == "SUCCEEDED":
        return f"Job {job.submission_id} has ended well."
    if job.status == "STOPPED":
        return f"Job {job.submission_id} was stopped; submit the study again to continue it."
    if job.exit_code == INTERRUPTED:
        return f"Job {job.submission_id} stopped with trials left; submit the study again to continue it."
    first = job.message.strip().splitlines()[0] if job.message.strip() else "no reason given"
    return f"Job {job.submission_id} failed: {first}"
