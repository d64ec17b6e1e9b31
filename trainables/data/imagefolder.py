"""Folders of image files, one folder a class."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from trainables.data.options import imagenet_mean, imagenet_std
from trainables.data.source import Rows, Unreadable
from trainables.data.streamed import StreamedDataset
from trainables.text import one_line

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""The files that are images, in either case; the same as torchvision's."""


def load_image_folder(
    *,
    path: str,
    image_size: int = 224,
    train: str = "train",
    eval: str = "val",
    channels: int = 3,
    crop_fraction: float = 0.875,
    on_bad_sample: str = "error",
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> StreamedDataset:
    """Images in ``path/train/CLASS/`` and ``path/val/CLASS/``, at any depth; classes are numbered in sorted order.

    Args:
        path: The folder that holds both splits.
        image_size: Side in pixels, 1 to 4096.
        train, eval: Names of the splits' folders.
        channels: 3 or 1.
        crop_fraction: Of the evaluation crop, see :class:`StreamedDataset`.
        on_bad_sample: ``error`` or ``skip``.
        mean, std: One number for each channel; ImageNet's if not given.

    Raises:
        ValueError: If a folder is missing, a class is empty, a class of the evaluation split is not in the training
            split, or an option is out of range.
    """
    name = "imagefolder"
    classes, eval_classes = _classes(Path(path) / train), _classes(Path(path) / eval)
    if unknown := sorted(set(eval_classes) - set(classes)):
        raise ValueError(
            f"dataset {name!r}: {Path(path) / eval / unknown[0]} is a class that {Path(path) / train} does not have; "
            "remove it, or add training images of it"
        )
    numbers = {each: number for number, each in enumerate(classes)}
    return StreamedDataset(
        name=name,
        train=_listed(Path(path) / train, classes, numbers),
        eval=_listed(Path(path) / eval, eval_classes, numbers),
        num_classes=len(classes),
        image_size=image_size,
        channels=channels,
        mean=tuple(mean or imagenet_mean(channels)),
        std=tuple(std or imagenet_std(channels)),
        crop_fraction=crop_fraction,
        on_bad_sample=on_bad_sample,
    )


@dataclass(frozen=True, slots=True)
class FileRequest:
    """Files that are read one after the other."""

    paths: tuple[str, ...]

    def where(self, index: int) -> str:
        """The file's path."""
        return self.paths[index]


class FileReader:
    """Reads whole files."""

    def read(self, request: FileRequest) -> Iterator[bytes | Unreadable]:
        """The bytes of each file, or why they cannot be had."""
        for path in request.paths:
            try:
                yield Path(path).read_bytes()
            except OSError as error:
                yield Unreadable(one_line(error))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FileSource:
    """Image files and their labels, one a row."""

    paths: Sequence[str]
    labels: Rows
    bad_labels: dict[int, str] = field(default_factory=dict)
    group_sizes: None = None

    def reader(self) -> FileReader:
        """Reads whole files."""
        return FileReader()

    def request(self, rows: Rows) -> FileRequest:
        """The files of these rows."""
        return FileRequest(tuple(self.paths[row] for row in rows.tolist()))


def _classes(folder: Path) -> list[str]:
    """The names of a split's class folders, sorted."""
    expected = "it should hold one folder of images for each class; check path, train and eval"
    if not folder.is_dir():
        raise ValueError(f"dataset 'imagefolder': folder {folder} does not exist; {expected}")
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    if not names:
        raise ValueError(f"dataset 'imagefolder': folder {folder} holds no folder; {expected}")
    return names


def _listed(folder: Path, classes: Sequence[str], numbers: dict[str, int]) -> FileSource:
    paths: list[str] = []
    labels: list[int] = []
    for name in classes:
        files = sorted(_images(folder / name))
        if not files:
            raise ValueError(
                f"dataset 'imagefolder': class folder {folder / name} holds no image; add some ({', '.join(EXTENSIONS)}), "
                "or remove the folder"
            )
        paths += files
        labels += [numbers[name]] * len(files)
    return FileSource(paths=paths, labels=np.array(labels, dtype=np.int64))


def _images(folder: Path) -> Iterator[str]:
    for parent, _, files in os.walk(folder, followlinks=True):
        for file in files:
            if file.lower().endswith(EXTENSIONS) and not file.startswith("."):
                yield os.path.join(parent, file)
