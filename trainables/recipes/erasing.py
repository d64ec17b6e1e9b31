"""Random erasing: a rectangle of noise in some images."""

import math
from typing import NamedTuple

import numpy as np
import torch

from trainables.data.transfer import to_device

AREA = (0.02, 1 / 3)
RATIO = (0.3, 1 / 0.3)
ATTEMPTS = 10


class Erasures(NamedTuple):
    """What is erased in a global batch: one entry per image that is, shape (k,) each, int64."""

    image: np.ndarray
    top: np.ndarray
    left: np.ndarray
    height: np.ndarray
    width: np.ndarray
    noise_seed: int
    """Of the noise that fills the rectangles."""


def draw_erasures(generator: np.random.Generator, num_images: int, side: int, probability: float) -> Erasures:
    """One rectangle in each image that the probability picks: area uniform, ratio log-uniform, place uniform.

    Args:
        generator: Source of the draws.
        num_images: Images of the global batch.
        side: Of the images, pixels.
        probability: That an image is picked; one whose 10 attempts all give too large a rectangle stays whole.

    Source: arXiv:1708.04896 with the numbers that DeiT uses: area 0.02 to 1/3 of the image, ratio 0.3 to 1/0.3.
    """
    noise_seed = int(generator.integers(2**63))
    picked = generator.random(num_images) < probability
    draws = generator.random((num_images, ATTEMPTS, 4))
    target = side * side * (AREA[0] + (AREA[1] - AREA[0]) * draws[..., 0])
    low, high = math.log(RATIO[0]), math.log(RATIO[1])
    aspect = np.exp(low + (high - low) * draws[..., 1])
    height, width = np.rint(np.sqrt(target * aspect)), np.rint(np.sqrt(target / aspect))
    fits = (height < side) & (width < side)
    image = np.flatnonzero(picked & fits.any(axis=1))
    chosen = (image, fits.argmax(axis=1)[image])
    height, width = height[chosen].astype(np.int64), width[chosen].astype(np.int64)
    top = np.floor(draws[chosen][:, 2] * (side - height + 1)).astype(np.int64)
    left = np.floor(draws[chosen][:, 3] * (side - width + 1)).astype(np.int64)
    return Erasures(image, top, left, height, width, noise_seed)


def erase(images: torch.Tensor, erasures: Erasures, first: int) -> torch.Tensor:
    """The images with their rectangles filled with standard normal noise, a number for each pixel and channel.

    Args:
        images: float32, normalised, shape (b, C, H, W), on any device; overwritten.
        erasures: Of the global batch.
        first: Place of these images' first in the global batch.

    Returns:
        The same tensor. The noise is drawn on the device of the images, for all erased images of the global batch, so
        that ranks agree; a CPU and a GPU draw different noise from one seed.
    """
    mine = np.flatnonzero((erasures.image >= first) & (erasures.image < first + len(images)))
    if not len(mine):
        return images
    device = images.device
    noise_generator = torch.Generator(device).manual_seed(erasures.noise_seed)
    noise = torch.empty((len(erasures.image), *images.shape[1:]), device=device).normal_(generator=noise_generator)
    boxes = to_device(torch.from_numpy(np.stack([*erasures[:5]])[:, mine]), device)
    place, top, left, height, width = (row.view(-1, 1, 1, 1) for row in boxes)
    rows = torch.arange(images.shape[2], device=device).view(1, 1, -1, 1)
    columns = torch.arange(images.shape[3], device=device).view(1, 1, 1, -1)
    inside = (rows >= top) & (rows < top + height) & (columns >= left) & (columns < left + width)
    at = place.view(-1) - first
    # The erased images of one rank are neighbours in the global order.
    own_noise = noise[int(mine[0]) : int(mine[-1]) + 1]
    return images.index_copy_(0, at, torch.where(inside, own_noise, images[at]))
