"""What training loses to a recorder beside it: a part of ``benchmarks/record.py``.

One process a core trains a pack of the quickstart, as a Ray Train worker would, and sends what a worker sends; this process
records it with the real recorder, on SQLite. Without Ray, so that only a mailbox stands between them that is a pipe.
"""

import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, cast

import torch
from begun_study import begun
from hardware import cores
from rich.console import Console
from train_alone import require_results

from stablesweep.home import Home
from stablesweep.ledger import Ledger
from stablesweep.mailbox import Mailbox
from stablesweep.messages import Message, TrialStarted
from stablesweep.pack_messages import epoch_done, trial_ended
from stablesweep.packs import TrialPack, make_packs
from stablesweep.progress_view import shown
from stablesweep.recorder import Recorder, publish_all
from stablesweep.study import Study
from stablesweep.study_file import load_study
from trainables import LockstepPack, Member, load_dataset

START_WITHIN_S = 600
"""So long training processes may take until they begin; one that has died never does."""
COLUMNS = (
    *("date", "hardware", "packs x trials", "training, CPU", "recorder meanwhile, CPU", "share", "recorder after, CPU"),
    *("training, wall clock", "the same without recording"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """What one training process took."""

    wall_s: float
    cpu_s: float


class Pipe:
    """A mailbox without Ray: the workers' end is ``messages.put``."""

    def __init__(self, messages: Any) -> None:
        self.messages = messages

    def drain(self) -> list[Message]:
        """All messages since the last call."""
        found: list[Message] = []
        while not self.messages.empty():
            found += self.messages.get()
        return found

    def stop(self) -> None:
        """Nobody asks to stop."""


def train(study: Study, pack: TrialPack, messages: Any, results: Any, ready: Barrier) -> None:
    """A training process: one pack from its first epoch to its last."""
    torch.set_num_threads(1)
    assert study.dataset is not None
    first, arm = pack.first, next(arm for arm in study.arms if arm.name == pack.first.arm)
    lockstep = LockstepPack(
        [Member(key=one.key, seed=one.seed, hyperparameters=dict(one.hyperparameters)) for one in pack.trials],
        model=study.model_of(arm).base,
        optimizer=arm.optimizer,
        data=load_dataset(study.dataset.name, **study.dataset.options),
        recipe=study.recipe,
        epochs=first.epochs,
        study_seed=study.seed,
    )
    ready.wait()
    began, cpu = time.perf_counter(), time.process_time()
    messages.put([TrialStarted(key=trial.key, pack=pack.name, started=time.time()) for trial in pack.trials])
    ended: set[str] = set()
    while not lockstep.finished:
        messages.put(_told(lockstep, ended))
    require_results({result.status for result in lockstep.results()})
    results.put(Trained(wall_s=time.perf_counter() - began, cpu_s=time.process_time() - cpu))


def _told(lockstep: LockstepPack, ended: set[str]) -> list[Message]:
    """Train an epoch; what a worker says of it."""
    told: list[Message] = [epoch_done(epoch, lockstep) for epoch in lockstep.run_epoch()]
    for result in lockstep.results():
        if result.key not in ended:
            ends = trial_ended(result, lockstep)
            ended.update(end.key for end in ends)
            told.extend(ends)
    return told


def _train_on_each_core(study: Study, packs: list[TrialPack], start: Callable[[Pipe], None]) -> list[Trained]:
    """Train one pack on each core; ``start`` is called when all of them begin."""
    context = multiprocessing.get_context("spawn")
    pipe, results, ready = Pipe(context.SimpleQueue()), context.SimpleQueue(), context.Barrier(len(packs) + 1)
    processes = [context.Process(target=train, args=(study, pack, pipe.messages, results, ready)) for pack in packs]
    for process in processes:
        process.start()
    ready.wait(START_WITHIN_S)
    start(pipe)
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise RuntimeError("a training process failed; it says above why.")
    return [cast(Trained, results.get()) for _ in processes]


def without_recording(study: Study, packs: list[TrialPack]) -> list[Trained]:
    """Train, and throw away what is reported."""

    def throw_away(pipe: Pipe) -> None:
        def drain() -> None:
            while True:
                pipe.drain()
                time.sleep(0.3)

        threading.Thread(target=drain, daemon=True).start()

    return _train_on_each_core(study, packs, throw_away)


def with_recording(study: Study, packs: list[TrialPack], folder: Path) -> tuple[list[Trained], float, float]:
    """Train and record; what the processes took, and the recorder's CPU seconds while they trained and after."""
    own = begun(study, folder)
    recorders: list[Recorder] = []
    cpu = [0.0]

    def start(pipe: Pipe) -> None:
        cpu[0] = time.process_time()
        stop = threading.Event()
        recorders.append(Recorder(own.place.record, own.publisher, cast(Mailbox, pipe), stop, own.state.take))
        recorders[0].start()

    with Path(os.devnull).open("w") as nowhere, shown(study.name, own.state.progress, Console(file=nowhere)):
        trained = _train_on_each_core(study, packs, start)
        during = time.process_time() - cpu[0]
        recorders[0].finish()
    problem = publish_all(own.publisher, own.record)
    if problem is not None:
        raise RuntimeError(f"MLflow did not take in everything: {problem}")
    own.publisher.end(finished=True, timing=None)
    return trained, during, time.process_time() - cpu[0] - during


def compare_training(trials: int, hardware: str) -> str:
    """A Markdown row under ``COLUMNS``: one pack of so many trials on each core, with recording beside it and without."""
    study = load_study("quickstart")
    with tempfile.TemporaryDirectory() as folder:
        plan = Ledger.opened(Home.at(folder).study("plan").ledger, study).trials
        # Packs of different arms take turns; of more cores than packs some have nothing to do.
        packs = make_packs(plan, trials)[: cores()]
        bare = without_recording(study, packs)
        trained, during, after = with_recording(study, packs, Path(folder))
    cpu = sum(one.cpu_s for one in trained)
    seconds, bare_s = (max(one.wall_s for one in some) for some in (trained, bare))
    cells = [f"{datetime.now(UTC):%Y-%m-%d}", hardware, f"{len(packs)} x {len(packs[0].trials)}", f"{cpu:.1f} s"]
    cells += [f"{during:.2f} s", f"{100 * during / cpu:.2f} %", f"{after:.2f} s", f"{seconds:.1f} s", f"{bare_s:.1f} s"]
    return f"| {' | '.join(cells)} |"
