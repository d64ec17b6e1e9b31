"""The mailbox: a Ray actor through which workers get packs, and hand results to the recorder without waiting for it."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from stablesweep.errors import StablesweepError
from stablesweep.job import PackJob
from stablesweep.messages import EpochDone, Message, TrialEnded

CALLS_AT_ONCE = 100_000
"""Every crew has two calls waiting for an answer most of the time."""


class _Assignments:
    """The packs that the workers of one Train run got, in order."""

    def __init__(self) -> None:
        self.ends: dict[str, asyncio.Event] = {}
        """By pack, in the order in which they came."""
        self.dismissed = False
        self.more = asyncio.Event()


class _Inbox:
    """Puts what one sender says into the order in which it was said: Ray's calls of an actor like this one overtake each other."""

    def __init__(self) -> None:
        self._expected = 0
        self._early: dict[int, Sequence[Message]] = {}

    def take(self, number: int, messages: Sequence[Message]) -> list[Message]:
        """The messages whose turn it is now; what is told twice counts once."""
        if number >= self._expected:
            self._early[number] = messages
        ready: list[Message] = []
        while self._expected in self._early:
            ready.extend(self._early.pop(self._expected))
            self._expected += 1
        return ready


class _Mailbox:
    """Holds packs until workers fetch them, messages until the recorder does, and the request to stop until the workers see it.

    Every method may be called again where an answer was lost, and changes nothing then.
    """

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._drained: tuple[int, list[Message]] = (-1, [])
        self._jobs: dict[str, PackJob] = {}
        self._inboxes: dict[str, _Inbox] = {}
        self._stop = False
        self._errors: dict[str, list[float]] = {}
        self._failed: set[str] = set()
        self._too_large: dict[str, str] = {}
        self._starters: dict[str, set[str]] = {}
        self._nodes: dict[str, str] = {}
        self._crews: dict[str, _Assignments] = {}
        self._closing = False

    def put(self, job: PackJob) -> None:
        """Keep a pack until :meth:`drop`. Here and not with Ray Tune, which would keep all to the end: it may hold a user's own data."""
        self._jobs[job.name] = job

    def drop(self, pack: str) -> None:
        """Forget a pack that nobody trains any more."""
        self._jobs.pop(pack, None)

    def assign(self, crew: str, pack: str) -> bool:
        """Hand a pack to a crew, known or new; False if that one has been dismissed."""
        own = self._crews.setdefault(crew, _Assignments())
        if pack in own.ends:
            return True
        if not own.dismissed:
            own.ends[pack] = asyncio.Event()
            own.more.set()
        return not own.dismissed

    async def next_job(self, crew: str, number: int, within_s: float) -> PackJob | None:
        """The crew's pack of this number, from 0, as soon as there is one; None, for good, if there is none within some seconds."""
        own = self._crews[crew]
        while not (own.dismissed or self._closing) and len(own.ends) <= number:
            own.more.clear()
            try:
                await asyncio.wait_for(own.more.wait(), within_s)
            except TimeoutError:
                break
        own.dismissed = own.dismissed or len(own.ends) <= number
        return None if own.dismissed else self._jobs.get(list(own.ends)[number])

    def close(self) -> None:
        """Let every crew leave when it has done with the packs that it has."""
        self._closing = True
        for crew in self._crews.values():
            crew.more.set()

    def closing(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._closing

    def note_end(self, crew: str, pack: str) -> None:
        """Note that a crew has done with a pack."""
        self._crews[crew].ends[pack].set()

    def has_ended(self, crew: str, pack: str) -> bool:
        """Whether a crew has done with a pack."""
        return self._crews[crew].ends[pack].is_set()

    async def wait_end(self, crew: str, pack: str) -> None:
        """Answers when a crew has done with a pack, and never if it does not."""
        await self._crews[crew].ends[pack].wait()

    def push(self, sender: str, number: int, messages: Sequence[Message]) -> bool:
        """Keep messages, the ones of this number from a sender, counted from 0; True if the workers shall stop."""
        messages = self._inboxes.setdefault(sender, _Inbox()).take(number, messages)
        self._messages.extend(messages)
        for message in messages:
            if isinstance(message, EpochDone):
                errors = self._errors.setdefault(message.key, [])
                # A pack that is taken up again tells all its epochs again.
                errors.extend([message.error] if message.epoch == len(errors) + 1 else [])
            elif isinstance(message, TrialEnded) and message.status == "failed":
                self._failed.add(message.key)
            elif isinstance(message, TrialEnded):
                self._errors.pop(message.key, None)
        return self._stop

    def failed(self, keys: Sequence[str]) -> dict[str, list[float]]:
        """Those of some trials that have failed in this session, and their errors by epoch."""
        return {key: self._errors.get(key, []) for key in keys if key in self._failed}

    def note_start(self, crew: str, pack: str, node: str) -> None:
        """Note that a crew has begun with a pack, its first worker on this node."""
        if next(iter(self._crews[crew].ends)) == pack:
            self._starters.setdefault(pack, set()).add(crew)
        self._nodes[pack] = node

    def nodes(self) -> dict[str, str]:
        """By pack, the node on which its first worker started last."""
        return self._nodes

    def starts(self, pack: str) -> int:
        """How many crews have begun with this pack in this session, which had trained no other before."""
        return len(self._starters.get(pack, ()))

    def note_too_large(self, pack: str, reason: str) -> None:
        """Note that a pack did not fit into memory."""
        self._too_large.setdefault(pack, reason)

    def too_large(self, pack: str) -> str | None:
        """What ran out when a pack did not fit into memory in this session; None if it did, or was not tried."""
        return self._too_large.get(pack)

    def drain(self, number: int) -> list[Message]:
        """All messages since the call before the one of this number, those of each sender in order."""
        if number != self._drained[0]:
            self._drained, self._messages = (number, self._messages), []
        return self._drained[1]

    def stop(self) -> None:
        """Ask every worker to stop after its step."""
        self._stop = True


class Mailbox:
    """The driver's end. The actor sits on the driver's node: without that one there is no run."""

    def __init__(self) -> None:
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        # A connection that breaks for a moment ends nothing.
        options: dict[str, Any] = {
            "max_concurrency": CALLS_AT_ONCE,
            "scheduling_strategy": here,
            "max_task_retries": -1,
        }
        self.actor: Any = ray.remote(num_cpus=0)(_Mailbox).options(**options).remote()
        self._drains = 0

    def drain(self) -> list[Message]:
        """All messages since the last call that did not raise; for one thread.

        Raises:
            StablesweepError: If the actor or Ray is gone.
        """
        with _death_in_words():
            messages: list[Message] = ray.get(self.actor.drain.remote(self._drains))
        self._drains += 1
        return messages

    def put(self, job: PackJob) -> None:
        """Keep a pack for the workers that will train it. Raises as :meth:`drain`."""
        with _death_in_words():
            ray.get(self.actor.put.remote(job))

    def drop(self, pack: str) -> None:
        """Forget a pack that nobody trains any more. Raises as :meth:`drain`."""
        with _death_in_words():
            ray.get(self.actor.drop.remote(pack))

    def stop(self) -> None:
        """Ask every worker to stop after its step. Raises as :meth:`drain`."""
        with _death_in_words():
            ray.get(self.actor.stop.remote())

    def close(self) -> None:
        """Let the workers leave when they have done with the packs that they have. Raises as :meth:`drain`."""
        with _death_in_words():
            ray.get(self.actor.close.remote())

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
