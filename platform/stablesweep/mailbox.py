"""The mailbox: a Ray actor through which workers hand results to the recorder without waiting for it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from stablesweep.errors import StablesweepError
from stablesweep.messages import EpochDone, Message, TrialEnded

ANSWER_WITHIN_S = 0.5
"""After an epoch a worker waits so long for an answer, so that a stop is seen then."""


class _Mailbox:
    """Holds messages until the recorder fetches them, and the request to stop until the workers see it."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._stop = False
        self._errors: dict[str, list[float]] = {}
        self._failed: set[str] = set()
        self._too_large: dict[str, str] = {}
        self._starts: Counter[str] = Counter()
        self._nodes: dict[str, str] = {}

    def push(self, messages: Sequence[Message]) -> bool:
        """Keep messages; True if the workers shall stop."""
        self._messages.extend(messages)
        for message in messages:
            if isinstance(message, EpochDone):
                errors = self._errors.setdefault(message.key, [])
                # A pack that is taken up again tells all its epochs again.
                errors.extend([message.error] if message.epoch == len(errors) + 1 else [])
            elif isinstance(message, TrialEnded) and message.status == "failed":
                self._failed.add(message.key)
        return self._stop

    def failed(self) -> dict[str, list[float]]:
        """The trials that have failed in this session, and their errors by epoch."""
        return {key: self._errors.get(key, []) for key in self._failed}

    def note_start(self, pack: str, node: str) -> None:
        """Note that a pack's workers have started, again perhaps, the first of them on this node."""
        self._starts[pack] += 1
        self._nodes[pack] = node

    def nodes(self) -> dict[str, str]:
        """By pack, the node on which its first worker started last."""
        return self._nodes

    def starts(self, pack: str) -> int:
        """How often a pack's workers have started in this session."""
        return self._starts[pack]

    def note_too_large(self, pack: str, reason: str) -> None:
        """Note that a pack did not fit into memory."""
        self._too_large.setdefault(pack, reason)

    def too_large(self, pack: str) -> str | None:
        """What ran out when a pack did not fit into memory in this session; None if it did, or was not tried."""
        return self._too_large.get(pack)

    def drain(self) -> list[Message]:
        """All messages since the last call, in order of arrival."""
        messages, self._messages = self._messages, []
        return messages

    def stop(self) -> None:
        """Ask every worker to stop after its step."""
        self._stop = True


class Mailbox:
    """The driver's end. The actor sits on the driver's node: without that one there is no run."""

    def __init__(self) -> None:
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self.actor: Any = ray.remote(num_cpus=0)(_Mailbox).options(scheduling_strategy=here).remote()

    def drain(self) -> list[Message]:
        """All messages since the last call.

        Raises:
            StablesweepError: If the actor or Ray is gone.
        """
        with _death_in_words():
            messages: list[Message] = ray.get(self.actor.drain.remote())
        return messages

    def stop(self) -> None:
        """Ask every worker to stop after its step. Raises as :meth:`drain`."""
        with _death_in_words():
            ray.get(self.actor.stop.remote())

    def stranded(self, packs: set[str]) -> set[str]:
        """Those of some packs whose first worker was on a node that has gone: they wait for another one. Raises as :meth:`drain`."""
        with _death_in_words():
            nodes: dict[str, str] = ray.get(self.actor.nodes.remote())
        alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}  # type: ignore[no-untyped-call]
        return {pack for pack in packs if pack in nodes and nodes[pack] not in alive}


@contextmanager
def _death_in_words() -> Iterator[None]:
    try:
        yield
    except ray.exceptions.RayError as error:
        raise StablesweepError(
            f"the process that takes in the workers' results died ({type(error).__name__}); "
            "what was recorded is safe, run the same command again to continue."
        ) from error


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
        self._sent: list[Any] = []

    def send(self, messages: Sequence[Message]) -> None:
        """Hand messages over without waiting."""
        if not self._silent:
            self._sent.append(self._actor.push.remote(list(messages)))

    def stop_requested(self, within_s: float) -> bool:
        """Whether an answer that is there, or comes within some seconds, asks to stop."""
        if not self._sent:
            return False
        arrived, self._sent = ray.wait(self._sent, num_returns=len(self._sent), timeout=within_s)
        return any(_answer(arrived))

    def note_start(self, pack: str, node: str) -> None:
        """Say that a pack's workers have started, this one on this node."""
        if not self._silent:
            _answer(self._actor.note_start.remote(pack, node))

    def failed(self) -> dict[str, list[float]]:
        """The trials that have failed in this session, and their errors by epoch."""
        errors: dict[str, list[float]] = _answer(self._actor.failed.remote())
        return errors

    def tell_too_large(self, pack: str, reason: str) -> None:
        """Say that a pack does not fit into memory, and wait until that has arrived."""
        _answer(self._actor.note_too_large.remote(pack, reason))

    def too_large(self, pack: str) -> bool:
        """Whether a pack did not fit into memory in this session."""
        return _answer(self._actor.too_large.remote(pack)) is not None

    def tell(self, message: Message) -> None:
        """Send one message, silent or not, and wait until it has arrived."""
        _answer(self._actor.push.remote([message]))

    def flush(self) -> bool:
        """Wait until everything has arrived; True if an answer asks to stop."""
        answers, self._sent = _answer(self._sent), []
        return any(answers)


def _answer(asked: Any) -> Any:
    try:
        return ray.get(asked)
    except ray.exceptions.RayActorError as error:
        raise MailboxGone("the mailbox of this run is gone") from error
