"""What a worker says of its pack's trials: results of trainables as messages."""

import math

from stablesweep.messages import EpochDone, TrialEnded
from stablesweep.pack_start import AnyPack
from trainables import CustomPack, LockstepPack, MemberEpoch, MemberResult


def epoch_done(epoch: MemberEpoch, pack: AnyPack) -> EpochDone:
    """An epoch of one trial of a pack: loss in nats, error in percent, seconds."""
    more = dict(epoch.more)
    # Of a user's own trainable a loss on the evaluation split is one of its own metrics.
    if isinstance(pack, CustomPack) and math.isfinite(epoch.eval_loss):
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


def trial_ended(result: MemberResult, pack: AnyPack) -> list[TrialEnded]:
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
