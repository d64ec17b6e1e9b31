"""What runs on a Ray Train worker: one pack, trained in lockstep, reported as it goes."""

import logging
import math
import time
from dataclasses import replace
from typing import Any, TypeAlias

import ray
import ray.train
import torch

from stablesweep.checkpoints import CheckpointStore, in_storage, shown
from stablesweep.errors import StablesweepError
from stablesweep.imports import install_modules
from stablesweep.job import PackJob
from stablesweep.mailbox import ANSWER_WITHIN_S, MailboxGone, Outbox
from stablesweep.messages import EpochDone, Message, PackTimed, Remark, SampleSkipped, TrialEnded, TrialStarted
from trainables import (
    CustomPack,
    Dataset,
    LockstepPack,
    MemberEpoch,
    MemberFailedAlone,
    MemberResult,
    Ranks,
    install,
    load_dataset,
)
from trainables.text import one_line
from trainables.training.failures import is_out_of_memory, is_the_processes
from trainables.training.pruning import to_prune

THREADS = 1
"""One thread, always: the last bits of a float depend on the number of threads."""
ASK_EVERY_S = 1.0
"""Within an epoch, so often the driver is asked whether to stop."""

logger = logging.getLogger(__name__)

AnyPack: TypeAlias = LockstepPack | CustomPack


def train_pack(config: dict[str, Any]) -> None:
    """Train a pack to its end, or until the driver asks to stop; each of the pack's workers calls this.

    Args:
        config: ``job``, a :class:`PackJob`, and ``mailbox``, the actor of :class:`stablesweep.mailbox.Mailbox`.
    """
    try:
        _train_pack(config["job"], config["mailbox"])
    except MailboxGone:
        # The run has ended or will: the next one goes on from the last checkpoint.
        logger.warning("%s: nobody takes in results any more; training ends here.", config["job"].name)
        if ray.train.get_context().get_world_size() > 1:
            # The others wait for this one until Ray Train ends them all.
            raise


def _train_pack(job: PackJob, mailbox: Any) -> None:
    context, device = ray.train.get_context(), torch.device(_device())
    if device.type == "cuda":
        torch.cuda.set_device(device)
    ranks = Ranks(context.get_world_rank(), context.get_world_size())
    outbox = Outbox(mailbox, silent=ranks.rank > 0)
    outbox.note_start(job.name, ray.get_runtime_context().get_node_id())
    outbox.send([])
    torch.set_num_threads(THREADS)
    install_modules(job.modules)
    install(job.entries)
    job = _without_failed(job, ranks, outbox)
    if ranks.first(outbox.flush()) or not job.members or ranks.first(outbox.too_large(job.name)):
        return
    try:
        _train_members(job, ranks, outbox)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        outbox.tell_too_large(job.name, one_line(error))
        if ranks.world > 1:
            # The others wait for this one until Ray Train ends them all; started again, they find what was told.
            raise


def _train_members(job: PackJob, ranks: Ranks, outbox: Outbox) -> None:
    # Data that cannot be read may be readable on another machine: that is no fault of the trials.
    data = None if job.trainable is not None else load_dataset(job.dataset, **job.dataset_options)
    try:
        pack = _restored(job, ranks, data, outbox) or _build(job, ranks, data)
    except ValueError as error:
        # Every worker finds the same, and would again: these trials cannot be trained, whatever is tried.
        ends = [TrialEnded(key=member.key, status="failed", reason=one_line(error)) for member in job.members]
        outbox.send([*_starts(job), *ends])
        outbox.flush()
        return
    outbox.send(_first_messages(job, pack))
    try:
        _train(job, pack, outbox, ranks)
    except MemberFailedAlone as error:
        # Ray Train now starts the pack again, without this member.
        epochs = next(result.epochs_done for result in pack.results() if result.key == error.key)
        outbox.tell(TrialEnded(key=error.key, status="failed", epochs_done=epochs, reason=error.reason))
        raise
    outbox.flush()


