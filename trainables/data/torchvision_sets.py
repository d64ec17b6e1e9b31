"""torchvision's classification datasets, by the names of their classes."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from PIL import Image

from trainables.data.images import as_pixels, resized
from trainables.data.memory import ImageData, channel_statistics
from trainables.data.options import MAX_IMAGE_SIZE, imagenet_mean, imagenet_std, require_int
from trainables.data.source import Rows, Unreadable
from trainables.data.streamed import StreamedDataset
from trainables.registry import require_known
from trainables.text import one_line

PREFIX = "torchvision:"
SPLITS = {"ImageNet": ("train", "val"), "OxfordIIITPet": ("trainval", "test"), "Places365": ("train-standard", "val")}
"""The names of both splits, for the classes that do not call them ``train`` and ``test``."""
DEFAULT_SIZE = 224


def load_torchvision(
    dataset: str,
    *,
    path: str,
    image_size: int | None = None,
    train: str | None = None,
    eval: str | None = None,
    channels: int = 3,
    crop_fraction: float = 0.875,
    on_bad_sample: str = "error",
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    **options: Any,
) -> ImageData | StreamedDataset:
    """A dataset that torchvision reads and that lies on the disk already; nothing is downloaded.

    A set whose pixels torchvision holds as one uint8 array is held in memory, with its own mean and std. Others are
    decoded on reading.

    Args:
        dataset: ``torchvision:`` and the name of a class of ``torchvision.datasets``, e.g. ``torchvision:CIFAR10``.
        path: The class's ``root``.
        image_size: Side in pixels; in memory the stored size if not given, on reading 224.
        train, eval: Names of the splits, for a class that takes ``split``.
        channels, crop_fraction, on_bad_sample: Of images that are decoded on reading, see :class:`StreamedDataset`.
        mean, std: One number for each channel.
        options: Whatever else the class takes.

    Raises:
        UnknownName: If torchvision has no such dataset, or the class no such option.
        ValueError: If the files are not there or are damaged, or the class has no two splits or no labels.
    """
    kind = dataset_class(dataset)
    parameters = inspect.signature(kind).parameters
    taken = {"root", "train", "split", "download", "transform", "target_transform", "transforms"}
    for option in options:
        require_known(f"option of dataset {dataset!r}", option, tuple(sorted({*parameters} - taken)))
    splits = SPLITS.get(dataset.removeprefix(PREFIX), ("train", "test"))
    opened = [
        _open(dataset, kind, path, parameters, is_train, asked or default, options)
        for is_train, asked, default in ((True, train, splits[0]), (False, eval, splits[1]))
    ]
    labels = [_labels(dataset, each) for each in opened]
    num_classes = max(len(getattr(opened[0], "classes", ())), 1 + int(max(each.max() for each in labels)))
    arrays = [_stored_pixels(each) for each in opened]
    if arrays[0] is not None and arrays[1] is not None:
        images = [_sized(dataset, each, image_size) for each in arrays if each is not None]
        own_mean, own_std = channel_statistics(images[0])
        return ImageData(
            name=dataset,
            train_images=images[0],
            train_labels=torch.from_numpy(labels[0]),
            eval_images=images[1],
            eval_labels=torch.from_numpy(labels[1]),
            num_classes=num_classes,
            mean=tuple(mean or own_mean),
            std=tuple(std or own_std),
        )
    return StreamedDataset(
        name=dataset,
        train=IndexedSource(images=opened[0], labels=labels[0], title=f"{dataset} in {path}, train"),
        eval=IndexedSource(images=opened[1], labels=labels[1], title=f"{dataset} in {path}, eval"),
        num_classes=num_classes,
        image_size=DEFAULT_SIZE if image_size is None else image_size,
        channels=channels,
        mean=tuple(mean or imagenet_mean(channels)),
        std=tuple(std or imagenet_std(channels)),
        crop_fraction=crop_fraction,
        on_bad_sample=on_bad_sample,
    )


@dataclass(frozen=True, slots=True)
class IndexRequest:
    """Samples by their index."""

    title: str
    rows: tuple[int, ...]

    def where(self, index: int) -> str:
        """Dataset, split and index."""
        return f"{self.title}, row {self.rows[index]}"


@dataclass(frozen=True, slots=True, eq=False)
class IndexReader:
    """Reads samples one at a time through the dataset's own code."""

    images: Any

    def read(self, request: IndexRequest) -> Iterator[Image.Image | Unreadable]:
        """The image of each sample, or why it cannot be had."""
        for row in request.rows:
            try:
                image = self.images[row][0]
                yield image if isinstance(image, Image.Image) else Unreadable(f"it is {type(image).__name__}, no image")
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001 - the dataset opens and decodes in one go
                yield Unreadable(one_line(error))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class IndexedSource:
    """A map-style dataset of (PIL image, label)."""

    images: Any
    labels: Rows
    title: str
    """What messages call it."""
    bad_labels: dict[int, str] = field(default_factory=dict)
    group_sizes: None = None

    def reader(self) -> IndexReader:
        """Reads through the dataset; it is sent to each process whole."""
        return IndexReader(self.images)

    def request(self, rows: Rows) -> IndexRequest:
        """The samples of these indices."""
        return IndexRequest(self.title, tuple(rows.tolist()))


