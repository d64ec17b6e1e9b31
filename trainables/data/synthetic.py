"""A procedural task of shapes and textures."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from trainables.data.memory import ImageData, channel_statistics
from trainables.data.options import require_int, require_share
from trainables.data.patterns import SHAPES, TEXTURES, Plane

TASK_SEED = 2106
"""Of the images; no study's seed changes them."""
EVAL_SEED = 14881
SIZES = (0.7, 0.9)
"""Of shapes, lowest and highest, as a share of half the image."""
SHAPE_TURN, TEXTURE_TURN = 1 / 12, 1 / 8
"""Furthest rotation to either side, as a share of half a turn."""
PERIODS = (1.2, 2.0)
"""Of textures, lowest and highest, per half of the image."""
CHUNK = 128
"""Images made at once: few enough to stay in the cache of a processor."""


def load_synthetic(
    *,
    image_size: int = 64,
    shapes: int = 4,
    textures: int = 4,
    num_train: int = 4096,
    num_eval: int = 1024,
    noise: float = 0.04,
    distractor: float = 0.2,
) -> ImageData:
    """Images of one textured shape before a textured background; a class is a shape and a texture.

    Place, size, rotation, colours and the texture of the background say nothing about the class. The same arguments give
    the same bytes on every machine: pixels come from additions, multiplications and comparisons alone.

    Args:
        image_size: Side in pixels, 16 to 512.
        shapes: 2 to 5, of disc, square, triangle, cross, ring.
        textures: 2 to 4, of stripes, checks, dots, rings.
        num_train, num_eval: Images; the classes are equally frequent to within one image.
        noise: Standard deviation of the noise of each channel of each pixel, 0 to 1, of the range of pixel values.
        distractor: Contrast of the background's texture, 0 to 1, as a share of the figure's.

    Returns:
        Three channels, ``shapes * textures`` classes: label = shape * textures + texture.

    Raises:
        ValueError: If an argument is out of range.

    Source: own.
    """
    require_int("synthetic", "image_size", image_size, 16, 512)
    require_int("synthetic", "shapes", shapes, 2, len(SHAPES))
    require_int("synthetic", "textures", textures, 2, len(TEXTURES))
    require_int("synthetic", "num_train", num_train, 1, 10_000_000)
    require_int("synthetic", "num_eval", num_eval, 1, 10_000_000)
    noise = require_share("synthetic", "noise", noise, zero=True)
    distractor = require_share("synthetic", "distractor", distractor, zero=True)
    made = [
        _split(seed, number, image_size, shapes, textures, noise, distractor)
        for seed, number in ((TASK_SEED, num_train), (EVAL_SEED, num_eval))
    ]
    mean, std = channel_statistics(made[0][0])
    return ImageData(
        name="synthetic",
        train_images=made[0][0],
        train_labels=made[0][1],
        eval_images=made[1][0],
        eval_labels=made[1][1],
        num_classes=shapes * textures,
        mean=mean,
        std=std,
    )


