"""scikit-learn's bundled handwritten digits, enlarged."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from trainables.data.memory import ImageData, channel_statistics

EVAL_PER_CLASS = 36
"""Validation images of each of the ten classes; the other 1,437 images are for training."""
SPLIT_SEED = 1797
"""The split is part of the dataset: no study's seed changes it."""


def load_digits_images(*, image_size: int = 32) -> ImageData:
    """1,797 real images of handwritten digits: 1,437 to train on, 360 (36 of each class) to evaluate on.

    Args:
        image_size: Side in pixels to which the 8 x 8 originals are enlarged, bilinear; 8 to 512.

    Returns:
        One channel, ten classes; pixel values 0 .. 16 become 0 .. 255.

    Raises:
        ValueError: If ``image_size`` is not an integer from 8 to 512.

    Source: ``sklearn.datasets.load_digits`` (UCI optical recognition of handwritten digits, test part). The split: own.
    """
    if isinstance(image_size, bool) or not isinstance(image_size, int) or not 8 <= image_size <= 512:
        raise ValueError(f"dataset 'digits': image_size is {image_size!r}, expected an integer from 8 to 512")
    originals, labels = _read()
    images = _enlarged(originals, image_size)
    in_eval = torch.from_numpy(_eval_mask(labels.numpy()))
    mean, std = channel_statistics(images[~in_eval])
    return ImageData(
        name="digits",
        train_images=images[~in_eval],
        train_labels=labels[~in_eval],
        eval_images=images[in_eval],
        eval_labels=labels[in_eval],
        num_classes=10,
        mean=mean,
        std=std,
    )


def _read() -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels (1797, 8, 8) float64 in 0 .. 16, and labels (1797,) int64."""
    # Importing scikit-learn takes seconds in every worker process; its bundled file is one small table, so it is read
    # directly where it lies and through scikit-learn only if a later version moves it.
    spec = find_spec("sklearn")
    file = Path(spec.origin).parent / "datasets/data/digits.csv.gz" if spec and spec.origin else None
    if file is not None and file.is_file():
        table = np.loadtxt(file, delimiter=",")
    else:
        from sklearn.datasets import load_digits

        bunch = load_digits()
        table = np.column_stack([bunch.data, bunch.target])
    return torch.from_numpy(table[:, :64].reshape(-1, 8, 8).copy()), torch.from_numpy(table[:, 64].astype(np.int64))


def _enlarged(originals: torch.Tensor, image_size: int) -> torch.Tensor:
    """uint8 images of shape (N, 1, image_size, image_size)."""
    # In float64 and before scaling: whole numbers times small binary fractions are exact at 16, 32, 64 ... px.
    size = (image_size, image_size)
    pixels = functional.interpolate(originals[:, None], size=size, mode="bilinear", align_corners=False)
    return (pixels * (255.0 / 16.0)).round().clamp(0, 255).to(torch.uint8)


def _eval_mask(labels: np.ndarray[tuple[int], np.dtype[np.int64]]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """True for the ``EVAL_PER_CLASS`` images of each class that are for evaluation."""
    # RandomState's stream is frozen across numpy versions, unlike Generator's.
    random = np.random.RandomState(SPLIT_SEED)
    mask = np.zeros(len(labels), dtype=np.bool_)
    for label in range(10):
        members = np.flatnonzero(labels == label)
        mask[random.permutation(members)[:EVAL_PER_CLASS]] = True
    return mask
