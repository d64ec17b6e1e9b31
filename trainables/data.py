"""Images in memory, datasets by name, and the order in which an epoch reads them."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast

import numpy as np
import torch

from trainables.registry import BUILTIN_DATASETS, DatasetFactory, dataset_names, require_known, user_dataset


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ImageData:
    """A classification dataset held in memory. Shapes: N images, C channels, H rows and as many columns.

    Raises:
        ValueError: If the tensors do not fit each other.
    """

    name: str
    train_images: torch.Tensor
    """uint8, shape (N, C, H, H)."""
    train_labels: torch.Tensor
    """int64, shape (N,), in 0 .. num_classes - 1."""
    eval_images: torch.Tensor
    """uint8, shape (M, C, H, H)."""
    eval_labels: torch.Tensor
    """int64, shape (M,)."""
    num_classes: int
    mean: tuple[float, ...]
    """Per channel, of pixels scaled to [0, 1]; see :func:`channel_statistics`."""
    std: tuple[float, ...]
    """Per channel, of pixels scaled to [0, 1]; positive."""

    def __post_init__(self) -> None:
        if self.num_classes < 2:
            raise ValueError(f"dataset {self.name!r}: num_classes is {self.num_classes}, expected 2 or more")
        for split in ("train", "eval"):
            problem = self._problem(getattr(self, f"{split}_images"), getattr(self, f"{split}_labels"))
            if problem:
                raise ValueError(f"dataset {self.name!r}: {split} {problem}")
        if self.train_images.shape[1:] != self.eval_images.shape[1:]:
            raise ValueError(
                f"dataset {self.name!r}: train images have shape {tuple(self.train_images.shape[1:])} and eval images "
                f"{tuple(self.eval_images.shape[1:])}; make them equal"
            )
        if not len(self.mean) == len(self.std) == self.channels or not all(value > 0 for value in self.std):
            raise ValueError(
                f"dataset {self.name!r}: give one mean and one positive std for each of {self.channels} channels"
            )

    def _problem(self, images: torch.Tensor, labels: torch.Tensor) -> str | None:
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[2] != images.shape[3]:
            return f"images are {images.dtype} of shape {tuple(images.shape)}; give uint8 of shape (N, C, H, H)"
        if labels.dtype != torch.int64 or labels.shape != images.shape[:1] or not len(labels):
            return (
                f"labels are {labels.dtype} of shape {tuple(labels.shape)} for {len(images)} images; "
                "give one int64 for each image, and at least one image"
            )
        if int(labels.min()) < 0 or int(labels.max()) >= self.num_classes:
            return f"labels run from {int(labels.min())} to {int(labels.max())}; expected 0 to {self.num_classes - 1}"
        return None

    @property
    def image_size(self) -> int:
        """Side of the images, pixels."""
        return self.train_images.shape[-1]

    @property
    def channels(self) -> int:
        """Channels of the images."""
        return self.train_images.shape[1]

    def normalised(self, images: torch.Tensor, device: torch.device | str = "cpu") -> torch.Tensor:
        """uint8 images (B, C, H, H) as float32 of mean about 0 and standard deviation about 1, on ``device``."""
        # Moved while still uint8: a quarter of the bytes.
        pixels = images.to(device, non_blocking=True).to(torch.float32).div_(255.0)
        shape = (1, self.channels, 1, 1)
        mean = torch.tensor(self.mean, dtype=torch.float32, device=device).view(shape)
        std = torch.tensor(self.std, dtype=torch.float32, device=device).view(shape)
        return pixels.sub_(mean).div_(std)


def channel_statistics(images: torch.Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, of pixels scaled to [0, 1].

    Args:
        images: uint8, shape (N, C, H, W).
    """
    pixels = images.to(torch.float64) / 255.0
    std, mean = torch.std_mean(pixels, dim=(0, 2, 3), correction=0)
    return tuple(mean.tolist()), tuple(std.tolist())


def load_dataset(name: str, **options: Any) -> ImageData:
    """The dataset of this name.

    Args:
        name: One of :func:`trainables.dataset_names`.
        options: Keyword arguments of the dataset's factory, e.g. ``image_size`` for ``digits``.

    Raises:
        UnknownName: If no dataset, or none of its options, has a given name.
        ValueError: If an option's value is not accepted.
        TypeError: If the user's factory returns something other than an :class:`ImageData`.
    """
    require_known("dataset", name, dataset_names())
    factory = user_dataset(name) or _builtin(name)
    _check_options(name, inspect.signature(factory).parameters, options)
    data = factory(**options)
    if not isinstance(data, ImageData):
        raise TypeError(
            f"dataset {name!r}: its factory returned {type(data).__name__}, expected a trainables.ImageData"
        )
    return data


def _builtin(name: str) -> DatasetFactory:
    module, function = BUILTIN_DATASETS[name].split(":")
    return cast(DatasetFactory, getattr(import_module(module), function))


def _check_options(name: str, parameters: Mapping[str, inspect.Parameter], options: Mapping[str, Any]) -> None:
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for option in options:
        require_known(f"option of dataset {name!r}", option, tuple(sorted(parameters)))


def batch_order(num_train: int, batch_size: int, *, study_seed: int, epoch: int) -> torch.Tensor:
    """Which images each step of an epoch reads: a function of (study seed, epoch) alone, the same for every trial.

    Args:
        num_train: Number of training images.
        batch_size: Images a step; the images that do not fill a last batch are left out of this epoch.
        study_seed: 0 or more.
        epoch: Counted from 1.

    Returns:
        Indices, int64, shape (num_train // batch_size, batch_size); no index occurs twice.

    Raises:
        ValueError: If there are fewer images than one batch holds, or the seed is negative.
    """
    if not 1 <= batch_size <= num_train:
        raise ValueError(f"batch_size: got {batch_size}, expected 1 to {num_train}, the number of training images")
    if study_seed < 0:
        raise ValueError(f"study seed: got {study_seed}, expected 0 or more")
    # SeedSequence mixes the pair, so that epoch 2 of seed 0 is not epoch 1 of seed 1.
    seed = int(np.random.SeedSequence([study_seed, epoch]).generate_state(1, np.uint64)[0])
    order = torch.randperm(num_train, generator=torch.Generator().manual_seed(seed >> 1))
    steps = num_train // batch_size
    return order[: steps * batch_size].view(steps, batch_size)
