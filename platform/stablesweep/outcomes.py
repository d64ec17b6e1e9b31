"""What is known of each trial's result while a study runs: what later phases and later suggestions depend on."""

import math
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from stablesweep.messages import FINAL, EpochDone, Message, TrialEnded
from stablesweep.record import Record


@dataclass(kw_only=True, slots=True)
class Outcome:
    """One trial so far."""

    status: str = "running"
    error: float | None = None
    """Final error; None unless completed."""
    errors: dict[int, float] = field(default_factory=dict)
    """Error by epoch, from 1."""

    @property
    def curve(self) -> tuple[float, ...]:
        """The errors of all epochs in order; after the last one of a diverged trial comes infinity."""
        errors = tuple(self.errors[epoch] for epoch in sorted(self.errors))
        return (*errors, math.inf) if self.status == "diverged" else errors


class Outcomes:
    """By key; messages may come from another thread than the questions."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[str, Outcome] = {}

    @classmethod
    def of(cls, record: Record) -> "Outcomes":
        """What a record has."""
        outcomes = cls()
        states = record.trials()
        for state in states:
            outcomes._found[state.key] = Outcome(status=state.status, error=state.error)
        outcomes.note(record.epochs([state.key for state in states]))
        return outcomes

    def note(self, messages: Iterable[Message]) -> None:
        """Take in messages; a trial's first result stays."""
        with self._lock:
            for message in messages:
                if isinstance(message, EpochDone):
                    self._found.setdefault(message.key, Outcome()).errors.setdefault(message.epoch, message.error)
                elif isinstance(message, TrialEnded):
                    outcome = self._found.setdefault(message.key, Outcome())
                    if outcome.status not in FINAL:
                        outcome.status, outcome.error = message.status, message.error

    def final(self, key: str) -> Outcome | None:
        """The result of a trial, if it has one."""
        with self._lock:
            outcome = self._found.get(key)
            return outcome if outcome is not None and outcome.status in FINAL else None

    def curve(self, key: str) -> tuple[float, ...]:
        """The errors of a trial's epochs so far, whether it has a result or not."""
        with self._lock:
            outcome = self._found.get(key)
            return outcome.curve if outcome is not None else ()

    def all_final(self, keys: Iterable[str]) -> bool:
        """Whether each of these trials has a result."""
        return all(self.final(key) is not None for key in keys)

    def finals(self, keys: Sequence[str]) -> list[Outcome]:
        """The results of those of these trials that have one, in their order."""
        return [outcome for outcome in map(self.final, keys) if outcome is not None]
