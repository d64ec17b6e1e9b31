"""One member of a pack that a user's trainable trains: its status, history and time."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from trainables.custom.faults import TrainableFault
from trainables.custom.metrics import divergence, epoch_record, read_metrics
from trainables.training.records import Member, MemberEpoch, MemberResult, Status


class CustomMember:
    """What is known of one member."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.status: Status = "running"
        self.reason: str | None = None
        self.history: list[MemberEpoch] = []
        self.seconds = 0.0
        """All time apportioned to this member so far."""
        self.own_seconds = 0.0
        """Time that is known to have been spent on this member alone, not yet apportioned."""
        self._epoch_seconds = 0.0

    @property
    def live(self) -> bool:
        """Whether the member is still to be trained."""
        return self.status == "running"

    def end_epoch(self, epoch: int, metrics: object, *, last: bool) -> None:
        """Takes what was yielded for the member; it has failed or diverged if that is not finite metrics.

        Args:
            epoch: Counted from 1.
            metrics: The user's.
            last: Whether the training ends with this epoch.
        """
        try:
            numbers = read_metrics(metrics)
        except TrainableFault as fault:
            self.end("failed", str(fault))
            return
        diverged = divergence(numbers, epoch)
        if diverged is not None:
            self.end("diverged", diverged)
            return
        self.history.append(epoch_record(self.member.key, epoch, numbers, self.member.hyperparameters))
        if last:
            self.status = "completed"

    def end(self, status: Status, reason: str) -> None:
        """Ends the member's training before its last epoch."""
        self.status, self.reason = status, reason

    def close_epoch(self, epoch: int) -> bool:
        """Whether this epoch is history; if so, its record now says how long it took."""
        seconds, self._epoch_seconds = self._epoch_seconds, 0.0
        if not self.history or self.history[-1].epoch != epoch:
            return False
        self.history[-1] = replace(self.history[-1], seconds=seconds)
        return True

    def take_host_seconds(self) -> float:
        """Time spent on this member alone since this was last asked."""
        taken, self.own_seconds = self.own_seconds, 0.0
        return taken

    def charge(self, seconds: float) -> None:
        """Adds to the member's time."""
        self.seconds += seconds
        self._epoch_seconds += seconds

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

    def state_dict(self) -> dict[str, Any]:
        """All of this in plain containers."""
        return {
            "seed": self.member.seed,
            "hyperparameters": dict(self.member.hyperparameters),
            "status": self.status,
            "reason": self.reason,
            "seconds": self.seconds,
            "epoch_seconds": self._epoch_seconds,
            "history": [asdict(row) for row in self.history],
        }

    def require_same(self, state: Mapping[str, Any]) -> None:
        """Nothing, if :meth:`state_dict` returned this for the same trial.

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

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from what :meth:`state_dict` returned."""
        self.status, self.reason, self.seconds = state["status"], state["reason"], state["seconds"]
        self.history = [MemberEpoch(**row) for row in state["history"]]
        self._epoch_seconds = state["epoch_seconds"]
