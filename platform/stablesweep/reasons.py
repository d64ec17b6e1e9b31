"""Why Ray gave a pack up, in words for the one who reads that its trials were lost."""

import re
from collections.abc import Iterator

import ray

OUT_OF_MEMORY = "Ray killed its worker process because the node ran low on memory"
WORKER_DIED = "its worker process died (killed, crashed, or out of memory)"
NODE_DIED = "the node of its worker died"
DRIVER_DIED = "the process that drove it died"
LENGTH = 300


def reason_of(error: Exception) -> str:
    """What made Ray Train give a pack up, one line.

    Args:
        error: What ``fit`` of a trainer raised.
    """
    causes = list(_causes(error))
    if any(isinstance(cause, ray.exceptions.OutOfMemoryError) for cause in causes):
        return OUT_OF_MEMORY
    if any(_is_death_of_a_node(cause) for cause in causes):
        return NODE_DIED
    if any(isinstance(cause, ray.exceptions.RayActorError | ray.exceptions.WorkerCrashedError) for cause in causes):
        return WORKER_DIED
    return _last_line(causes[0])


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The errors that one of Ray Train holds, those of workers by rank; or the error itself."""
    failures = getattr(error, "worker_failures", None) or {}
    inner = [failures[rank] for rank in sorted(failures)]
    inner += [getattr(error, name) for name in ("controller_failure", "health_check_failure") if hasattr(error, name)]
    for cause in inner:
        yield from _causes(cause)
    if not inner:
        yield error


def _is_death_of_a_node(error: BaseException) -> bool:
    if isinstance(error, ray.exceptions.NodeDiedError):
        return True
    return isinstance(error, ray.exceptions.RayActorError) and "node has died" in str(error)


def _last_line(error: BaseException) -> str:
    # The last line of a remote traceback is the error itself.
    plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:LENGTH]
