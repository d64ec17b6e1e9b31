"""A trainable made of a function that trains one member. Imports no torch until it trains."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from functools import partial, wraps
from typing import Any

from trainables.custom.faults import EndedEarly, close, exits_are_faults
from trainables.custom.protocol import Link, Metrics, Trainable, TrainingContext
from trainables.training.records import Member

TrainOne = Callable[[Member, TrainingContext], Iterator[Metrics]]
"""A generator function that trains one member and yields its metrics after each epoch."""


def one_at_a_time(train_one: TrainOne) -> Trainable:
    """The trainable that trains each member of a pack with ``train_one``, all in lockstep.

    Each member has the global generators of torch, numpy and ``random`` to itself, seeded with its seed, and torch's grad
    mode, inference mode and default dtype; a member that raises fails alone. If ``train_one`` gives
    ``context.keep_state`` a function, what that returns for its member comes back as ``context.state`` in a continued
    pack, where ``keep_state`` sets the generators to what they were: call it when all is built and restored, right
    before the first epoch.

    Args:
        train_one: ``train_one(member, context)`` yields metrics after each epoch from ``context.first_epoch`` to
            ``context.epochs``; its ``context.stopped()`` is empty, as it is closed when its member is no longer wanted.
    """

    @wraps(train_one)
    def train(members: Sequence[Member], context: TrainingContext) -> Iterator[Mapping[str, Metrics | Exception]]:
        lanes = {member.key: _Lane(train_one, member, context) for member in members}

        def states() -> dict[str, Any]:
            wanted = {key: lane for key, lane in lanes.items() if key not in context.stopped()}
            return {key: lane.state() for key, lane in wanted.items() if lane.keeps_state}

        context.keep_state(states)
        try:
            for _ in range(context.first_epoch, context.epochs + 1):
                done = {key: lane.next_epoch() for key, lane in lanes.items()}
                context.link.seconds.update({key: lane.seconds for key, lane in lanes.items()})
                yield done
                failed = {key for key, metrics in done.items() if isinstance(metrics, Exception)}
                for key in [key for key in lanes if key in failed | context.stopped()]:
                    lanes.pop(key).close()
        finally:
            for lane in lanes.values():
                lane.close()

    return train


class _Lane:
    """One member's generator."""

    def __init__(self, train_one: TrainOne, member: Member, context: TrainingContext) -> None:
        from trainables.custom.generators import GlobalGenerators
        from trainables.custom.modes import TorchModes

        self.seconds = 0.0
        """Time that the last epoch took."""
        self._train_one, self._member = train_one, member
        self._generators, self._modes = GlobalGenerators(member.seed, context.device), TorchModes()
        link, own = Link(), None
        if context.state is not None:
            own, generators = context.state[member.key]["own"], context.state[member.key]["generators"]
            # Not at once: what the member draws until then, such as initial weights, it drew before the checkpoint too.
            link.on_keep_state = partial(self._generators.resume, generators)
        self._context = replace(context, options=deepcopy(context.options), state=own, link=link)
        self._epoch = context.first_epoch - 1
        self._iterator: Iterator[Metrics] | None = None

    def next_epoch(self) -> Metrics | Exception:
        """The metrics of one more epoch, or what the member raised."""
        from trainables.training.failures import is_the_processes

        started = time.perf_counter()
        try:
            with exits_are_faults(), self._active():
                if self._iterator is None:
                    self._iterator = iter(self._train_one(self._member, self._context))
                metrics = next(self._iterator)
        except StopIteration:
            return EndedEarly(self._epoch, self._context.epochs)
        except Exception as error:
            if is_the_processes(error):
                raise
            return error
        finally:
            self.seconds = time.perf_counter() - started
        self._epoch += 1
        return metrics

    @property
    def keeps_state(self) -> bool:
        """Whether the member has said how to keep its state."""
        return self._context.link.state_of is not None

    def state(self) -> dict[str, Any]:
        """The member's own state and that of its generators."""
        assert self._context.link.state_of is not None, "ask keeps_state first"
        with self._active():
            own = self._context.link.state_of()
        return {"generators": self._generators.state_dict(), "own": own}

    def close(self) -> None:
        """Ends the member's generator."""
        with self._active():
            close(self._iterator)

    @contextmanager
    def _active(self) -> Iterator[None]:
        with self._generators.active(), self._modes.active():
            yield