def _split(
    seed: int, number: int, image_size: int, shapes: int, textures: int, noise: float, distractor: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (N, 3, H, H), uint8, and labels (N,), int64."""
    # RandomState's streams are frozen across numpy versions, unlike Generator's.
    random = np.random.RandomState(seed)
    labels = random.permutation(np.arange(number) % (shapes * textures)).astype(np.int64)
    images = np.empty((number, 3, image_size, image_size), dtype=np.uint8)
    for start in range(0, number, CHUNK):
        part = labels[start : start + CHUNK]
        images[start : start + CHUNK] = _images(
            random, part // textures, part % textures, image_size, noise, distractor
        )
    return torch.from_numpy(images), torch.from_numpy(labels)


def _images(
    random: np.random.RandomState,
    shape: npt.NDArray[np.int64],
    texture: npt.NDArray[np.int64],
    image_size: int,
    noise: float,
    distractor: float,
) -> npt.NDArray[np.uint8]:
    number = len(shape)
    grid = (2.0 * np.arange(image_size) + 1.0 - image_size) / image_size
    inside = _shape_mask(random, shape, grid)
    figure = _textured(random, texture, grid, 1.0)
    ground = _textured(random, random.randint(0, len(TEXTURES), number), grid, distractor)
    pixels = np.where(inside[:, None], figure, ground)
    if noise:
        pixels += noise * _noise(random, pixels.shape)
    return np.clip(np.floor(pixels * 255.0 + 0.5), 0.0, 255.0).astype(np.uint8)


def _shape_mask(
    random: np.random.RandomState, shape: npt.NDArray[np.int64], grid: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """True inside the shape; shape (N, H, H)."""
    number = len(shape)
    size = _uniform(random, number, *SIZES)
    centre = random.random_sample((2, number)) * 2.0 - 1.0
    across, down = centre * (1.0 - size)
    x, y = _rotated(random, grid, across, down, turn=SHAPE_TURN, scale=1.0 / size)
    return _by_kind(SHAPES, shape, x, y) > 0


def _textured(
    random: np.random.RandomState, texture: npt.NDArray[np.int64], grid: npt.NDArray[np.float64], contrast: float
) -> Plane:
    """Two colours in the pattern of the texture; shape (N, 3, H, H), about 0 to 1."""
    number = len(texture)
    phase = random.random_sample((2, number)) * 2.0 - 1.0
    x, y = _rotated(random, grid, phase[0], phase[1], turn=TEXTURE_TURN, scale=_uniform(random, number, *PERIODS))
    pattern = np.clip(4.0 * _by_kind(TEXTURES, texture, x, y), -1.0, 1.0)
    base = _uniform(random, (number, 3), 0.3, 0.7)
    signs = random.randint(0, 2, (number, 3)) * 2.0 - 1.0
    half = contrast * signs * _uniform(random, (number, 3), 0.1, 0.3)
    colours: Plane = (base[..., None, None] + half[..., None, None] * pattern[:, None]).astype(np.float32)
    return colours


def _rotated(
    random: np.random.RandomState,
    grid: npt.NDArray[np.float64],
    across: npt.NDArray[np.float64],
    down: npt.NDArray[np.float64],
    *,
    turn: float,
    scale: npt.NDArray[np.float64],
) -> tuple[Plane, Plane]:
    """Coordinates of every pixel in each image's moved, turned and scaled frame; shape (N, H, H) each."""
    angles = _uniform(random, len(across), -turn, turn) * math.pi
    # Rounded, so that the last bit of a machine's sine changes nothing.
    cos, sin = (np.array([round(f(angle), 9) for angle in angles])[:, None, None] for f in (math.cos, math.sin))
    x = grid[None, None, :] - across[:, None, None]
    y = grid[None, :, None] - down[:, None, None]
    turned = cos * x + sin * y, cos * y - sin * x
    turned_x, turned_y = ((axis * scale[:, None, None]).astype(np.float32) for axis in turned)
    return turned_x, turned_y


def _by_kind(
    table: tuple[Callable[[Plane, Plane], Plane], ...], kind: npt.NDArray[np.int64], x: Plane, y: Plane
) -> Plane:
    result = np.empty_like(x)
    for number, function in enumerate(table):
        chosen = kind == number
        result[chosen] = function(x[chosen], y[chosen])
    return result


def _noise(random: np.random.RandomState, shape: tuple[int, ...]) -> Plane:
    """Nearly normal, mean 0, standard deviation 1: a sum of four random bytes, each uniform on 0 .. 255."""
    count = math.prod(shape)
    total = np.frombuffer(random.bytes(4 * count), dtype=np.uint8).reshape(4, *shape).sum(axis=0, dtype=np.int16)
    noise: Plane = (total.astype(np.float32) - 510.0) / math.sqrt((256**2 - 1) / 3)
    return noise


def _uniform(random: np.random.RandomState, size: Any, low: float, high: float) -> npt.NDArray[np.float64]:
    values: npt.NDArray[np.float64] = low + (high - low) * random.random_sample(size)
    return values
