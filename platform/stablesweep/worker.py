"""What runs on a Ray Train worker: packs, one after another, trained in lockstep and reported as they go."""

import gc
import itertools
import logging
import math
import time
from dataclasses import replace
from typing import Any

import ray
import ray.train
import torch

from stablesweep.checkpoints import CheckpointStore, in_storage, shown
from stablesweep.errors import StablesweepError
from stablesweep.imports import install_modules
from stablesweep.job import PackJob
from stablesweep.messages import Message, PackTimed, Remark, SampleSkipped, TrialEnded, TrialStarted
from stablesweep.outbox import ANSWER_WITHIN_S, MailboxGone, Outbox
from stablesweep.pack_messages import epoch_done, trial_ended
from stablesweep.pack_start import AnyPack, build, device, restored
from stablesweep.process_state import left_as_found
from trainables import (
    Dataset,
    LockstepPack,
    MemberFailedAlone,
    MemberResult,
    Ranks,
    install,
    load_dataset,
)
from trainables.text import one_line
from trainables.training.failures import is_out_of_memory
from trainables.training.pruning import to_prune

THREADS = 1
"""One thread, always: the last bits of a float depend on the number of threads."""
ASK_EVERY_S = 1.0
"""Within an epoch, so often the driver is asked whether to stop."""

IDLE_S = 10.0
"""A crew that gets no pack for so long gives its CPUs and GPUs back."""

logger = logging.getLogger(__name__)
_last_dataset: tuple[str, dict[str, Any], Dataset] | None = None


def train_for_crew(config: dict[str, Any]) -> None:
    """Train packs until none comes for a while, each to its end or until the driver asks to stop; each worker of a crew calls this.

    Args:
        config: ``crew``, whose packs, and ``mailbox``, the actor of :class:`stablesweep.mailbox.Mailbox`.
    """
    context, chosen, crew = ray.train.get_context(), torch.device(device()), config["crew"]
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    ranks = Ranks(context.get_world_rank(), context.get_world_size())
    try:
        for number in itertools.count():
            outbox = Outbox(config["mailbox"], silent=ranks.rank > 0)
            job = outbox.next_job(crew, number, IDLE_S)
            if job is None:
                return
            outbox.note_start(crew, job.name, ray.get_runtime_context().get_node_id())
            install_modules(job.modules)
            install(job.entries)
            with left_as_found():
                _train_pack(job, outbox, ranks, alone=number == 0)
            outbox.flush()
            _free_memory()
            outbox.note_end(crew, job.name)
    except MailboxGone:
        # The run has ended or will: the next one goes on from the last checkpoint.
        logger.warning("nobody takes in results any more; training ends here.")
        if ranks.world > 1:
            # The others wait for this one until Ray Train ends them all.
            raise


def _free_memory() -> None:
    """Nothing of a pack stays for the next one to do without."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _train_pack(job: PackJob, outbox: Outbox, ranks: Ranks, *, alone: bool) -> None:
    """Train one pack; ``alone`` if this process has trained no other."""
    torch.set_num_threads(THREADS)
    outbox.send([])
    job = _without_failed(job, ranks, outbox)
    if ranks.first(outbox.flush()) or not job.members or ranks.first(outbox.too_large(job.name)):
        return
    try:
        _train_members(job, ranks, outbox)
    except Exception as error:
        # What an earlier pack has left may take the room: this one is tried once more in a new process.
        if not is_out_of_memory(error) or not alone:
            raise
        outbox.tell_too_large(job.name, one_line(error))
        if ranks.world > 1:
            # The others wait for this one until Ray Train ends them all; started again, they find what was told.
            raise


def _train_members(job: PackJob, ranks: Ranks, outbox: Outbox) -> None:
    # Data that cannot be read may be readable on another machine: that is no fault of the trials.
    data = None if job.trainable is not None else _dataset(job.dataset, job.dataset_options)
    try:
        pack = restored(job, ranks, data, outbox) or build(job, ranks, data)
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
        # The pack is started again, without this member.
        epochs = next(result.epochs_done for result in pack.results() if result.key == error.key)
        outbox.tell(TrialEnded(key=error.key, status="failed", epochs_done=epochs, reason=error.reason))
        raise
    outbox.flush()


def _dataset(name: str, options: dict[str, Any]) -> Dataset:
    """The dataset, read once for all packs of this process."""
    global _last_dataset
    if _last_dataset is None or _last_dataset[:2] != (name, options):
        _last_dataset = None
        _last_dataset = (name, options, load_dataset(name, **options))
    return _last_dataset[2]


def _without_failed(job: PackJob, ranks: Ranks, outbox: Outbox) -> PackJob:
    """The job without the members that failed in this session: what made this worker start again may have been one."""
    failed = ranks.gather(outbox.failed([member.key for member in job.members]))[0]
    members = tuple(member for member in job.members if member.key not in failed)
    # Pruning goes on to compare with those that are left out.
    curves = [tuple(failed[member.key]) for member in job.members if member.key in failed]
    return replace(job, members=members, earlier=(*job.earlier, *curves))


def _starts(job: PackJob) -> list[Message]:
    now = time.time()
    return [TrialStarted(key=member.key, pack=job.name, started=now) for member in job.members]


def _first_messages(job: PackJob, pack: AnyPack) -> list[Message]:
    """All that a restored pack knows: messages that a dead driver lost come again, and change nothing otherwise."""
    messages = _starts(job)
    for result in pack.results():
        messages.extend(epoch_done(epoch, pack) for epoch in result.history)
        messages.extend(trial_ended(result, pack))
    return messages


def _train(job: PackJob, pack: AnyPack, outbox: Outbox, ranks: Ranks) -> None:
    clock = _Clock(outbox, job.checkpoint_every_s)
    checkpoints = 0.0
    noted = False
    while not pack.finished:
        before = (pack.train_seconds, pack.eval_seconds)
        live = {result.key for result in pack.results() if result.status == "running"}
        epochs = pack.run_epoch(clock.pause)
        if epochs and not pack.finished:
            _prune(job, pack)
        messages: list[Message] = [epoch_done(epoch, pack) for epoch in epochs]
        for result in pack.results():
            messages.extend(trial_ended(result, pack) if result.key in live else [])
        training, evaluation = pack.train_seconds - before[0], pack.eval_seconds - before[1]
        messages.extend(SampleSkipped(problem=problem) for problem in sorted(pack.take_problems()))
        messages.append(PackTimed(pack=job.name, training=training, evaluation=evaluation, checkpoints=checkpoints))
        outbox.send(messages)
        noted = noted or _note_way(job, pack, outbox)
        checkpoints, stop = 0.0, ranks.first(clock.stop_requested(ANSWER_WITHIN_S))
        if not pack.finished and ranks.first(stop or clock.checkpoint_due(within_an_epoch=False)):
            checkpoints = _save(job, pack, ranks, outbox)
            clock.saved()
        if stop:
            return


def _note_way(job: PackJob, pack: AnyPack, outbox: Outbox) -> bool:
    """Whether there was something to say of a pack that was to be fused and is not."""
    if job.mode != "fused" or not isinstance(pack, LockstepPack) or pack.note is None:
        return False
    outbox.send([Remark(text=f"{job.model} with {job.optimizer} is trained in a loop: {pack.note}.")])
    return True


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
