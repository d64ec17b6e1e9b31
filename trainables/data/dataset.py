"""What every dataset offers: its facts, and the batches of an epoch."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch

UNREADABLE = -1
"""The label of a sample that could not be read and was skipped: it counts in no loss and no error."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Batch:
    """Images and labels of one step, as they were stored: not augmented, not normalised."""

    images: torch.Tensor
    """uint8, shape (B, C, H, H), on the CPU or, of a dataset that is held there, on the device that trains."""
    labels: torch.Tensor
    """int64, shape (B,), in 0 .. num_classes - 1 or :data:`UNREADABLE`; where the images are."""
    problems: tuple[str, ...] = ()
    """One sentence for each unreadable sample that was skipped: its file, its row, what is wrong."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """How an epoch is read. Changes no result: only who reads what, and from which step on."""

    batch_size: int
    """Images of one step over all ranks; a multiple of ``world``."""
    rank: int = 0
    """Which of ``world`` processes this is; it reads the images at rank * b .. (rank + 1) * b - 1 of each step, with
    b = batch_size // world."""
    world: int = 1
    first_step: int = 0
    """The step to begin with; the steps before it are not read."""
    decode_workers: int = 0
    """Processes beside this one that read and decode; 0: this one does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RandomCrop:
    """A random resized crop: share of the area and ratio of width to height, each as (lowest, highest).

    Source: the Inception crop as the paper's public code and torchvision's ``RandomResizedCrop`` draw it.
    """

    area: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)


@runtime_checkable
class Dataset(Protocol):
    """A labelled image dataset with a training and an evaluation split.

    What an epoch reads is a function of (study seed, epoch) alone: not of the rank, the number of decoding processes, or
    where in the epoch reading began.
    """

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    @property
    def num_classes(self) -> int:
        """Labels run from 0 to this - 1."""
        ...

    @property
    def image_size(self) -> int:
        """Side of the square images that batches hold, pixels."""
        ...

    @property
    def channels(self) -> int:
        """Channels of the images."""
        ...

    @property
    def mean(self) -> tuple[float, ...]:
        """Per channel, of pixels scaled to [0, 1]."""
        ...

    @property
    def std(self) -> tuple[float, ...]:
        """Per channel, of pixels scaled to [0, 1]; positive."""
        ...

    @property
    def num_train(self) -> int:
        """Training images."""
        ...

    @property
    def num_eval(self) -> int:
        """Evaluation images."""
        ...

    @property
    def crops_on_read(self) -> bool:
        """Whether ``train_batches`` applies the random crop; else batches hold whole images, to be cropped later."""
        ...

    def train_batches(
        self, reading: Reading, *, study_seed: int, epoch: int, crop: RandomCrop | None
    ) -> Iterator[Batch]:
        """This rank's part of each step from ``reading.first_step`` on; num_train // batch_size steps make an epoch.

        Args:
            reading: How to read.
            study_seed: 0 or more.
            epoch: Counted from 1.
            crop: The random crop, for a dataset that crops on reading; None: the crop of evaluation.
        """
        ...

    def eval_batches(self, reading: Reading) -> Iterator[Batch]:
        """The evaluation images in a fixed order; the last step may be shorter or, on some ranks, empty.

        ``reading.batch_size`` counts images of one step over all ranks.
        """
        ...
