"""One member of a pack that a user's trainable trains: its status, history and time."""

from trainables.custom.faults import TrainableFault
from trainables.custom.metrics import divergence, epoch_record, read_metrics
from trainables.training.member_log import MemberLog
from trainables.training.records import Status


class CustomMember(MemberLog):
    """What is known of one member."""

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
