"""The recorder: takes messages from the mailbox, keeps them, shows them, and publishes them to MLflow."""

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from dashboards.tracking.connection import quiet_mlflow
from stablesweep.errors import RecordUnavailable, StablesweepError, short
from stablesweep.mailbox import Mailbox
from stablesweep.messages import Message, Remark
from stablesweep.outage import Outage
from stablesweep.publisher import Publisher
from stablesweep.record import Record, record_errors

POLL_S = 0.3
PUBLISH_EVERY_S = 10.0
PUBLISH_SURELY_S = 60.0
"""So long it rests at most between two rounds, however much there was to publish."""
SHARE = 0.005
"""Of this machine's processors, which publishing may take while there is no need to hurry: training may need them all."""
PATIENCE_S = 60.0
"""So long the end of a run waits for a tracking server that is away."""
RECORD_ERRORS = (sqlite3.OperationalError, RecordUnavailable)
"""What is raised while our own file cannot be used; MLflow wraps what its database raises."""

logger = logging.getLogger(__name__)

Listener = Callable[[Sequence[Message]], None]


class Recorder:
    """Two threads beside the training: one makes messages durable, one publishes them; neither is waited for.

    Args:
        record_path: The local record.
        publisher: Connected; used by this object's thread alone until :meth:`finish` returns.
        mailbox: Where the workers send their messages.
        stop: When it is set, the workers are asked to stop.
        listener: Called with every batch of messages after it is durable.
    """

    def __init__(
        self, record_path: Path, publisher: Publisher, mailbox: Mailbox, stop: threading.Event, listener: Listener
    ) -> None:
        self._path, self._publisher, self._mailbox = record_path, publisher, mailbox
        self._stop, self._listener = stop, listener
        self._done = threading.Event()
        self._failure: BaseException | None = None
        self._kept: list[Message] = []
        self._rounds = 0
        self.collecting_s = 0.0
        """Time spent writing to the record."""
        self.publishing_s = 0.0
        """Time spent writing to MLflow."""
        self._threads = [
            threading.Thread(target=self._guard, args=(work,), name=f"stablesweep-{work.__name__}", daemon=True)
            for work in (self._collect, self._publish)
        ]

    def start(self) -> None:
        """Start both threads."""
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """Take what is left in the mailbox, stop both threads, and raise what went wrong in one of them."""
        self._done.set()
        for thread in self._threads:
            thread.join()
        if self._failure is not None:
            raise self._failure

    def flush(self) -> bool:
        """Wait until all that was sent before this call is durable and was listened to.

        Returns:
            False if that is not so: recording has ended, or a stop was asked for while the record cannot be written.
        """
        # A round that has begun may have looked into the mailbox already: the one after it has not.
        until = self._rounds + 2
        while self._threads[0].is_alive() and (self._rounds < until or self._kept):
            if self._stop.is_set() and self._kept:
                return False
            time.sleep(POLL_S / 10)
        return self._threads[0].is_alive()

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            with record_errors(self._path):
                work()
        except BaseException as error:  # noqa: BLE001 - raised again in the main thread by finish()
            self._failure = self._failure or error
            # Nobody listens any more: what is trained from here on would be lost.
            self._stop.set()
            with suppress(StablesweepError):
                self._mailbox.stop()

    def _collect(self) -> None:
        record, told = Record(self._path), False
        try:
            while not self._done.wait(POLL_S):
                if self._stop.is_set() and not told:
                    self._mailbox.stop()
                    told = True
                self._take(record)
                self._rounds += 1
            self._take(record, PATIENCE_S)
        finally:
            record.close()

    def _take(self, record: Record, patience_s: float = 0.0) -> None:
        """Make the waiting messages durable; a file that cannot be written now is tried again with the next ones."""
        self._kept.extend(self._mailbox.drain())
        give_up = time.monotonic() + patience_s
        while self._kept:
            began = time.monotonic()
            try:
                record.apply(self._kept)
            except sqlite3.OperationalError as error:
                if patience_s and time.monotonic() > give_up:
                    raise StablesweepError(
                        f"{self._path}: cannot be written ({error}); make room or release the file, then run again: "
                        "what is not in it will be trained again."
                    ) from error
                if not patience_s:
                    waiting = f"{self._path}: cannot be written ({error}); results wait in memory: make room or release the file."
                    self._listener([Remark(text=waiting)])
                    return
                time.sleep(1)
                continue
            self._listener(self._kept)
            self._kept = []
            self.collecting_s += time.monotonic() - began

    def _publish(self) -> None:
        record, outage, rested = Record(self._path), Outage(), 0.0
        try:
            while not self._done.wait(PUBLISH_EVERY_S):
                if not outage.over():
                    continue
                if time.monotonic() < rested:
                    # Nobody is to take the study over meanwhile.
                    self._publisher.keep_claim()
                    continue
                self.publishing_s += publish_once(self._publisher, record, outage)
                rested = time.monotonic() + rest_s(self._publisher.trials_cpu_s, os.cpu_count() or 1)
        finally:
            record.close()


def rest_s(cpu_s: float, processors: int) -> float:
    """Seconds to rest after a round of publishing that took so many seconds of one of so many processors.

    Each trial that trains is written to in every round: fewer rounds say the same in fewer requests.
    """
    return min(cpu_s / (SHARE * processors), PUBLISH_SURELY_S)


def publish_once(publisher: Publisher, record: Record, outage: Outage) -> float:
    """Try to publish; returns the seconds it took. A server that is away, or a record that is held, is noted, not raised."""
    from mlflow.exceptions import MlflowException

    began = time.monotonic()
    try:
        with quiet_mlflow():
            publisher.publish(record)
        outage.succeeded()
    except RECORD_ERRORS as error:
        # No reason to leave the server alone for long.
        logger.info("%s cannot be read or written now: %s", record.path, error)
    except (MlflowException, OSError) as error:
        logger.info("the tracking server did not answer: %s", error)
        outage.failed()
    return time.monotonic() - began


def publish_all(publisher: Publisher, record: Record, patience_s: float = PATIENCE_S) -> str | None:
    """Publish everything, waiting for a server that is away, or for whoever holds the record.

    Returns:
        None if MLflow has everything; after ``patience_s`` seconds without success, what the last attempt said.

    Raises:
        sqlite3.OperationalError, RecordUnavailable: If it is the record that cannot be read or written for so long.
    """
    from mlflow.exceptions import MlflowException

    give_up = time.monotonic() + patience_s
    while True:
        try:
            with quiet_mlflow():
                publisher.publish(record)
            return None
        except RECORD_ERRORS as error:
            logger.info("%s cannot be read or written now: %s", record.path, error)
            if time.monotonic() > give_up:
                raise
        except (MlflowException, OSError) as error:
            logger.info("the tracking server did not answer: %s", error)
            if time.monotonic() > give_up:
                return short(error, 300)
        time.sleep(2)
