"""Mixup and CutMix of a batch, and the loss of what they give."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from trainables.data.dataset import UNREADABLE


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TrainBatch:
    """A batch ready for the model."""

    images: torch.Tensor
    """float32, normalised, shape (b, C, H, W)."""
    labels: torch.Tensor
    """int64, shape (b,); -1 (``UNREADABLE``): an unreadable sample, which counts in no loss."""
    partner_labels: torch.Tensor | None = None
    """int64, shape (b,): labels of the images that were mixed in; None: nothing was mixed."""
    own_share: torch.Tensor | None = None
    """float32, shape (b,), in [0, 1]: weight of the own label, the rest is the partner's; None as for the partners."""


class Mix(NamedTuple):
    """How a batch is mixed: ``share`` of the own image, by blending, or by keeping what is outside the box."""

    share: float
    box: tuple[int, int, int, int] | None
    """Top, bottom, left, right (bottom and right exclusive) of the partner's part; None: blend."""


def draw_mix(generator: np.random.Generator, side: int, *, mixup: float, cutmix: float) -> Mix:
    """One way of mixing for the whole global batch.

    Args:
        generator: Source of the draws.
        side: Of the images, pixels.
        mixup: Alpha of mixup's Beta(alpha, alpha); 0: no mixup.
        cutmix: Alpha of CutMix's Beta(alpha, alpha); 0: no CutMix. With both, a fair coin chooses.

    Returns:
        For CutMix a box whose sides are sqrt(1 - lambda) of the image's, with its centre anywhere in the image, cut off at
        the border; ``share`` is then the true share of the area outside it.

    Source: arXiv:1710.09412 (mixup) and arXiv:1905.04899 (CutMix), a way per batch as in the paper's public code.
    """
    coin, centre_row, centre_column = generator.random(3)
    if not cutmix or (mixup and coin < 0.5):
        return Mix(float(generator.beta(mixup, mixup)), None)
    cut = int(side * math.sqrt(1.0 - generator.beta(cutmix, cutmix)))
    rows, columns = (_clipped(int(centre * side), cut, side) for centre in (centre_row, centre_column))
    covered = (rows[1] - rows[0]) * (columns[1] - columns[0])
    return Mix(1.0 - covered / side**2, (*rows, *columns))


def apply_mix(images: torch.Tensor, labels: torch.Tensor, mix: Mix) -> TrainBatch:
    """The batch with each image mixed with its neighbour: 0 with 1, 2 with 3, and so on.

    The order of a batch is random already, and neighbours are on one rank. In a batch of odd length the last image is its
    own partner. A sample with label -1 is mixed into nothing, and its partner stays as it is.

    Args:
        images: float32, shape (b, C, H, W); may be overwritten.
        labels: int64, shape (b,).
        mix: How.
    """
    partner = torch.arange(len(labels), device=labels.device) ^ 1
    if len(labels) % 2:
        partner[-1] = len(labels) - 1
    partner_labels = labels[partner]
    mixes = (labels >= 0) & (partner_labels >= 0)
    shares = torch.where(mixes, mix.share, 1.0)
    if mix.box is None:
        images = torch.lerp(images[partner], images, shares.view(-1, 1, 1, 1))
    else:
        top, bottom, left, right = mix.box
        own = images[:, :, top:bottom, left:right]
        images[:, :, top:bottom, left:right] = torch.where(mixes.view(-1, 1, 1, 1), own[partner], own)
    return TrainBatch(images=images, labels=labels, partner_labels=partner_labels, own_share=shares)


def mixed_cross_entropy(
    logits: torch.Tensor, batch: TrainBatch, label_smoothing: float | torch.Tensor = 0.0
) -> torch.Tensor:
    """Mean cross-entropy over all b samples of the batch, nats; an unreadable sample adds 0 and is counted.

    Equal to the cross-entropy with soft targets: own_share of the own class, the rest of the partner's, and of all that
    ``label_smoothing`` spread evenly over the classes.

    Args:
        logits: float32, shape (b, num_classes).
        batch: Its labels and shares.
        label_smoothing: Share of the target spread evenly over all classes; a scalar.

    Returns:
        A scalar.
    """
    log_probabilities = logits.log_softmax(dim=1)
    likelihood = _label_loss(log_probabilities, batch.labels)
    if batch.partner_labels is not None and batch.own_share is not None:
        partner = _label_loss(log_probabilities, batch.partner_labels)
        likelihood = batch.own_share * likelihood + (1.0 - batch.own_share) * partner
    if isinstance(label_smoothing, torch.Tensor) or label_smoothing:
        spread = torch.where(batch.labels >= 0, -log_probabilities.mean(dim=1), 0.0)
        spread = label_smoothing * spread
        if isinstance(label_smoothing, torch.Tensor):
            # Without smoothing a class that is impossible counts nothing: 0 times infinity would be NaN.
            spread = torch.where(label_smoothing > 0, spread, 0.0)
        likelihood = (1.0 - label_smoothing) * likelihood + spread
    return likelihood.sum() / len(logits)


def _label_loss(log_probabilities: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return functional.nll_loss(log_probabilities, labels, ignore_index=UNREADABLE, reduction="none")


def _clipped(centre: int, length: int, side: int) -> tuple[int, int]:
    return max(centre - length // 2, 0), min(centre + (length + 1) // 2, side)
