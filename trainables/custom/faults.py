"""What a trainable can do wrong, and closing it whatever it does. Imports no torch until there is something to judge."""

import logging
import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from trainables.text import one_line, printable

logger = logging.getLogger(__name__)


class TrainableFault(ValueError):
    """A trainable broke its promise; one sentence."""


class EndedEarly(TrainableFault):
    """A generator ended before its last epoch."""

    def __init__(self, epochs_done: int, epochs: int) -> None:
        super().__init__(f"the trainable ended after epoch {epochs_done} of {epochs}")


class Exited(TrainableFault):
    """A trainable asked for the end of the process."""

    def __init__(self, request: SystemExit) -> None:
        code = " ".join(str(request).split())
        super().__init__(f"the trainable called sys.exit({code[:100]}); raise an exception that says what is wrong")


@contextmanager
def exits_are_faults() -> Iterator[None]:
    """Inside, a trainable's ``sys.exit`` is a fault of its own like any other.

    Raises:
        Exited: In place of ``SystemExit``, unless the handler of a signal raised that: then the process is to end.
    """
    try:
        yield
    except SystemExit as request:
        if _by_signal(request):
            raise
        raise Exited(request) from request


def _by_signal(request: SystemExit) -> bool:
    # Ray, for one, ends a worker like this at SIGTERM; whatever runs at that moment is not to blame.
    handlers = [getattr(signal.getsignal(number), "__code__", None) for number in signal.valid_signals()]
    return any(frame.f_code in handlers for frame, _ in traceback.walk_tb(request.__traceback__))


def reason_of(error: Exception) -> str:
    """Why a member failed, one line."""
    return printable(str(error)) if isinstance(error, TrainableFault) else one_line(error)


def close(iterator: Iterator[Any] | None) -> None:
    """Closes a generator; what its own cleaning up raises is logged and has no effect on any result.

    Raises:
        MemoryError: Or another exception that is the process's.
        SystemExit: If the handler of a signal raised it.
    """
    from trainables.training.failures import is_the_processes

    closing = getattr(iterator, "close", None)
    if closing is None:
        return
    try:
        with exits_are_faults():
            closing()
    except Exception as error:
        if is_the_processes(error):
            raise
        logger.warning("a trainable raised while it was closed (%s); its results stand.", reason_of(error))
