"""A worker's end of the mailbox."""

import uuid
from collections.abc import Sequence
from typing import Any

import ray

from stablesweep.job import PackJob
from stablesweep.messages import Message

ANSWER_WITHIN_S = 0.5
"""After an epoch a worker waits so long for an answer, so that a stop is seen then."""


class MailboxGone(RuntimeError):
    """Nobody takes in results any more."""


class Outbox:
    """A worker's end: sends without waiting for the recorder; the answer says whether to stop.

    Every method may raise :class:`MailboxGone`.

    Args:
        actor: The mailbox's actor.
        silent: Whether to send nothing: of a pack's workers, one speaks for all.
    """

    def __init__(self, actor: Any, *, silent: bool = False) -> None:
        self._actor, self._silent = actor, silent
        self._sender, self._said = uuid.uuid4().hex, 0
        self._sent: list[Any] = []

    def send(self, messages: Sequence[Message]) -> None:
        """Hand messages over without waiting."""
        if not self._silent:
            self._sent.append(self._push(messages))

    def stop_requested(self, within_s: float) -> bool:
        """Whether an answer that is there, or comes within some seconds, asks to stop."""
        if not self._sent:
            return False
        arrived, self._sent = ray.wait(self._sent, num_returns=len(self._sent), timeout=within_s)
        return any(_answer(arrived))

    def next_job(self, crew: str, number: int, within_s: float) -> PackJob | None:
        """The crew's pack of this number, from 0; None if there is none within some seconds, and then never."""
        job: PackJob | None = _answer(self._actor.next_job.remote(crew, number, within_s))
        return job

    def note_end(self, crew: str, pack: str) -> None:
        """Say that a crew has done with a pack; all that was sent must have arrived before, see :meth:`flush`."""
        if not self._silent:
            _answer(self._actor.note_end.remote(crew, pack))

    def note_start(self, crew: str, pack: str, node: str) -> None:
        """Say that a crew begins with a pack, this worker on this node."""
        if not self._silent:
            _answer(self._actor.note_start.remote(crew, pack, node))

    def failed(self, keys: Sequence[str]) -> dict[str, list[float]]:
        """Those of some trials that have failed in this session, and their errors by epoch."""
        errors: dict[str, list[float]] = _answer(self._actor.failed.remote(keys))
        return errors

    def tell_too_large(self, pack: str, reason: str) -> None:
        """Say that a pack does not fit into memory, and wait until that has arrived."""
        _answer(self._actor.note_too_large.remote(pack, reason))

    def too_large(self, pack: str) -> bool:
        """Whether a pack did not fit into memory in this session."""
        return _answer(self._actor.too_large.remote(pack)) is not None

    def tell(self, message: Message) -> None:
        """Send one message, silent or not, and wait until it has arrived."""
        _answer(self._push([message]))

    def flush(self) -> bool:
        """Wait until everything has arrived; True if an answer asks to stop."""
        answers, self._sent = _answer(self._sent), []
        return any(answers)

    def _push(self, messages: Sequence[Message]) -> Any:
        asked = self._actor.push.remote(self._sender, self._said, list(messages))
        self._said += 1
        return asked


def _answer(asked: Any) -> Any:
    try:
        return ray.get(asked)
    except ray.exceptions.RayActorError as error:
        raise MailboxGone("the mailbox of this run is gone") from error
