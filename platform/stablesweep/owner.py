"""Which process runs a study: what it leaves where others look before they begin."""

import functools
import hashlib
import json
import os
import socket
import uuid
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dashboards.formats import without_controls

RAY_JOB_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Ray's own, in the environment of a job's command."""
TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
UNREADABLE = (ValueError, KeyError, TypeError, OverflowError, RecursionError)
"""What JSON that others wrote raises while it is read, or its values are: a number without end, endless nesting ..."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LockOwner:
    """A process that runs a study."""

    host: str
    pid: int
    since: str
    """When it began, in UTC: ``2026-11-21T14:05:09Z``."""
    job: str | None
    """The submission id of the Ray job that it is; None outside of one."""
    namespace: str = ""
    """Which processes ``pid`` is counted among, see :func:`process_namespace`; empty if its owner did not say."""
    instance: str = ""
    """Of this process alone, by chance; empty if its owner did not say."""

    @classmethod
    def this_process(cls) -> "LockOwner":
        """The process that asks, from now on."""
        return cls(
            host=socket.gethostname(),
            pid=os.getpid(),
            since=utc_now(),
            job=submission_id(),
            namespace=process_namespace(),
            instance=_instance(os.getpid()),
        )

    @classmethod
    def from_fields(cls, fields: Any) -> "LockOwner":
        """What :meth:`as_fields` gave, read back; earlier versions gave neither namespace nor instance.

        Raises:
            KeyError, TypeError, ValueError, OverflowError: If these are no such fields; see :data:`UNREADABLE`.
        """
        job = fields["job"]
        return cls(
            host=plain(fields["host"]),
            pid=int(fields["pid"]),
            since=plain(fields["since"]),
            job=None if job is None else plain(job),
            namespace=plain(fields.get("namespace", "")),
            instance=plain(fields.get("instance", "")),
        )

    def as_fields(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def is_seen_here(self) -> bool:
        """Whether its process id means the same process here: neither another machine nor another container."""
        return (self.host, self.namespace) == (socket.gethostname(), process_namespace())

    def in_words(self) -> str:
        """``process 71 on node-3 (Ray job raysubmit_x)``."""
        return f"process {self.pid} on {self.host}" + (f" (Ray job {self.job})" if self.job else "")


def process_namespace() -> str:
    """An identity of the processes that this one sees by their ids; empty where the system has none (it is not Linux).

    Two containers may have the same host name, and process 7 of the one is not process 7 of the other.
    """
    try:
        seen = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii") + os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
    return hashlib.sha256(seen.encode()).hexdigest()[:16]


def utc_now() -> str:
    """Now, as owners write it."""
    return datetime.now(UTC).strftime(TIME_FORMAT)


def plain(text: Any) -> str:
    """Without what a terminal obeys: a claim was written by somebody else."""
    return without_controls(str(text))[:200]


@functools.cache
def _instance(pid: int) -> str:
    """By the process, as a fork has all that its parent had."""
    return uuid.uuid4().hex


def submission_id() -> str | None:
    """The Ray job whose entrypoint this process is, or was started by; None outside of one."""
    try:
        config = json.loads(os.environ.get(RAY_JOB_VARIABLE, "{}"))
        found = config["metadata"]["job_submission_id"]
    except UNREADABLE:
        return None
    return found if isinstance(found, str) else None
