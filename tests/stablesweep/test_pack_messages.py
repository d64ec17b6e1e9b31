"""What a worker says of its pack: of a user's own trainable and of a built-in one."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import stablesweep as ss
from stablesweep.messages import EpochDone, TrialEnded
from stablesweep.pack_messages import epoch_done, trial_ended
from trainables import CustomPack, LockstepPack, Member, Recipe, TrainingContext, load_dataset

MEMBERS = [Member(key="a", seed=1, hyperparameters={"lr": 0.01, "weight_decay": 0.0})]


def descend(members: Sequence[Member], context: TrainingContext) -> Iterator[Mapping[str, Any]]:
    for epoch in range(context.first_epoch, context.epochs + 1):
        yield {
            member.key: {"error": 40.0 - epoch, "train_loss": 2.0, "eval_loss": 1.5, "f1": 0.5} for member in members
        }


def test_every_metric_of_a_users_own_trainable_is_told() -> None:
    ss.register_trainable("descend", descend)
    pack = CustomPack(MEMBERS, trainable="descend", model="net", optimizer="sgd", options={}, epochs=2, study_seed=0)
    (first,) = pack.run_epoch()
    assert epoch_done(first, pack) == EpochDone(
        key="a", epoch=1, train_loss=2.0, error=39.0, lr=0.01, seconds=first.seconds, more={"f1": 0.5, "eval_loss": 1.5}
    )
    assert [trial_ended(result, pack) for result in pack.results()] == [[]]
    pack.run_epoch()
    (result,) = pack.results()
    assert trial_ended(result, pack) == [
        TrialEnded(
            key="a",
            status="completed",
            error=38.0,
            best_error=38.0,
            epochs_done=2,
            seconds=result.seconds,
            reason=None,
            trained_in=None,
        )
    ]


def test_of_a_model_the_way_of_training_is_told() -> None:
    pack = LockstepPack(
        MEMBERS,
        model="vit_c_micro",
        optimizer="adamw",
        data=load_dataset("digits", image_size=16),
        recipe=Recipe(batch_size=512),
        epochs=1,
        study_seed=0,
    )
    (epoch,) = pack.run_epoch()
    told = epoch_done(epoch, pack)
    assert (told.train_loss, told.error, told.more) == (epoch.train_loss, epoch.error, {})
    ((end,),) = [trial_ended(result, pack) for result in pack.results()]
    assert (end.status, end.error, end.trained_in) == ("completed", epoch.error, "loop")
