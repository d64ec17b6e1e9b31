"""A dataset held in memory."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from trainables.data.dataset import Batch, RandomCrop, Reading
from trainables.data.order import batch_order
from trainables.data.transfer import to_device


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ImageData:
    """A classification dataset held in memory. Shapes: N images, C channels, H rows and as many columns.

    The tensors may be on any device, all four on the same: batches are made there.

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

    @property
    def num_train(self) -> int:
        """Training images."""
        return len(self.train_images)

    @property
    def num_eval(self) -> int:
        """Evaluation images."""
        return len(self.eval_images)

    @property
    def crops_on_read(self) -> bool:
        """No: batches hold the images as they are."""
        return False

    def train_batches(
        self, reading: Reading, *, study_seed: int, epoch: int, crop: RandomCrop | None
    ) -> Iterator[Batch]:
        """This rank's part of each step, in the order of :func:`trainables.data.order.batch_order`."""
        order = batch_order(self.num_train, reading.batch_size, study_seed=study_seed, epoch=epoch)
        # One copy an epoch: a step then indexes where the images are, without waiting for them.
        order = to_device(order, self.train_images.device)
        for step in order[reading.first_step :]:
            index = step.view(reading.world, -1)[reading.rank]
            yield Batch(images=self.train_images[index], labels=self.train_labels[index])

    def eval_batches(self, reading: Reading) -> Iterator[Batch]:
        """This rank's part of each step, in the order in which the images are held."""
        share = reading.batch_size // reading.world
        for start in range(reading.first_step * reading.batch_size, self.num_eval, reading.batch_size):
            mine = slice(start + reading.rank * share, start + (reading.rank + 1) * share)
            yield Batch(images=self.eval_images[mine], labels=self.eval_labels[mine])


def channel_statistics(images: torch.Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, of pixels scaled to [0, 1].

    Args:
        images: uint8, shape (N, C, H, W).
    """
    # Counts of the 256 values: exact, and no float copy of a large dataset.
    values = torch.arange(256, dtype=torch.float64) / 255.0
    means, deviations = [], []
    for channel in range(images.shape[1]):
        counts = torch.zeros(256, dtype=torch.int64)
        for part in torch.split(images[:, channel], 4096):
            counts += torch.bincount(part.flatten(), minlength=256)
        share = counts.to(torch.float64) / counts.sum()
        mean = (share * values).sum()
        means.append(mean.item())
        deviations.append((share * (values - mean) ** 2).sum().sqrt().item())
    return tuple(means), tuple(deviations)
