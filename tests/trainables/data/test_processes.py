"""Decoding processes: where they may be started, how they end, how much is held."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.waiting import wait_until
from trainables import Reading, load_dataset
from trainables.data import streamed
from trainables.data.images import View
from trainables.data.order import windowed_order
from trainables.data.processes import decoded
from trainables.data.source import Rows
from trainables.data.streamed import StreamedDataset
from trainables.data.tasks import Decoded, Decoder, Task, plan_tasks

ROOT = Path(__file__).parents[3]
READING = Reading(batch_size=4, decode_workers=2)


@pytest.fixture
def data(parquet_folder: Path) -> StreamedDataset:
    loaded = load_dataset("parquet", path=str(parquet_folder), image_size=8, shuffle_rows=30)
    assert isinstance(loaded, StreamedDataset)
    return loaded


def test_an_abandoned_iterator_stops_its_processes(
    data: StreamedDataset, grandchildren: Callable[[], set[int]]
) -> None:
    batches = data.train_batches(READING, study_seed=0, epoch=1, crop=None)
    next(batches)
    assert len(multiprocessing.active_children()) == 2
    assert len(grandchildren()) == 2
    batches.close()  # type: ignore[attr-defined]
    wait_until(lambda: not multiprocessing.active_children())
    wait_until(lambda: not grandchildren())


def test_a_forgotten_iterator_stops_its_processes(data: StreamedDataset) -> None:
    for _ in data.train_batches(READING, study_seed=0, epoch=1, crop=None):
        break
    wait_until(lambda: not multiprocessing.active_children())


def test_an_exception_in_the_consumer_stops_them(data: StreamedDataset) -> None:
    def consume() -> None:
        for _ in data.eval_batches(READING):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        consume()
    wait_until(lambda: not multiprocessing.active_children())


def test_processes_start_from_a_thread_of_a_process_with_threads(data: StreamedDataset) -> None:
    stop, counts = threading.Event(), []
    others = [threading.Thread(target=stop.wait) for _ in range(4)]
    for thread in others:
        thread.start()
    (torch.rand(300, 300) @ torch.rand(300, 300)).sum()

    def read() -> None:
        counts.append(sum(1 for _ in data.train_batches(READING, study_seed=0, epoch=1, crop=None)))

    reader = threading.Thread(target=read)
    reader.start()
    reader.join(60)
    stop.set()
    assert counts == [25]


class Deadly:
    """Reads like any other, and takes its process with it at one row."""

    def read(self, request: "Numbers") -> Iterator[bytes]:
        if 40 in request.rows:
            os.kill(os.getpid(), signal.SIGKILL)
        yield from (b"" for _ in request.rows)


@dataclass(frozen=True)
class Numbers:
    rows: tuple[int, ...]

    def where(self, index: int) -> str:
        return f"shelf, row {self.rows[index]}"


@dataclass(frozen=True)
class Shelf:
    """A source whose reader dies."""

    labels: Rows
    bad_labels: dict[int, str]
    group_sizes: Rows | None = None

    def reader(self) -> Deadly:
        return Deadly()

    def request(self, rows: Rows) -> Numbers:
        return Numbers(tuple(rows.tolist()))


def test_a_killed_process_is_one_sentence_and_no_hang() -> None:
    shelf = Shelf(labels=np.arange(64) % 2, bad_labels={})
    data = StreamedDataset(name="shelf", train=shelf, eval=shelf, num_classes=2, image_size=8, on_bad_sample="skip")
    with pytest.raises(
        RuntimeError, match=r"^a process that decodes images died \(.*\); the next to be read: shelf, row"
    ):
        list(data.eval_batches(Reading(batch_size=8, decode_workers=2)))
    wait_until(lambda: not multiprocessing.active_children())


def test_an_interrupt_ends_a_program_and_all_its_processes(parquet_folder: Path, tmp_path: Path) -> None:
    script = tmp_path / "reads_for_ever.py"
    script.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "from trainables import Reading, load_dataset\n"
        "if __name__ == '__main__':\n"
        f"    data = load_dataset('parquet', path={str(parquet_folder)!r}, image_size=8)\n"
        "    epoch = 0\n"
        "    while True:\n"
        "        epoch += 1\n"
        "        reading = Reading(batch_size=4, decode_workers=2)\n"
        "        for batch in data.train_batches(reading, study_seed=0, epoch=epoch, crop=None):\n"
        "            print('batch', flush=True)\n"
    )
    running = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=tmp_path,
    )
    assert running.stdout is not None
    assert running.stdout.readline() == "batch\n"
    os.killpg(running.pid, signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors

    def nobody_is_left() -> bool:
        try:
            os.killpg(running.pid, 0)
        except ProcessLookupError:
            return True
        return False

    wait_until(nobody_is_left)


def test_no_more_is_held_than_a_window_and_a_batch(
    data: StreamedDataset, monkeypatch: pytest.MonkeyPatch, parquet_folder: Path
) -> None:
    pulled = 0

    def counted(*args: Any, **kwargs: Any) -> Generator[tuple[Task, Decoded], None, None]:
        nonlocal pulled
        for task, answer in decoded(*args, **kwargs):
            pulled += len(task.rows)
            yield task, answer

    monkeypatch.setattr(streamed, "decoded", counted)
    most, given, batch = 0, 0, 4
    for step in data.train_batches(Reading(batch_size=batch), study_seed=0, epoch=1, crop=None):
        most = max(most, pulled - given)
        given += len(step.images)
    sizes = data.train.group_sizes
    assert sizes is not None
    ends = windowed_order(sizes, 30, study_seed=0, epoch=1).ends
    window = int(np.diff(ends, prepend=0).max())
    assert window / 2 < most <= window + batch
    assert pulled == given == 100


def test_a_group_is_read_once_a_window_and_forwards(data: StreamedDataset) -> None:
    order, ends = data._train_order(4, 0, 1)
    tasks = list(plan_tasks(data.train, order, ends))
    assert len(tasks) == len(data.train.group_sizes if data.train.group_sizes is not None else ())
    assert sorted(place for task in tasks for place in task.places.tolist()) == list(range(100))
    for task in tasks:
        assert (np.diff(task.rows) == 1).all()
        assert np.array_equal(order[task.places], task.rows)


def test_tasks_are_taken_only_as_far_ahead_as_asked_for(data: StreamedDataset) -> None:
    order, ends = data._train_order(4, 0, 1)
    taken = 0

    def tasks() -> Iterator[Task]:
        nonlocal taken
        for task in plan_tasks(data.train, order, ends):
            taken += 1
            yield task

    view = View(image_size=8, channels=3, crop_fraction=1.0)
    answers = decoded(tasks(), Decoder(data.train.reader(), view, False), processes=2, tasks_ahead=5)
    next(answers)
    # Five are rounded up to three for each of the two processes; one more replaces the one that was given out.
    assert taken <= 7
    answers.close()