def _without_failed(job: PackJob, ranks: Ranks, outbox: Outbox) -> PackJob:
    """The job without the members that failed in this session: what made this worker start again may have been one."""
    failed = ranks.gather(outbox.failed())[0]
    members = tuple(member for member in job.members if member.key not in failed)
    # Pruning goes on to compare with those that are left out.
    curves = [tuple(failed[member.key]) for member in job.members if member.key in failed]
    return replace(job, members=members, earlier=(*job.earlier, *curves))


def _build(job: PackJob, ranks: Ranks, data: Dataset | None) -> AnyPack:
    if job.trainable is not None or data is None:
        return CustomPack(
            job.members,
            trainable=job.trainable or "",
            model=job.model,
            optimizer=job.optimizer,
            options=job.trainable_options,
            epochs=job.epochs,
            study_seed=job.study_seed,
            device=_device(),
        )
    return LockstepPack(
        job.members,
        model=job.model,
        model_options=job.model_options,
        optimizer=job.optimizer,
        data=data,
        recipe=job.recipe,
        epochs=job.epochs,
        study_seed=job.study_seed,
        device=_device(),
        ranks=ranks,
        decode_workers=job.decode_workers,
    )


def _device() -> str:
    import ray.train.torch

    return str(ray.train.torch.get_device())


def _restored(job: PackJob, ranks: Ranks, data: Dataset | None, outbox: Outbox) -> AnyPack | None:
    """The pack as its newest usable checkpoint has it; every worker takes the same one."""
    for name in (job.name, *job.earlier_packs):
        folder = in_storage(job.storage, name)
        for checkpoint in ranks.gather(_names(folder, outbox))[0]:
            pack, problem = _loaded(job, ranks, data, folder, checkpoint)
            problems = [found for found in ranks.gather(problem) if found]
            if not problems:
                return pack
            # Results do not depend on the checkpoint, only the time does: a bad one costs its epochs and no more.
            outbox.send([Remark(text=f"{problems[0]}; the pack goes on from an earlier checkpoint, or starts over.")])
    return None


def _names(folder: str, outbox: Outbox) -> list[str]:
    try:
        return CheckpointStore(folder).names()
    except (OSError, StablesweepError) as error:
        outbox.send(
            [Remark(text=f"{shown(folder)}: checkpoints cannot be read ({one_line(error)}); the pack starts over.")]
        )
        return []


def _loaded(
    job: PackJob, ranks: Ranks, data: Dataset | None, folder: str, checkpoint: str
) -> tuple[AnyPack | None, str | None]:
    """The pack with the state of a checkpoint, or why it cannot be used."""
    try:
        read = CheckpointStore(folder).read
        state = read(checkpoint, lambda file: torch.load(file, map_location="cpu", weights_only=True))
        pack = _build(job, ranks, data)
        pack.load_state_dict(state)
    except Exception as error:  # whatever a state of another version makes torch raise
        if is_the_processes(error):
            raise
        return None, f"{shown(folder)}: the checkpoint {checkpoint} cannot be used ({one_line(error)})"
    return pack, None


def _starts(job: PackJob) -> list[Message]:
    now = time.time()
    return [TrialStarted(key=member.key, pack=job.name, started=now) for member in job.members]


def _first_messages(job: PackJob, pack: AnyPack) -> list[Message]:
    """All that a restored pack knows: messages that a dead driver lost come again, and change nothing otherwise."""
    messages = _starts(job)
    for result in pack.results():
        messages.extend(_epoch_message(job, epoch) for epoch in result.history)
        messages.extend(_end_messages(result))
    return messages


