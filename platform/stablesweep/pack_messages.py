"""What a worker says of its pack's trials: results of trainables as messages."""

import math

from stablesweep.messages import EpochDone, TrialEnded
from trainables import CustomPack, LockstepPack, MemberEpoch, MemberResult


def epoch_done(epoch: MemberEpoch, *, custom: bool = False) -> EpochDone:
    """An epoch of one trial: loss in nats, error in percent, seconds.

    Args:
        epoch: What was trained.
        custom: Whether by a user's own trainable: a loss on the evaluation split, if it has one, is then one of its own metrics.
    """
    more = dict(epoch.more)
    if custom and math.isfinite(epoch.eval_loss):
        more["eval_loss"] = epoch.eval_loss
    return EpochDone(
        key=epoch.key,
        epoch=epoch.epoch,
        train_loss=epoch.train_loss,
        error=epoch.error,
        lr=epoch.lr,
        seconds=epoch.seconds,
        more=more,
    )


def trial_ended(result: MemberResult, pack: LockstepPack | CustomPack) -> list[TrialEnded]:
    """The end of one trial of a pack; nothing if it still trains."""
    if result.status == "running":
        return []
    return [
        TrialEnded(
            key=result.key,
            status=result.status,
            error=result.error,
            best_error=result.best_error,
            epochs_done=result.epochs_done,
            seconds=result.seconds,
            reason=result.reason,
            trained_in=pack.way if isinstance(pack, LockstepPack) else None,
        )
    ]
