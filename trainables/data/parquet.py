"""Parquet files of encoded images, on a disk or in an object store."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs
from pyarrow import parquet as pq

from trainables.data.dataset import UNREADABLE
from trainables.data.options import imagenet_mean, imagenet_std, require_int
from trainables.data.parquet_files import OpenedFile, file_system, find_files, open_files
from trainables.data.source import Rows, Unreadable
from trainables.data.streamed import StreamedDataset

NAME = "parquet"


def load_parquet(
    *,
    path: str,
    image_size: int = 224,
    train: str = "train*.parquet",
    eval: str = "val*.parquet",
    image_column: str = "image",
    label_column: str = "label",
    num_classes: int | None = None,
    channels: int = 3,
    crop_fraction: float = 0.875,
    shuffle_rows: int = 4096,
    on_bad_sample: str = "error",
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> StreamedDataset:
    """Images that stay in Parquet files and are read by row group; opening reads the label column alone.

    Args:
        path: A folder, or a URI that ``pyarrow.fs`` knows (``s3://``, ``gs://``, ``file://`` ...); searched at any depth.
        image_size: Side in pixels.
        train, eval: Patterns of the file names; with a slash, of the paths below ``path``.
        image_column: Holds encoded images: binary, or a struct whose field ``bytes`` is.
        label_column: Holds integers.
        num_classes: If not given, the number of names that Hugging Face's metadata has for the label column, else the
            largest training label + 1.
        channels: 3 or 1.
        crop_fraction, shuffle_rows, on_bad_sample: See :class:`StreamedDataset`.
        mean, std: One number for each channel; ImageNet's if not given.

    Raises:
        ValueError: If no file matches, a file is damaged or lacks a column, a label is null or out of range, a class that
            nobody named has no training image, or an option is out of range; names the file and the row.
    """
    if num_classes is not None:
        require_int(NAME, "num_classes", num_classes, 2, 2**31)
    filesystem, root = file_system(path)
    columns = (image_column, label_column)
    opened = {
        split: open_files(filesystem, find_files(filesystem, root, pattern, split, path), columns)
        for split, pattern in (("train", train), ("eval", eval))
    }
    classes = num_classes or opened["train"][0].class_names or _counted_classes(opened["train"])
    reader = RowGroupReader(filesystem, image_column)
    return StreamedDataset(
        name=NAME,
        train=_source(opened["train"], reader, classes),
        eval=_source(opened["eval"], reader, classes),
        num_classes=classes,
        image_size=image_size,
        channels=channels,
        mean=tuple(mean or imagenet_mean(channels)),
        std=tuple(std or imagenet_std(channels)),
        crop_fraction=crop_fraction,
        on_bad_sample=on_bad_sample,
        shuffle_rows=shuffle_rows,
    )


@dataclass(frozen=True, slots=True, eq=False)
class RowGroupRequest:
    """Rows of one row group."""

    file: str
    group: int
    first_row: int
    """The group's first row, counted in the file from 0."""
    rows: Rows
    """Counted in the group from 0."""

    def where(self, index: int) -> str:
        """File and row, counted in the file from 0."""
        return f"{self.file}, row {self.first_row + int(self.rows[index])}"


class RowGroupReader:
    """Reads the image column of one row group at a time; keeps the footers that it has read."""

    def __init__(self, filesystem: fs.FileSystem, image_column: str) -> None:
        self._filesystem, self._column = filesystem, image_column
        self._footers: dict[str, Any] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return RowGroupReader, (self._filesystem, self._column)

    def read(self, request: RowGroupRequest) -> Iterator[bytes | Unreadable]:
        """The encoded image of each row, or that there is none."""
        with self._filesystem.open_input_file(request.file) as opened:
            file = pq.ParquetFile(opened, metadata=self._footers.get(request.file), pre_buffer=True)
            self._footers[request.file] = file.metadata
            is_struct = pa.types.is_struct(file.schema_arrow.field(self._column).type)
            column = f"{self._column}.bytes" if is_struct else self._column
            images = file.read_row_group(request.group, columns=[column], use_threads=False).column(0)
        if is_struct:
            images = pc.struct_field(images, "bytes")
        for row in request.rows.tolist():
            image = images[row].as_py()
            yield Unreadable(f"the column {self._column!r} is null") if image is None else image


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ParquetSource:
    """The rows of several Parquet files, in the order of the files."""

    files: Sequence[str]
    group_files: Rows
    """Index of each row group's file, shape (G,)."""
    group_numbers: Rows
    """Number of each row group in its file, shape (G,)."""
    group_sizes: Rows
    labels: Rows
    row_group_reader: RowGroupReader
    bad_labels: dict[int, str] = field(default_factory=dict)

    def reader(self) -> RowGroupReader:
        """Reads one row group at a time."""
        return self.row_group_reader

    def request(self, rows: Rows) -> RowGroupRequest:
        """These rows of one row group."""
        ends = np.cumsum(self.group_sizes)
        group = int(np.searchsorted(ends, rows[0], side="right"))
        first_of_file = int(np.searchsorted(self.group_files, self.group_files[group]))
        start = int(ends[group] - self.group_sizes[group])
        return RowGroupRequest(
            file=self.files[self.group_files[group]],
            group=int(self.group_numbers[group]),
            first_row=int(self.group_sizes[first_of_file:group].sum()),
            rows=rows - start,
        )


def _source(opened: Sequence[OpenedFile], reader: RowGroupReader, num_classes: int) -> ParquetSource:
    sizes = [np.array(file.group_sizes, dtype=np.int64) for file in opened]
    labels, bad = [], {}
    start = 0
    for file in opened:
        for row, label in file.bad_labels(num_classes).items():
            shown = "null" if label is None else label
            bad[start + row] = f"{file.path}, row {row}: label is {shown}, expected 0 to {num_classes - 1}"
        labels.append(file.labels.fill_null(UNREADABLE).to_numpy())
        start += len(file.labels)
    together = np.concatenate(labels).astype(np.int64)
    together[list(bad)] = UNREADABLE
    return ParquetSource(
        files=[file.path for file in opened],
        group_files=np.repeat(np.arange(len(opened)), [len(each) for each in sizes]),
        # Writers may leave empty row groups; they are never asked for, but they are counted.
        group_numbers=np.concatenate([np.arange(len(each)) for each in sizes]),
        group_sizes=np.concatenate(sizes),
        labels=together,
        row_group_reader=reader,
        bad_labels=bad,
    )


def _counted_classes(opened: Sequence[OpenedFile]) -> int:
    """The largest label + 1; every class below it must occur, else the numbering is more likely wrong than the data."""
    labels = pa.chunked_array([file.labels for file in opened]).drop_null()
    known = np.unique(labels.to_numpy())
    known = known[known >= 0]
    empty = np.flatnonzero(known != np.arange(len(known)))
    if not len(known) or len(empty):
        raise ValueError(
            f"dataset {NAME!r}: no training image has label {int(empty[0]) if len(empty) else 0} in {opened[0].path} and its "
            "fellows; number the classes from 0 without gaps, or give num_classes"
        )
    return len(known)
