"""The mailbox: a Ray actor through which workers hand results to the recorder without waiting for it."""

from collections.abc import Sequence
from typing import Any

import ray

from stablesweep.messages import Message

MAILBOX_CPUS = 0
ANSWER_WITHIN_S = 0.5


class _Mailbox:
    """Holds messages until the recorder fetches them, and the request to stop until the workers see it."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._stop = False

    def push(self, messages: Sequence[Message]) -> bool:
        """Keep messages; True if the workers shall stop."""
        self._messages.extend(messages)
        return self._stop

    def drain(self) -> list[Message]:
        """All messages since the last call, in order of arrival."""
        messages, self._messages = self._messages, []
        return messages

    def stop(self) -> None:
        """Ask every worker to stop at the end of its epoch."""
        self._stop = True


class Mailbox:
    """The driver's end."""

    def __init__(self) -> None:
        self.actor: Any = ray.remote(num_cpus=MAILBOX_CPUS)(_Mailbox).remote()

    def drain(self) -> list[Message]:
        """All messages since the last call. Raises ray.exceptions.RayError if Ray is gone."""
        messages: list[Message] = ray.get(self.actor.drain.remote())
        return messages

    def stop(self) -> None:
        """Ask every worker to stop at the end of its epoch."""
        ray.get(self.actor.stop.remote())


class Outbox:
    """A worker's end: sends without waiting for the recorder; the answer says whether to stop."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor
        self._sent: list[Any] = []

    def send(self, messages: Sequence[Message]) -> None:
        """Hand messages over without waiting."""
        self._sent.append(self._actor.push.remote(list(messages)))

    def stop_requested(self) -> bool:
        """Whether an answer asks to stop; waits a moment for the last one, so that a stop is seen in its epoch."""
        if not self._sent:
            return False
        arrived, self._sent = ray.wait(self._sent, num_returns=len(self._sent), timeout=ANSWER_WITHIN_S)
        return any(ray.get(arrived))

    def flush(self) -> bool:
        """Wait until everything has arrived; True if an answer asks to stop."""
        answers, self._sent = ray.get(self._sent), []
        return any(answers)