def dataset_class(dataset: str) -> Callable[..., Any]:
    """The class of ``torchvision.datasets`` that ``torchvision:NAME`` names. Raises UnknownName if there is none."""
    from torchvision import datasets

    known = {
        name
        for name, each in vars(datasets).items()
        if inspect.isclass(each) and issubclass(each, datasets.VisionDataset) and {"train", "split"} & _parameters(each)
    }
    require_known("dataset", dataset, tuple(sorted(PREFIX + name for name in known)))
    return cast(Callable[..., Any], getattr(datasets, dataset.removeprefix(PREFIX)))


def _parameters(kind: Callable[..., Any]) -> set[str]:
    return set(inspect.signature(kind).parameters)


def _open(
    dataset: str,
    kind: Callable[..., Any],
    path: str,
    parameters: Any,
    is_train: bool,
    split: str,
    options: dict[str, Any],
) -> Any:
    asked = dict(options)
    # Some classes (EMNIST) take both, and their `split` then names a variant, which is the user's to give.
    if "train" in parameters:
        asked["train"] = is_train
    else:
        asked["split"] = split
    if "download" in parameters:
        asked["download"] = False
    try:
        return kind(root=path, **asked)
    except MemoryError:
        raise
    except Exception as error:  # each class has its own way to say that files are missing or damaged
        wanted = f"{'train' if is_train else 'eval'} split" if "train" in parameters else f"split {split!r}"
        raise ValueError(
            f"dataset {dataset!r}: its {wanted} cannot be read from {path} ({one_line(error)}); put there what "
            f"torchvision.datasets.{kind.__name__}(root={path!r}) expects, which this program never downloads"
        ) from error


def _labels(dataset: str, opened: Any) -> Rows:
    """The label of each sample, int64, shape (N,).

    Raises:
        ValueError: If the dataset has no list of labels, or they are not one integer each.
    """
    values: Any = None
    for name in ("targets", "labels", "_labels"):
        values = getattr(opened, name, None) if values is None else values
    for name in ("samples", "_samples"):
        pairs = getattr(opened, name, None)
        values = [pair[1] for pair in pairs] if values is None and pairs is not None else values
    array = np.asarray(values)
    if array.dtype.kind not in "iu" or array.shape != (len(opened),) or not len(array) or array.min() < 0:
        raise ValueError(
            f"dataset {dataset!r}: its labels are not one integer from 0 on for each image; register a dataset of your own "
            "that reads it"
        )
    return array.astype(np.int64)


def _stored_pixels(opened: Any) -> np.ndarray[Any, np.dtype[np.uint8]] | None:
    """uint8, shape (N, C, H, H), if the dataset holds such an array; None otherwise."""
    data = getattr(opened, "data", None)
    array: np.ndarray[Any, Any] = np.asarray(data) if isinstance(data, np.ndarray | torch.Tensor) else np.empty(0)
    if array.dtype != np.uint8 or array.ndim not in (3, 4):
        return None
    if array.ndim == 3:
        array = array[:, None]
    elif array.shape[1] not in (1, 3):
        array = array.transpose(0, 3, 1, 2)
    return array if array.shape[1] in (1, 3) and array.shape[2] == array.shape[3] else None


def _sized(dataset: str, array: np.ndarray[Any, np.dtype[np.uint8]], image_size: int | None) -> torch.Tensor:
    if image_size is not None:
        require_int(dataset, "image_size", image_size, 1, MAX_IMAGE_SIZE)
    if image_size is None or image_size == array.shape[-1]:
        return torch.from_numpy(np.ascontiguousarray(array))
    grey = array.shape[1] == 1
    stored = [Image.fromarray(each[0] if grey else np.ascontiguousarray(each.transpose(1, 2, 0))) for each in array]
    return torch.from_numpy(np.stack([as_pixels(resized(each, (image_size, image_size))) for each in stored]))
