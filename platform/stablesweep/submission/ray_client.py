"""Ray's client of the job server, with what this project needs changed. Imports Ray: import it where it is used."""

import logging
from typing import Any

import ray
import requests
from ray.dashboard.modules.dashboard_sdk import SubmissionClient
from ray.job_submission import JobSubmissionClient

# It tells each step of an upload; what is sent was said before.
for _name in ("ray.dashboard.modules.dashboard_sdk", "ray._private.runtime_env.packaging"):
    logging.getLogger(_name).setLevel(logging.ERROR)

TIMEOUT_S = 60
"""How long one answer may take; an upload of the largest size takes less on any network that can train."""


class RayClient(JobSubmissionClient):
    """Asks the address that it is given, and gives up on a server that does not answer."""

    def __init__(self, address: str) -> None:
        self._client_ray_version = ray.__version__
        # Not through JobSubmissionClient, where RAY_ADDRESS would win over the address.
        SubmissionClient.__init__(self, address)
        self._check_connection_and_version()

    @property
    def server_version(self) -> str:
        """The Ray version of the cluster."""
        return str(self._server_ray_version)

    def _do_request(self, method: str, endpoint: str, **options: Any) -> requests.Response:
        return super()._do_request(method, endpoint, timeout=TIMEOUT_S, **options)
