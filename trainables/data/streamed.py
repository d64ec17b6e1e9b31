"""A dataset that is read and decoded while it is trained on."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from trainables.data.assembly import assembled
from trainables.data.dataset import Batch, RandomCrop, Reading
from trainables.data.images import View
from trainables.data.options import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    MAX_IMAGE_SIZE,
    require_int,
    require_one_of,
    require_share,
    require_statistics,
)
from trainables.data.order import Rows, batch_order, crop_key, share, windowed_order
from trainables.data.processes import decoded
from trainables.data.source import Source
from trainables.data.tasks import CHUNK_ROWS, Decoder, plan_tasks


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StreamedDataset:
    """Images that are decoded on reading, in this process or in others, from a training and an evaluation source.

    The order of an epoch and the crop of a sample are functions of (study seed, epoch) and (study seed, epoch, row) alone.
    Of a source without groups, any image can follow any other; of a grouped one, windows of whole groups are shuffled.

    Raises:
        ValueError: If a value is out of range, or a label is none of the classes and ``on_bad_sample`` is ``error``.
    """

    name: str
    train: Source
    eval: Source
    num_classes: int
    image_size: int
    channels: int = 3
    mean: tuple[float, ...] = IMAGENET_MEAN
    """Per channel, of pixels scaled to [0, 1]."""
    std: tuple[float, ...] = IMAGENET_STD
    """Per channel, of pixels scaled to [0, 1]; positive."""
    crop_fraction: float = 0.875
    """Evaluation: side of the centre crop as a share of the short side, above 0, at most 1."""
    on_bad_sample: str = "error"
    """``error``: the first unreadable sample ends the reading. ``skip``: it becomes a zero image without a label."""
    shuffle_rows: int = 4096
    """Fewest rows of a window of a grouped source."""

    def __post_init__(self) -> None:
        if self.num_classes < 2:
            raise ValueError(f"dataset {self.name!r}: num_classes is {self.num_classes}, expected 2 or more")
        require_int(self.name, "image_size", self.image_size, 1, MAX_IMAGE_SIZE)
        require_int(self.name, "shuffle_rows", self.shuffle_rows, 1, 2**31)
        require_one_of(self.name, "channels", self.channels, (1, 3))
        require_one_of(self.name, "on_bad_sample", self.on_bad_sample, ("error", "skip"))
        require_share(self.name, "crop_fraction", self.crop_fraction, zero=False)
        require_statistics(self.name, "mean", self.mean, self.channels)
        require_statistics(self.name, "std", self.std, self.channels)
        for split, source in (("train", self.train), ("eval", self.eval)):
            if not len(source.labels):
                raise ValueError(f"dataset {self.name!r}: the {split} split holds no image; check path and {split}")
        if self.on_bad_sample == "error":
            for source in (self.train, self.eval):
                for sentence in source.bad_labels.values():
                    raise ValueError(f"{sentence}; correct it, or set on_bad_sample: skip")

    @property
    def num_train(self) -> int:
        """Training images, the unreadable ones included."""
        return len(self.train.labels)

    @property
    def num_eval(self) -> int:
        """Evaluation images, the unreadable ones included."""
        return len(self.eval.labels)

    @property
    def crops_on_read(self) -> bool:
        """Yes: only the crop is ever held at full size."""
        return True

    def train_batches(
        self, reading: Reading, *, study_seed: int, epoch: int, crop: RandomCrop | None
    ) -> Iterator[Batch]:
        """This rank's part of each step; what lies before ``reading.first_step`` is neither read nor decoded.

        Raises:
            ValueError: If a sample cannot be read and ``on_bad_sample`` is ``error``, or a file cannot be read at all;
                names the file and the row.
            RuntimeError: If a decoding process died.
        """
        order, ends = self._train_order(reading.batch_size, study_seed, epoch)
        view = replace(self._view(), crop=crop, key=crop_key(study_seed, epoch))
        steps = self.num_train // reading.batch_size
        yield from self._batches(self.train, view, reading, order[: steps * reading.batch_size], ends)

    def eval_batches(self, reading: Reading) -> Iterator[Batch]:
        """This rank's part of each step, in the order of the source.

        Raises:
            ValueError, RuntimeError: As :meth:`train_batches`.
        """
        sizes = self.eval.group_sizes
        ends = None if sizes is None else np.cumsum(sizes)
        yield from self._batches(self.eval, self._view(), reading, np.arange(self.num_eval), ends)

    def _train_order(self, batch_size: int, study_seed: int, epoch: int) -> tuple[Rows, Rows | None]:
        shuffled = batch_order(self.num_train, batch_size, study_seed=study_seed, epoch=epoch)
        sizes = self.train.group_sizes
        if sizes is None:
            return shuffled.flatten().numpy(), None
        windowed = windowed_order(sizes, self.shuffle_rows, study_seed=study_seed, epoch=epoch)
        return windowed.rows, windowed.ends

    def _view(self) -> View:
        return View(image_size=self.image_size, channels=self.channels, crop_fraction=self.crop_fraction)

    def _batches(self, source: Source, view: View, reading: Reading, order: Rows, ends: Rows | None) -> Iterator[Batch]:
        places, sizes = share(reading, len(order))
        rows = order[places]
        windows = None if ends is None else np.unique(np.searchsorted(places, ends))
        processes = min(reading.decode_workers, -(-len(rows) // CHUNK_ROWS))
        answers = decoded(
            plan_tasks(source, rows, windows),
            Decoder(source.reader(), view, self.on_bad_sample == "skip"),
            processes=processes,
            tasks_ahead=_tasks_ahead(source, self.shuffle_rows, processes),
        )
        labels = torch.from_numpy(source.labels[rows])
        label_problems = [source.bad_labels.get(row) for row in rows.tolist()] if source.bad_labels else []
        shape = (view.channels, view.image_size, view.image_size)
        yield from assembled(answers, sizes, labels, label_problems, shape)


def _tasks_ahead(source: Source, window_rows: int, processes: int) -> int:
    # About a window of a grouped source, so that the next one is decoded while this one is dealt out.
    if source.group_sizes is None:
        return 2 * processes
    return -(-window_rows // max(1, int(source.group_sizes.mean())))
