"""What a trainable can do wrong, and closing it whatever it does. Imports no torch until there is something to judge."""

import logging
from collections.abc import Iterator
from typing import Any

from trainables.text import one_line

logger = logging.getLogger(__name__)


class TrainableFault(ValueError):
    """A trainable broke its promise; one sentence."""


class EndedEarly(TrainableFault):
    """A generator ended before its last epoch."""

    def __init__(self, epochs_done: int, epochs: int) -> None:
        super().__init__(f"the trainable ended after epoch {epochs_done} of {epochs}")


def reason_of(error: Exception) -> str:
    """Why a member failed, one line."""
    return str(error) if isinstance(error, TrainableFault) else one_line(error)


def close(iterator: Iterator[Any] | None) -> None:
    """Closes a generator; what its own cleaning up raises is logged and has no effect on any result.

    Raises:
        MemoryError: Or another exception that is the process's.
    """
    from trainables.training.failures import is_the_processes

    closing = getattr(iterator, "close", None)
    if closing is None:
        return
    try:
        closing()
    except Exception as error:
        if is_the_processes(error):
            raise
        logger.warning("a trainable raised while it was closed (%s); its results stand.", one_line(error))
