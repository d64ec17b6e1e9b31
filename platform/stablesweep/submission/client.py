"""The job server of a Ray cluster."""

import os
import re
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dashboards.formats import without_password
from stablesweep.errors import short
from stablesweep.ray_session import prepare_environment
from stablesweep.submission.asking import JobServerError, NotReady, asking, uses_token

if TYPE_CHECKING:
    from stablesweep.submission.ray_client import RayClient

OLDEST_RAY = (2, 60)
ADDRESS_VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
"""The statuses of a job that runs no more."""
AGENT_S = 60.0
"""How long a cluster that has just been started may take until it takes jobs."""
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A job as the cluster knows it."""

    submission_id: str
    status: str
    """``PENDING``, ``RUNNING`` or one of :data:`ENDED`."""
    message: str
    exit_code: int | None
    submitted_ms: int
    metadata: Mapping[str, str]
    runtime_env: Mapping[str, Any]

    @property
    def ended(self) -> bool:
        """Whether it runs no more."""
        return self.status in ENDED


class JobServer:
    """A job server that has answered. Every method raises JobServerError."""

    def __init__(self, address: str, client: "RayClient") -> None:
        self.address = address
        self.ray_version = client.server_version
        self._client = client

    def submit(
        self, submission_id: str, entrypoint: str, runtime_env: Mapping[str, Any], metadata: Mapping[str, str]
    ) -> None:
        """Upload what the runtime environment names and start a job."""
        give_up = time.monotonic() + AGENT_S
        while True:
            try:
                with asking(self.address):
                    self._client.submit_job(
                        entrypoint=entrypoint,
                        submission_id=submission_id,
                        runtime_env=dict(runtime_env),
                        metadata=dict(metadata),
                    )
                return
            except NotReady:
                if time.monotonic() > give_up:
                    raise
                time.sleep(1)

    def job(self, submission_id: str) -> Job:
        """What is known of one job."""
        with asking(self.address):
            return _job(self._client.get_job_info(submission_id))

    def jobs(self) -> list[Job]:
        """All submitted jobs that the cluster remembers."""
        with asking(self.address):
            return [_job(details) for details in self._client.list_jobs() if details.submission_id]

    def logs(self, submission_id: str) -> str:
        """All that a job has printed."""
        with asking(self.address):
            return str(self._client.get_job_logs(submission_id))

    def kill(self, submission_id: str) -> None:
        """End a job: Ray asks with SIGTERM and kills it 3 s later."""
        with asking(self.address):
            self._client.stop_job(submission_id)


def _job(details: Any) -> Job:
    return Job(
        submission_id=details.submission_id,
        status=str(details.status.value),
        message=details.message or "",
        exit_code=details.driver_exit_code,
        submitted_ms=details.start_time or 0,
        metadata=details.metadata or {},
        runtime_env=details.runtime_env or {},
    )


def server_address(given: str | None) -> str:
    """The URL of the job server: what is given, else what Ray's variables say.

    Raises:
        JobServerError: If there is none, or it is no http address.
    """
    variable = next((name for name in ADDRESS_VARIABLES if os.environ.get(name, "").startswith("http")), None)
    address = given or (os.environ[variable] if variable else None)
    if address is None:
        raise JobServerError(
            "no job server is named; give --address http://HOST:8265, where HOST is the head of the cluster, or set "
            "RAY_API_SERVER_ADDRESS."
        )
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise JobServerError(
            f"--address {without_password(address)}: this is no address of a job server; "
            "write http://HOST:8265, where HOST is the head of the cluster."
        )
    if parts.password is not None:
        raise JobServerError(
            f"--address {without_password(address)}: an address is kept and shown, so it must hold no password; "
            "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN instead."
        )
    return address.rstrip("/")


def connect(address: str) -> JobServer:
    """The job server at a URL.

    Raises:
        Unreachable: If nothing answers.
        JobServerError: If the token is missing or wrong, the cluster is too old, or this is no job server.
    """
    _warn_of_open_token(address)
    prepare_environment()
    from stablesweep.submission.ray_client import RayClient

    try:
        with asking(address):
            client = RayClient(address)
    except JobServerError as error:
        # Whatever else can be wrong with the first answer: it is not that of a job server.
        if type(error) is not JobServerError or error.__cause__ is None:
            raise
        raise JobServerError(
            f"{address}: this is no job server of Ray ({short(error.__cause__)}); correct --address."
        ) from error
    server = JobServer(address, client)
    _check_version(server)
    return server


def _check_version(server: JobServer) -> None:
    found = re.match(r"(\d+)\.(\d+)", server.ray_version)
    if found is None or (int(found[1]), int(found[2])) < OLDEST_RAY:
        raise JobServerError(
            f"{server.address}: the cluster runs Ray {server.ray_version}, and studies need at least "
            f"{'.'.join(map(str, OLDEST_RAY))}; update Ray there."
        )


def _warn_of_open_token(address: str) -> None:
    parts = urlsplit(address)
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK and uses_token():
        warnings.warn(
            f"the token travels to {address} in the clear; use https, or a tunnel: "
            f"ssh -L 8265:localhost:8265 {parts.hostname} and --address http://localhost:8265.",
            stacklevel=3,
        )