def _train(job: PackJob, pack: AnyPack, outbox: Outbox, ranks: Ranks) -> None:
    clock = _Clock(outbox, job.checkpoint_every_s)
    checkpoints = 0.0
    while not pack.finished:
        before = (pack.train_seconds, pack.eval_seconds)
        live = {result.key for result in pack.results() if result.status == "running"}
        epochs = pack.run_epoch(clock.pause)
        if epochs and not pack.finished:
            _prune(job, pack)
        messages: list[Message] = [_epoch_message(job, epoch) for epoch in epochs]
        for result in pack.results():
            messages.extend(_end_messages(result) if result.key in live else [])
        training, evaluation = pack.train_seconds - before[0], pack.eval_seconds - before[1]
        messages.extend(SampleSkipped(problem=problem) for problem in sorted(pack.take_problems()))
        messages.append(PackTimed(pack=job.name, training=training, evaluation=evaluation, checkpoints=checkpoints))
        outbox.send(messages)
        checkpoints, stop = 0.0, ranks.first(clock.stop_requested(ANSWER_WITHIN_S))
        if not pack.finished and ranks.first(stop or clock.checkpoint_due(within_an_epoch=False)):
            checkpoints = _save(job, pack, ranks, outbox)
            clock.saved()
        if stop:
            return


def _prune(job: PackJob, pack: AnyPack) -> None:
    """Stop the members that do badly, beside those of this pack and all that ended before. Every worker decides the same."""
    if job.pruning is None:
        return
    results = pack.results()
    live = {result.key: _errors(result) for result in results if result.status == "running"}
    ended = [_errors(result) for result in results if result.status != "running"]
    pack.stop(to_prune(job.pruning, pack.epoch, live, [*job.earlier, *ended]))


def _errors(result: MemberResult) -> tuple[float, ...]:
    errors = tuple(epoch.error for epoch in result.history)
    return (*errors, math.inf) if result.status == "diverged" else errors


class _Clock:
    """Says between steps whether to pause: for a checkpoint, or because the driver asks to stop."""

    def __init__(self, outbox: Outbox, checkpoint_every_s: float) -> None:
        self._outbox, self._every_s = outbox, checkpoint_every_s
        self._saved_at = self._asked_at = time.monotonic()
        self._stop = False

    def pause(self) -> bool:
        """Whether to leave the epoch where it is; asks the driver at most once a second, and never waits for it."""
        if time.monotonic() - self._asked_at > ASK_EVERY_S:
            self.stop_requested(0)
            self._outbox.send([])
            self._asked_at = time.monotonic()
        return self._stop or self.checkpoint_due(within_an_epoch=True)

    def stop_requested(self, within_s: float) -> bool:
        """Whether the driver has asked to stop, or an answer that comes within some seconds does."""
        self._stop = self._stop or self._outbox.stop_requested(within_s)
        return self._stop

    def checkpoint_due(self, *, within_an_epoch: bool) -> bool:
        """Whether the last checkpoint is old enough."""
        due = time.monotonic() - self._saved_at > self._every_s
        return due and (self._every_s > 0 or not within_an_epoch)

    def saved(self) -> None:
        """Note a checkpoint."""
        self._saved_at = time.monotonic()


def _epoch_message(job: PackJob, epoch: MemberEpoch) -> EpochDone:
    more = dict(epoch.more)
    if job.trainable is not None and math.isfinite(epoch.eval_loss):
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


def _save(job: PackJob, pack: AnyPack, ranks: Ranks, outbox: Outbox) -> float:
    """Write a checkpoint; the seconds it took. All workers take part, the first one writes."""
    began = time.monotonic()
    state = pack.state_dict()
    if ranks.rank == 0:
        keys = tuple(member.key for member in job.members)
        folder = in_storage(job.storage, job.name)
        try:
            store = CheckpointStore(folder)
            store.save(lambda file: torch.save(state, file), epoch=pack.epoch, step=pack.step, keys=keys)
        except (OSError, StablesweepError) as error:
            # What is trained is not lost with it: the pack goes on, and the next checkpoint may be written.
            why = f"a checkpoint cannot be written ({one_line(error)}); training goes on"
            outbox.send([Remark(text=f"{shown(folder)}: {why}.")])
    return time.monotonic() - began
