"""What decoding processes are asked for, and what they answer."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from trainables.data.images import Pixels, View
from trainables.data.source import Reader, Request, Rows, Source, Unreadable
from trainables.text import one_line

CHUNK_ROWS = 32
"""Rows of a task where any row costs the same: few enough that a step is shared by several processes."""


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """Rows that are read and decoded together."""

    places: Rows
    """Where the samples belong in what this rank reads, shape (k,)."""
    rows: Rows
    """Their rows in the split, shape (k,)."""
    request: Request


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """The answer to a task."""

    images: torch.Tensor
    """uint8, shape (k, C, H, H); zeros where a sample is unreadable."""
    problems: dict[int, str]
    """Index in the task and one sentence, for each unreadable sample."""
    failure: str | None = None
    """Why the task as a whole could not be done. A value, because an exception would arrive as traceback text."""


@dataclass(frozen=True, slots=True, eq=False)
class Decoder:
    """Does tasks, in this process or another: a map from task to answer, as torch's DataLoader expects."""

    reader: Reader
    view: View
    skip: bool
    """Whether an unreadable sample is skipped; else it fails its task."""

    def __getitem__(self, task: Task) -> Decoded:
        """The answer; what goes wrong is in it."""
        side = self.view.image_size
        images: Pixels = np.zeros((len(task.rows), self.view.channels, side, side), dtype=np.uint8)
        problems: dict[int, str] = {}
        try:
            for index, sample in enumerate(self.reader.read(task.request)):
                problem = self._fill(images[index], sample, int(task.rows[index]))
                if problem:
                    problems[index] = f"{task.request.where(index)}: {problem}"
                    if not self.skip:
                        way_out = "repair or remove it, or set on_bad_sample: skip"
                        return Decoded(torch.empty(0), {}, failure=f"{problems[index]}; {way_out}")
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - readers raise what their libraries raise
            where = task.request.where(0)
            return Decoded(torch.empty(0), {}, failure=f"{where}: cannot be read ({one_line(error)})")
        return Decoded(torch.from_numpy(images), problems)

    def _fill(self, into: Pixels, sample: object, row: int) -> str | None:
        if isinstance(sample, Unreadable):
            return f"cannot be read ({sample.reason})"
        try:
            into[:] = self.view.pixels(sample, row)  # type: ignore[arg-type]
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - decoders raise whatever a damaged file leads them to
            return f"cannot be decoded ({one_line(error)})"
        return None


def plan_tasks(source: Source, rows: Rows, windows: Rows | None) -> Iterator[Task]:
    """The tasks that read ``rows``, made one at a time, in the order in which the samples are needed.

    Args:
        source: Where the rows are.
        rows: What this rank reads, in order, shape (n,).
        windows: Of a grouped source: where the windows end in ``rows``, increasing; a group is read once a window.
    """
    if source.group_sizes is None or windows is None:
        for start in range(0, len(rows), CHUNK_ROWS):
            part = rows[start : start + CHUNK_ROWS]
            yield Task(np.arange(start, start + len(part)), part, source.request(part))
        return
    group_ends = np.cumsum(source.group_sizes)
    start = 0
    for end in windows.tolist():
        yield from _group_tasks(source, rows[start:end], start, group_ends)
        start = end


def _group_tasks(source: Source, rows: Rows, start: int, group_ends: Rows) -> Iterator[Task]:
    groups = np.searchsorted(group_ends, rows, side="right")
    members, first = np.unique(groups, return_index=True)
    for group in members[np.argsort(first)]:
        index = np.flatnonzero(groups == group)
        # Ascending rows, so that a file is read forwards.
        index = index[np.argsort(rows[index])]
        yield Task(start + index, rows[index], source.request(rows[index]))
