"""Finding and opening Parquet files: footers and labels, before any image is read."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs
from pyarrow import parquet as pq

from trainables.text import one_line

OPENING_THREADS = 16
"""Footers wait for the disk or the network, not for this processor."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class OpenedFile:
    """What one file says of itself."""

    path: str
    group_sizes: tuple[int, ...]
    labels: Any
    """Arrow array of int64, nulls as they are."""
    class_names: int | None
    """How many class names Hugging Face's metadata has for the label column, if any."""

    def bad_labels(self, num_classes: int) -> dict[int, int | None]:
        """Row and label of each label that is null or none of the classes."""
        inside = pc.and_(pc.greater_equal(self.labels, 0), pc.less(self.labels, num_classes)).fill_null(False)
        rows = np.flatnonzero(~inside.to_numpy(zero_copy_only=False))
        return {row: self.labels[row].as_py() for row in rows.tolist()}


def is_uri(path: str) -> bool:
    """Whether a path names its file system, as in ``s3://bucket/folder``."""
    return "://" in path


def file_system(path: str) -> tuple[fs.FileSystem, str]:
    """The file system of a path, and the path on it.

    Raises:
        ValueError: If the URI is of no kind that ``pyarrow.fs`` knows, or its file system cannot be reached.
    """
    if not is_uri(path):
        return fs.LocalFileSystem(), str(Path(path).expanduser().absolute())
    try:
        filesystem, root = fs.FileSystem.from_uri(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ValueError(f"dataset 'parquet': path {path}: cannot be opened ({one_line(error)})") from error
    return filesystem, str(root)


def find_files(filesystem: fs.FileSystem, root: str, pattern: str, split: str, path: str) -> list[str]:
    """The paths that match, sorted.

    Raises:
        ValueError: If there is no such folder, or nothing matches.
    """
    try:
        found = filesystem.get_file_info(fs.FileSelector(root, recursive=True))
    except (pa.ArrowException, OSError) as error:
        raise ValueError(
            f"dataset 'parquet': path {path}: cannot be listed ({one_line(error)}); give a folder of Parquet files"
        ) from error
    files = [each.path for each in found if each.type == fs.FileType.File]
    below = [PurePosixPath(file).relative_to(PurePosixPath(root)) for file in files]
    shown = [str(each) if "/" in pattern else each.name for each in below]
    matching = sorted(file for file, name in zip(files, shown, strict=True) if fnmatch(name, pattern))
    if not matching:
        raise ValueError(
            f"dataset 'parquet': no file in {path} matches {split}: {pattern!r}; "
            f"found {', '.join(sorted(str(each) for each in below)[:3]) or 'no file at all'}"
        )
    return matching


def open_files(filesystem: fs.FileSystem, files: Sequence[str], columns: tuple[str, str]) -> list[OpenedFile]:
    """Footers and labels of the files, in their order.

    Args:
        filesystem: Where the files are.
        files: Their paths.
        columns: Names of the image and the label column.

    Raises:
        ValueError: If a file is damaged, lacks a column or has one of another type; names the file.
    """
    with ThreadPoolExecutor(min(OPENING_THREADS, len(files))) as threads:
        opened = list(threads.map(lambda file: _open(filesystem, file, *columns), files))
    if not sum(len(each.labels) for each in opened):
        raise ValueError(f"dataset 'parquet': {files[0]} holds no row, nor does any other file of its split")
    return opened


def _open(filesystem: fs.FileSystem, path: str, image_column: str, label_column: str) -> OpenedFile:
    try:
        with filesystem.open_input_file(path) as opened:
            file = pq.ParquetFile(opened)
            _check_columns(path, file.schema_arrow, image_column, label_column)
            labels = file.read(columns=[label_column], use_threads=False).column(0)
            metadata = file.metadata
            return OpenedFile(
                path=path,
                group_sizes=tuple(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)),
                labels=pc.cast(labels, pa.int64()).combine_chunks(),
                class_names=_class_names(file.schema_arrow, label_column),
            )
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: cannot be read ({one_line(error)}); write or fetch the file again") from error


def _check_columns(path: str, schema: pa.Schema, image_column: str, label_column: str) -> None:
    for option, column in (("image_column", image_column), ("label_column", label_column)):
        if column not in schema.names:
            raise ValueError(f"{path}: no column {column!r}; set {option} to one of {', '.join(schema.names)}")
    kind = schema.field(image_column).type
    if pa.types.is_struct(kind):
        kind = kind.field("bytes").type if "bytes" in [each.name for each in kind] else kind
    if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        raise ValueError(
            f"{path}: column {image_column!r} is {schema.field(image_column).type}; expected binary, or a struct with a "
            "binary field 'bytes'"
        )
    if not pa.types.is_integer(label := schema.field(label_column).type):
        raise ValueError(f"{path}: column {label_column!r} is {label}; expected integers")


def _class_names(schema: pa.Schema, label_column: str) -> int | None:
    """How many names Hugging Face's metadata gives the labels; None if there are none to be found."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return len(features[label_column]["names"]) or None
    except (KeyError, TypeError, ValueError):
        return None
