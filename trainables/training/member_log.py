"""What is known of one member of a pack, whatever trains it: its status, history and time. Imports no torch."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

from trainables.training.records import Member, MemberEpoch, MemberResult, Status


class MemberLog:
    """The log of one member."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.status: Status = "running"
        self.reason: str | None = None
        self.history: list[MemberEpoch] = []
        self.seconds = 0.0
        """All time apportioned to this member so far."""
        self.own_seconds = 0.0
        """Time that is known to have been spent on this member alone, not yet apportioned."""
        self.epoch_seconds = 0.0
        """What was apportioned to it since its epoch began."""

    @property
    def live(self) -> bool:
        """Whether the member is still to be trained."""
        return self.status == "running"

    def close_epoch(self, epoch: int) -> bool:
        """Whether this epoch is history; if so, its record now says how long it took."""
        seconds, self.epoch_seconds = self.epoch_seconds, 0.0
        if not self.history or self.history[-1].epoch != epoch:
            return False
        self.history[-1] = replace(self.history[-1], seconds=seconds)
        return True

    def take_own_seconds(self) -> float:
        """Time spent on this member alone since this was last asked."""
        taken, self.own_seconds = self.own_seconds, 0.0
        return taken

    def charge(self, seconds: float) -> None:
        """Adds to the member's time."""
        self.seconds += seconds
        self.epoch_seconds += seconds

    def result(self) -> MemberResult:
        """Where the member stands."""
        errors = [row.error for row in self.history]
        return MemberResult(
            key=self.member.key,
            status=self.status,
            error=errors[-1] if self.status == "completed" else None,
            best_error=min(errors, default=None),
            epochs_done=len(errors),
            reason=self.reason,
            seconds=self.seconds,
            history=tuple(self.history),
        )

    def log_state(self) -> dict[str, Any]:
        """The log in plain containers."""
        return {
            "seed": self.member.seed,
            "hyperparameters": dict(self.member.hyperparameters),
            "status": self.status,
            "reason": self.reason,
            "seconds": self.seconds,
            "epoch_seconds": self.epoch_seconds,
            "history": [asdict(row) for row in self.history],
        }

    def load_log(self, state: Mapping[str, Any]) -> None:
        """Continues from what :meth:`log_state` returned."""
        self.status, self.reason, self.seconds = state["status"], state["reason"], state["seconds"]
        self.history = [MemberEpoch(**row) for row in state["history"]]
        self.epoch_seconds = state["epoch_seconds"]

    def require_same(self, state: Mapping[str, Any]) -> None:
        """Nothing, if :meth:`log_state` returned this for the same trial.

        Raises:
            ValueError: If the state is of a member with another seed or other hyperparameters.
        """
        asked = {"seed": self.member.seed, "hyperparameters": dict(self.member.hyperparameters)}
        for name, value in asked.items():
            if state[name] != value:
                raise ValueError(
                    f"member {self.member.key!r}: the checkpoint has {name} {state[name]!r}, the study asks for {value!r}; "
                    "give the study another name, or restore what it was"
                )


@contextmanager
def spent_on_each(members: Sequence[MemberLog]) -> Iterator[None]:
    """The time inside is spent on these members, on each the same part of it."""
    started = time.perf_counter()
    try:
        yield
    finally:
        elapsed = time.perf_counter() - started
        for member in members:
            member.own_seconds += elapsed / len(members)


def apportion(wall_seconds: float, members: Sequence[MemberLog]) -> None:
    """Charges the members for a stretch of the pack's time, in proportion to the time spent on each alone.

    So that the members' seconds sum to the pack's, shared work such as preparing batches included.
    """
    own = [member.take_own_seconds() for member in members]
    total = sum(own)
    for member, seconds in zip(members, own, strict=True):
        member.charge(wall_seconds * (seconds / total if total > 0 else 1 / len(members)))
