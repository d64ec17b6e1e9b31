"""Random resized crops of square images that are in memory, and left-right flips."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from trainables.data.transfer import to_device

ATTEMPTS = 10


class Boxes(NamedTuple):
    """One box per image, in pixels; each field has shape (n,), int64."""

    top: np.ndarray
    left: np.ndarray
    height: np.ndarray
    width: np.ndarray


def draw_crops(
    generator: np.random.Generator, num_images: int, side: int, *, area: tuple[float, float], ratio: tuple[float, float]
) -> Boxes:
    """Boxes inside square images: area uniform, ratio log-uniform, place uniform, as torchvision's RandomResizedCrop.

    Args:
        generator: Source of the draws.
        num_images: Number of boxes.
        side: Of the images, pixels.
        area: Lowest and highest share of the image's area.
        ratio: Lowest and highest width over height.

    Returns:
        Boxes; the first of 10 attempts that fits, else the largest central box whose ratio is in the range.

    Source: own code for the law of torchvision 0.29's ``RandomResizedCrop``. The paper's public code differs from that
    law: its ratio is uniform and a fair coin swaps the sides.
    """
    draws = generator.random((num_images, ATTEMPTS, 4))
    target = side * side * (area[0] + (area[1] - area[0]) * draws[..., 0])
    low, high = math.log(ratio[0]), math.log(ratio[1])
    aspect = np.exp(low + (high - low) * draws[..., 1])
    width, height = np.rint(np.sqrt(target * aspect)), np.rint(np.sqrt(target / aspect))
    fits = (width >= 1) & (width <= side) & (height >= 1) & (height <= side)
    first = (np.arange(num_images), fits.argmax(axis=1))
    found, width, height, place = fits.any(axis=1), width[first], height[first], draws[first][:, 2:]
    fallback_height, fallback_width = _central(side, ratio)
    width = np.where(found, width, fallback_width).astype(np.int64)
    height = np.where(found, height, fallback_height).astype(np.int64)
    top = np.where(found, np.floor(place[:, 0] * (side - height + 1)), (side - height) // 2).astype(np.int64)
    left = np.where(found, np.floor(place[:, 1] * (side - width + 1)), (side - width) // 2).astype(np.int64)
    return Boxes(top, left, height, width)


def crop_and_resize(images: torch.Tensor, boxes: Boxes) -> torch.Tensor:
    """Each image's box, enlarged to the whole image by bilinear interpolation.

    Args:
        images: uint8, shape (b, C, H, H), on any device.
        boxes: b boxes inside the images.

    Returns:
        uint8, shape (b, C, H, H). Equal to cropping and then resizing each image, up to one grey level from rounding: the
        sampling points are kept inside the box, so that no pixel outside it is mixed in. A box is never larger than the
        image, so nothing is reduced and antialiasing would have no effect. One call for the batch; torchvision's resize
        takes one size a call, which would be one call an image.
    """
    side = images.shape[-1]
    rows = _sampling_points(boxes.top, boxes.height, side, images.device)
    columns = _sampling_points(boxes.left, boxes.width, side, images.device)
    shape = (len(images), side, side)
    grid = torch.stack((columns[:, None, :].expand(shape), rows[:, :, None].expand(shape)), dim=-1)
    cropped = functional.grid_sample(images.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
    return cropped.round_().to(torch.uint8)


def draw_flips(generator: np.random.Generator, num_images: int, probability: float) -> np.ndarray:
    """Whether each image is flipped: bool, shape (num_images,)."""
    flips: np.ndarray = generator.random(num_images) < probability
    return flips


def flip(images: torch.Tensor, flips: np.ndarray) -> torch.Tensor:
    """The images, (b, C, H, W), mirrored left to right where ``flips``, (b,), is true."""
    mask = to_device(torch.from_numpy(flips), images.device)
    return torch.where(mask.view(-1, 1, 1, 1), images.flip(3), images)


def _central(side: int, ratio: tuple[float, float]) -> tuple[int, int]:
    # Height and width; a square image has ratio 1.
    if ratio[0] > 1:
        return max(round(side / ratio[0]), 1), side
    if ratio[1] < 1:
        return side, max(round(side * ratio[1]), 1)
    return side, side


def _sampling_points(start: np.ndarray, length: np.ndarray, side: int, device: torch.device) -> torch.Tensor:
    """Where each of ``side`` output pixels lies, in grid_sample's coordinates, shape (b, side)."""
    centres = (np.arange(side) + 0.5) * (length[:, None] / side) - 0.5
    pixels = start[:, None] + np.clip(centres, 0, length[:, None] - 1)
    return to_device(torch.from_numpy(((2 * pixels + 1) / side - 1).astype(np.float32)), device)
