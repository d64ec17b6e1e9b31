"""What runs on a Ray Train worker: one pack, trained in lockstep, reported as it goes."""

import logging
import tempfile
import time
from pathlib import Path
from typing import Any

import ray.train
import torch

from stablesweep.job import PackJob
from stablesweep.mailbox import Outbox
from stablesweep.messages import EpochDone, Message, PackTimed, TrialEnded, TrialStarted
from trainables import LockstepPack, MemberEpoch, MemberResult, install, load_dataset

CHECKPOINT_FILE = "pack.pt"
THREADS = 1
"""One thread, always: the last bits of a float depend on the number of threads."""

logger = logging.getLogger(__name__)


def train_pack(config: dict[str, Any]) -> None:
    """Train a pack to its end, or to the end of the epoch in which the driver asks to stop.

    Args:
        config: ``job``, a :class:`PackJob`, and ``mailbox``, the actor of :class:`stablesweep.mailbox.Mailbox`.
    """
    job: PackJob = config["job"]
    outbox = Outbox(config["mailbox"])
    outbox.send([])
    torch.set_num_threads(THREADS)
    install(job.entries)
    pack = _restored(job) or _build(job)
    if outbox.flush():
        return
    outbox.send(_first_messages(job, pack))
    _train(job, pack, outbox)
    outbox.flush()


def _build(job: PackJob) -> LockstepPack:
    return LockstepPack(
        job.members,
        model=job.model,
        optimizer=job.optimizer,
        data=load_dataset(job.dataset, **job.dataset_options),
        recipe=job.recipe,
        epochs=job.epochs,
        study_seed=job.study_seed,
        device=_device(),
    )


def _device() -> str:
    import ray.train.torch

    return str(ray.train.torch.get_device())


def _restored(job: PackJob) -> LockstepPack | None:
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return None
    try:
        with checkpoint.as_directory() as folder:
            state = torch.load(Path(folder) / CHECKPOINT_FILE, map_location="cpu", weights_only=True)
        pack = _build(job)
        pack.load_state_dict(state)
    except Exception as error:  # noqa: BLE001 - whatever a damaged file makes torch raise
        # Results do not depend on the checkpoint, only the time does: a bad one costs its epochs and no more.
        logger.warning("%s: this checkpoint cannot be used (%s); the pack starts over.", checkpoint.path, error)
        return None
    return pack


def _first_messages(job: PackJob, pack: LockstepPack) -> list[Message]:
    """All that a restored pack knows: messages that a dead driver lost come again, and change nothing otherwise."""
    now = time.time()
    messages: list[Message] = [TrialStarted(key=member.key, pack=job.name, started=now) for member in job.members]
    for result in pack.results():
        messages.extend(_epoch_message(epoch) for epoch in result.history)
        messages.extend(_end_messages(result))
    return messages


def _train(job: PackJob, pack: LockstepPack, outbox: Outbox) -> None:
    saved_at, checkpoints = time.monotonic(), 0.0
    while not pack.finished:
        before = (pack.train_seconds, pack.eval_seconds)
        live = {result.key for result in pack.results() if result.status == "running"}
        messages: list[Message] = [_epoch_message(epoch) for epoch in pack.run_epoch()]
        for result in pack.results():
            messages.extend(_end_messages(result) if result.key in live else [])
        training, evaluation = pack.train_seconds - before[0], pack.eval_seconds - before[1]
        timed = PackTimed(pack=job.name, training=training, evaluation=evaluation, checkpoints=checkpoints)
        outbox.send([*messages, timed])
        checkpoints, stop = 0.0, outbox.stop_requested()
        if not pack.finished and (stop or time.monotonic() - saved_at > job.checkpoint_every_s):
            checkpoints = _save(pack)
            saved_at = time.monotonic()
        if stop:
            return


def _epoch_message(epoch: MemberEpoch) -> EpochDone:
    return EpochDone(
        key=epoch.key,
        epoch=epoch.epoch,
        train_loss=epoch.train_loss,
        error=epoch.error,
        lr=epoch.lr,
        seconds=epoch.seconds,
    )


def _end_messages(result: MemberResult) -> list[Message]:
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
        )
    ]


def _save(pack: LockstepPack) -> float:
    """Hand a checkpoint to Ray Train; the seconds it took."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        torch.save(pack.state_dict(), Path(folder) / CHECKPOINT_FILE)
        ray.train.report({}, checkpoint=ray.train.Checkpoint.from_directory(folder))
    return time.monotonic() - began
