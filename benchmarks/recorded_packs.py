"""What Ray Tune costs a pack, and how that grows with their number: a part of ``benchmarks/record.py``.

A study runs on a real Ray as ``stablesweep run`` runs it, with the real search, mailbox, recorder and Tune loop, on SQLite; only
what its packs train is nothing: they report one epoch of each trial and end. Tune's loop has the main thread to itself, so
that this thread's CPU time is what Tune, and what we do in its callbacks, cost. What Tune does in each second in which it only
waits is in it for the short time that such packs take.
"""

import multiprocessing
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from begun_study import begun
from hardware import cores
from own_use import peak_mib

import stablesweep as ss
from stablesweep.early_session import EarlySession
from stablesweep.jobs import JobSource
from stablesweep.publisher import Publisher
from stablesweep.record import Record
from stablesweep.running_study import RunningStudy
from stablesweep.study import Study

MEMBERS = 16
"""Trials of one pack: 10,000 trials are 625 packs."""
COLUMNS = (
    *("date", "hardware", "packs x trials", "packs per second", "Tune's loop, CPU a pack"),
    *("the whole driver, CPU a pack", "its peak memory"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class PackCost:
    """What the process that drives a study took from the end of its first pack to that of its last; seconds and MiB."""

    packs: int
    """After the first one, in whose time Ray's processes start."""
    wall_s: float
    loop_s: float
    """CPU time of the thread that Tune's loop runs in."""
    cpu_s: float
    """CPU time of all threads: the recorder's, publishing and Ray's own of this process are in it."""
    peak_mib: float


class _TimedSource(JobSource):
    """Packs, and the clocks at the end of each: the wall clock, Tune's thread, the whole process. Tune's loop asks in its thread."""

    ends: list[tuple[float, float, float]]

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.ends = []

    def ended(self, name: str, reason: str | None, too_large: str | None = None) -> None:
        """Note the end, and when that was."""
        super().ended(name, reason, too_large)
        self.ends.append((time.perf_counter(), time.thread_time(), time.process_time()))


def train_nothing(members: Sequence[Any], context: Any) -> Iterator[dict[str, dict[str, float]]]:
    """A trainable that knows its result."""
    yield {member.key: {"error": 50.0} for member in members}


def empty_study(packs: int) -> Study:
    """A study of so many packs that train nothing."""
    return ss.Study.model_validate(
        {
            "name": f"empty-{packs}",
            "trainable": {"name": "train_nothing"},
            "arms": ["any/sgd"],
            "space": {"lr": {"around": 0.1}},
            "phases": {"stability": {"draws": packs * MEMBERS, "epochs": 1}},
            "pack": {"size": MEMBERS, "spread": False},
        }
    )


def run_packs(packs: int) -> PackCost:
    """Run a study of so many packs in this process."""
    ss.register_trainable("train_nothing", train_nothing)
    study = empty_study(packs)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        own = begun(study, folder)
        with EarlySession() as ray:
            ray.wait()
            cost = _driven(study, own.state, own.record, own.publisher, folder)
        missing = sum(one.status != "completed" for one in own.record.trials())
        own.publisher.end(finished=not missing, timing=None)
    if missing:
        raise RuntimeError(f"{missing} of {packs * MEMBERS} trials have no result.")
    return cost


def _driven(study: Study, state: RunningStudy, record: Record, publisher: Publisher, folder: Path) -> PackCost:
    # Not before Ray's environment is set.
    from stablesweep.driver import train_packs
    from stablesweep.mailbox import Mailbox
    from stablesweep.recorder import Recorder

    mailbox, stop = Mailbox(), state.progress.stop
    recorder = Recorder(record.path, publisher, mailbox, stop, state.take)
    source = _TimedSource(study, state.schedule([]), state.outcomes, recorder.flush, str(folder / "checkpoints"), [])
    recorder.start()
    try:
        train_packs(
            source,
            pack=study.pack,
            concurrent=cores,
            mailbox=mailbox,
            begun=state.progress.begun,
            stop=stop,
        )
    finally:
        recorder.finish()
    wall_s, loop_s, cpu_s = (end - begin for begin, end in zip(source.ends[0], source.ends[-1], strict=True))
    return PackCost(packs=len(source.ends) - 1, wall_s=wall_s, loop_s=loop_s, cpu_s=cpu_s, peak_mib=peak_mib())


def pack_costs(packs: int, hardware: str) -> str:
    """A Markdown row under ``COLUMNS``: a study of so many packs, in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        cost = pool.apply(run_packs, (packs,))
    cells = [f"{datetime.now(UTC):%Y-%m-%d}", hardware, f"{packs} x {MEMBERS}", f"{cost.packs / cost.wall_s:.2f}"]
    cells += [f"{1000 * seconds / cost.packs:.0f} ms" for seconds in (cost.loop_s, cost.cpu_s)]
    cells.append(f"{cost.peak_mib:.0f} MiB")
    return f"| {' | '.join(cells)} |"
