"""One generator of a trainable, and the members that it trains."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from trainables.custom.faults import EndedEarly, TrainableFault, close, exits_are_faults
from trainables.custom.modes import TorchModes
from trainables.custom.protocol import Trainable, TrainingContext
from trainables.custom.state import plain_copy
from trainables.training.records import Member


class Course:
    """A generator from its start, or from a checkpoint, to its end."""

    def __init__(
        self,
        trainable: Trainable,
        members: Sequence[Member],
        make_context: Callable[[], TrainingContext],
        *,
        epoch: int = 0,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        """Nothing of the user's runs before the first epoch.

        Args:
            trainable: The user's.
            members: Whom it trains.
            make_context: Makes a context of its own for it.
            epoch: Epochs done at the checkpoint.
            state: What was kept then, by key; of no meaning before the first epoch.
        """
        self.epoch = epoch
        """Epochs yielded, those before the checkpoint included."""
        self.keys = tuple(member.key for member in members)
        self._trainable = trainable
        # A copy: a trainable that takes its hyperparameters apart must not change the trial.
        self._members = tuple(replace(member, hyperparameters=dict(member.hyperparameters)) for member in members)
        # A copy: what is loaded from a state must not change the state.
        self._state = {key: plain_copy(own) for key, own in (state or {}).items()} if epoch else None
        self._context = replace(make_context(), first_epoch=epoch + 1, state=self._state)
        self._iterator: Iterator[Any] | None = None
        self._modes = TorchModes()

    def advance(self) -> tuple[Mapping[str, Any], Mapping[str, float]]:
        """What the generator yields for one more epoch, and the seconds it spent on each member as far as is known.

        Raises:
            EndedEarly: If it yields nothing more.
            TrainableFault: If it yields no mapping, or something for a key that it was not given.
            Exception: Whatever the generator raises.
            SystemExit: If the handler of a signal raised it.
        """
        started = time.perf_counter()
        try:
            with exits_are_faults(), self._modes.active():
                if self._iterator is None:
                    self._iterator = self._started()
                outcomes = next(self._iterator)
        except StopIteration:
            raise EndedEarly(self.epoch, self._context.epochs) from None
        self._require_known(outcomes)
        self.epoch += 1
        seconds, self._context.link.seconds = self._context.link.seconds, {}
        if len(self.keys) == 1:
            seconds = {self.keys[0]: time.perf_counter() - started}
        return outcomes, seconds

    def kept(self) -> dict[str, Any]:
        """The members' states after :attr:`epoch` by key; empty if the trainable keeps none.

        Raises:
            TrainableFault: If what the trainable wants to keep is not plain, or not by key.
            Exception: Whatever its function raises.
        """
        if not self.epoch:
            return dict.fromkeys(self.keys)
        if self._iterator is None:
            return {key: plain_copy(own) for key, own in (self._state or {}).items()}
        state_of = self._context.link.state_of
        if state_of is None:
            return {}
        with exits_are_faults(), self._modes.active():
            state = state_of()
        if not isinstance(state, Mapping) or not set(state) <= set(self.keys):
            raise TrainableFault("keep_state's function did not return a mapping from members' keys to their states")
        return {key: plain_copy(own, f"the state of {key!r}") for key, own in state.items()}

    def stop(self, keys: Iterable[str]) -> None:
        """Tells the trainable that nothing more is wanted for these members."""
        self._context.link.stopped |= frozenset(keys) & frozenset(self.keys)

    def close(self) -> None:
        """Ends the generator."""
        with self._modes.active():
            close(self._iterator)

    def _started(self) -> Iterator[Any]:
        iterator: Any = self._trainable(self._members, self._context)
        if not isinstance(iterator, Iterator):
            raise TrainableFault(
                f"the trainable returned {type(iterator).__name__}, expected an iterator; write it as a generator function"
            )
        return iterator

    def _require_known(self, outcomes: object) -> None:
        if not isinstance(outcomes, Mapping):
            raise TrainableFault(f"the trainable yielded {type(outcomes).__name__}, expected metrics by member's key")
        for key in outcomes:
            if key not in self.keys:
                raise TrainableFault(f"the trainable yielded metrics for {key!r}, which is no key of its members")
