"""Where a streamed dataset's samples come from."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands for a sample that is not there."""

    reason: str
    """Completes the sentence "cannot be read (...)"."""


class Request(Protocol):
    """Rows that are read together. Travels to the process that reads them, so it pickles, and is small."""

    def where(self, index: int) -> str:
        """The file, and the row where a file has several, of the sample at this index of the request."""
        ...


class Reader(Protocol):
    """Reads requests. It is sent once to each process that reads, so it pickles; it may keep files open there."""

    def read(self, request: Any) -> Iterator[bytes | Image.Image | Unreadable]:
        """The request's samples in their order: encoded, or as PIL images, or why one cannot be read.

        Raises:
            Exception: If the request as a whole cannot be read, whatever ``on_bad_sample`` says.
        """
        ...


class Source(Protocol):
    """One split: its labels are known at opening, its samples are read by row."""

    @property
    def labels(self) -> Rows:
        """Shape (N,); ``UNREADABLE`` where :attr:`bad_labels` says why."""
        ...

    @property
    def bad_labels(self) -> dict[int, str]:
        """Row and the sentence that names its file, row and label, for each label that is none."""
        ...

    @property
    def group_sizes(self) -> Rows | None:
        """Rows of each group that is cheapest read as a whole, in order, shape (G,); None: any row costs the same."""
        ...

    def reader(self) -> Reader:
        """What reads this source's requests."""
        ...

    def request(self, rows: Rows) -> Request:
        """These rows, shape (k,); of a grouped source, rows of one group."""
        ...
