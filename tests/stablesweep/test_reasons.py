"""What Ray's own errors are called."""

from typing import Any

import pytest
import ray
from ray.exceptions import ActorDiedError, NodeDiedError, OutOfMemoryError
from ray.train import ControllerError, WorkerGroupError
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError

from stablesweep.reasons import NODE_DIED, OUT_OF_MEMORY, WORKER_DIED, reason_of

# Ray gives these two no types.
NodeDied: Any = NodeDiedError
OutOfMemory: Any = OutOfMemoryError


def gone(cause: Exception) -> WorkerHealthCheckFailedError:
    return WorkerHealthCheckFailedError("a long page", failure=cause)


@pytest.mark.parametrize(
    ("failures", "reason"),
    [
        ({0: gone(ActorDiedError())}, WORKER_DIED),
        ({0: gone(OutOfMemory("a task was killed"))}, OUT_OF_MEMORY),
        ({0: gone(NodeDied("gone"))}, NODE_DIED),
        # The death of one worker makes another one's exchange break, whatever its rank.
        ({0: RuntimeError("another worker is gone"), 1: gone(ActorDiedError())}, WORKER_DIED),
        (
            {0: ValueError("Traceback ...\n  File x\n\x1b[36mValueError: no such column\x1b[0m\n")},
            "ValueError: no such column",
        ),
        ({0: ValueError("")}, "ValueError"),
    ],
)
def test_failures_of_workers(failures: dict[int, Exception], reason: str) -> None:
    assert reason_of(WorkerGroupError("a page of text", failures)) == reason


def test_failures_of_the_controller_are_those_that_it_holds() -> None:
    assert reason_of(ControllerError(ValueError("no room"))) == "no room"
    assert reason_of(ControllerError(gone(OutOfMemory("x")))) == OUT_OF_MEMORY


def test_a_reason_is_one_line_of_bounded_length() -> None:
    reason = reason_of(WorkerGroupError("", {0: ValueError("a\nb" + "x" * 1000)}))
    assert reason == ("b" + "x" * 1000)[:300]
    assert reason_of(ray.exceptions.RayError("plain")) == "plain"
