"""How many trials are recorded in a second, what that costs, and how it grows with a study: ``python benchmarks/record.py``.

``--trials 1000,3000,10000 --epochs 12 --stores sqlite,postgres,server`` says what is measured first. The real record and the real
publisher get the messages of made-up workers: packs train four at a time, and MLflow is brought up to date after a third and two
thirds of their epochs and at their end, as for packs that take some rounds of publishing. PostgreSQL is one of our own, with its ``fsync``; the
server is ``mlflow server`` on SQLite.

Then, beside one training process a core (no Ray), the real recorder records what they report: its share of the CPU time is what
training loses (``--training``), and so is the time for which workers on Ray wait for an answer (``--answers``). Last, studies on
Ray whose packs train nothing show what Ray Tune costs a pack, and how that grows with their number (``--packs``).

Prints Markdown tables. Needs the extra ``dev``; run it on a machine that does nothing else.
"""

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from begun_study import begun
from hardware import machine
from own_use import peak_mib
from stores import STORES, Store, store

import stablesweep as ss
from dashboards.tracking.connection import quiet_mlflow
from stablesweep.messages import EpochDone, Message, TrialEnded, TrialStarted
from stablesweep.packs import TrialPack, make_packs
from stablesweep.study import Study

ARMS = tuple(f"{model}/{optimizer}" for model in ("vit_c_micro", "vit_p_micro") for optimizer in ("adamw", "sgd"))
MEMBERS = 16
"""Trials of one pack."""
AT_ONCE = 4
"""Packs that train at the same time."""
ROUNDS = 3
"""Rounds of publishing while a pack trains."""
STARTED = 1_790_000_000.0
COLUMNS = (
    *("date", "hardware", "store", "trials x epochs", "trials per second", "wall clock a trial", "CPU a trial"),
    *("own record a trial", "peak memory"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What recording one study took, seconds and MiB."""

    trials: int
    wall_s: float
    cpu_s: float
    """Of the recording process alone; a database's or a server's own is not in it."""
    record_s: float
    """Of ``wall_s``: writing to the local record and counting progress; the rest goes to MLflow."""
    peak_mib: float
    """Of the process's memory, all its imports included."""


def made_up_study(trials: int, epochs: int) -> Study:
    """A study of so many trials."""
    return ss.Study.model_validate(
        {
            "name": f"recorded-{trials}",
            "dataset": {"name": "digits"},
            "arms": list(ARMS),
            "space": {"lr": {"around": 1e-2}, "weight_decay": {"around": 1e-4}},
            "phases": {"stability": {"draws": trials // len(ARMS), "epochs": epochs}},
            "pack": {"size": MEMBERS},
        }
    )


def told(packs: Sequence[TrialPack], epoch: int, epochs: int) -> list[Message]:
    """What the workers of some packs say at the end of an epoch, before the first one (0) and after the last."""
    pairs = [(pack, trial) for pack in packs for trial in pack.trials]
    if epoch == 0:
        return [TrialStarted(key=trial.key, pack=pack.name, started=STARTED) for pack, trial in pairs]
    error = 10.0 + 80.0 / epoch
    messages: list[Message] = [
        EpochDone(key=trial.key, epoch=epoch, train_loss=2.0 / epoch, error=error, lr=0.1, seconds=0.25)
        for _, trial in pairs
    ]
    if epoch == epochs:
        messages += [_completed(trial.key, error, epochs) for _, trial in pairs]
    return messages


def _completed(key: str, error: float, epochs: int) -> TrialEnded:
    return TrialEnded(
        key=key, status="completed", error=error, best_error=error, epochs_done=epochs, seconds=epochs / 4
    )


def record_study(into: Store, folder: Path, trials: int, epochs: int) -> Cost:
    """Record a whole study in a store; the rest of it goes to the folder."""
    study = begun(made_up_study(trials, epochs), folder, into.uri, into.artifacts)
    ledger, record, publisher = study.ledger, study.record, study.publisher
    packs = make_packs(ledger.trials, MEMBERS)
    due = {epochs * part // ROUNDS for part in range(1, ROUNDS + 1)}
    began, cpu, record_s = time.perf_counter(), time.process_time(), 0.0
    with quiet_mlflow():
        for start in range(0, len(packs), AT_ONCE):
            for epoch in range(epochs + 1):
                messages, at = told(packs[start : start + AT_ONCE], epoch, epochs), time.perf_counter()
                record.apply(messages)
                study.state.take(messages)
                record_s += time.perf_counter() - at
                if epoch in due:
                    publisher.publish(record)
    wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    publisher.end(finished=True, timing=None)
    return Cost(trials=len(ledger.trials), wall_s=wall_s, cpu_s=cpu_s, record_s=record_s, peak_mib=peak_mib())


def in_own_process(into: Store, folder: Path, trials: int, epochs: int) -> Cost:
    """What :func:`record_study` says of a process that does nothing else: its memory is measured too."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(record_study, (into, folder, trials, epochs))


def measured(kind: str, trials: int, epochs: int) -> str:
    """A Markdown row under ``COLUMNS``: a study of so many trials in an empty store."""
    with tempfile.TemporaryDirectory() as folder, store(kind, Path(folder)) as into:
        return row(kind, epochs, in_own_process(into, Path(folder), trials, epochs))


def row(kind: str, epochs: int, cost: Cost) -> str:
    """A Markdown row under ``COLUMNS``."""
    cells = [f"{datetime.now(UTC):%Y-%m-%d}", machine("mlflow"), kind, f"{cost.trials} x {epochs}"]
    cells += [f"{cost.trials / cost.wall_s:.1f}", f"{1000 * cost.wall_s / cost.trials:.1f} ms"]
    cells += [f"{1000 * cost.cpu_s / cost.trials:.1f} ms", f"{1000 * cost.record_s / cost.trials:.1f} ms"]
    return f"| {' | '.join(cells)} | {cost.peak_mib:.0f} MiB |"


def head(columns: Sequence[str]) -> str:
    """The head of a Markdown table."""
    return f"\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}"


def options() -> argparse.Namespace:
    """What the command asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", default="1000,3000,10000", help="sizes of the studies")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument(
        "--stores", default=",".join(STORES), help="of these, postgres if it is installed; empty for none"
    )
    parser.add_argument("--training", type=int, default=24, help="trials trained by each core; 0 for none")
    parser.add_argument("--answers", type=int, default=200, help="epochs reported to a mailbox on Ray; 0 for none")
    parser.add_argument(
        "--packs", default="40,80,160", help="numbers of packs on Ray that train nothing; empty for none"
    )
    return parser.parse_args()


def main() -> None:
    """Measure and print the tables."""
    asked = options()
    kinds = list(filter(None, asked.stores.split(",")))
    if kinds:
        print(head(COLUMNS))
    for kind in kinds:
        for trials in map(int, asked.trials.split(",")):
            try:
                print(measured(kind, trials, asked.epochs), flush=True)
            except pytest.skip.Exception as lacking:
                print(f"| | | {kind} | {lacking} |", flush=True)
    # Only now: the processes above would hold torch and Ray in memory too.
    if asked.training:
        import recorded_training

        print(head(recorded_training.COLUMNS))
        print(recorded_training.compare_training(asked.training, machine("torch", "mlflow")), flush=True)
    if asked.answers:
        import recorded_answers

        print(head(recorded_answers.COLUMNS))
        print(recorded_answers.answer_times(asked.answers, machine("ray")), flush=True)
    packs = list(map(int, filter(None, asked.packs.split(","))))
    if packs:
        import recorded_packs

        print(head(recorded_packs.COLUMNS))
    for number in packs:
        print(recorded_packs.pack_costs(number, machine("ray", "mlflow")), flush=True)


if __name__ == "__main__":
    main()
