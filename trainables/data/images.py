"""From an encoded image to uint8 pixels: decoding, the crop of evaluation and the random resized crop."""

import io
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from trainables.data.dataset import RandomCrop

ATTEMPTS = 10
"""Boxes drawn before the central one is taken."""
Pixels = npt.NDArray[np.uint8]
Box = tuple[int, int, int, int]
"""Left, top, right, bottom, pixels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """How samples become images of one size."""

    image_size: int
    """Side of the result, pixels."""
    channels: int
    """3: RGB; 1: grey."""
    crop_fraction: float
    """Evaluation: the short side is resized to image_size / crop_fraction before the centre is cut out; at most 1."""
    crop: RandomCrop | None = None
    """The random crop; None: the crop of evaluation."""
    key: tuple[int, int] = (0, 0)
    """Of the generator of random crops, see :func:`trainables.data.order.crop_key`."""

    def pixels(self, sample: bytes | Image.Image, row: int) -> Pixels:
        """uint8, shape (channels, image_size, image_size).

        Args:
            sample: An encoded image in a format that PIL reads, or a PIL image.
            row: The sample's row in its split: with ``key`` it decides the random crop.

        Raises:
            Exception: Whatever PIL raises for bytes that are no image.
        """
        image = decoded(sample, self.channels)
        if self.crop is None:
            image = evaluation_crop(image, self.image_size, self.crop_fraction)
        else:
            box = random_box(image.width, image.height, self.crop, key=self.key, row=row)
            image = resized(image.crop(box), (self.image_size, self.image_size))
        return as_pixels(image)


def decoded(sample: bytes | Image.Image, channels: int) -> Image.Image:
    """The image in RGB (three channels) or grey (one)."""
    image = Image.open(io.BytesIO(sample)) if isinstance(sample, bytes) else sample
    return image.convert("RGB" if channels == 3 else "L")


def as_pixels(image: Image.Image) -> Pixels:
    """uint8, shape (C, H, W)."""
    array: Pixels = np.asarray(image)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The image at (width, height), bilinear with antialiasing."""
    return image if image.size == size else image.resize(size, Image.Resampling.BILINEAR)


def evaluation_crop(image: Image.Image, image_size: int, crop_fraction: float) -> Image.Image:
    """The centre of the image, after its short side was resized to ``round(image_size / crop_fraction)``.

    Source: torchvision's ``Resize`` and ``CenterCrop``, whose roundings these are.
    """
    short = round(image_size / crop_fraction)
    width, height = image.size
    size = (short, int(short * height / width)) if width <= height else (int(short * width / height), short)
    image = resized(image, size)
    left, top = round((image.width - image_size) / 2), round((image.height - image_size) / 2)
    return image.crop((left, top, left + image_size, top + image_size))


def random_box(width: int, height: int, crop: RandomCrop, *, key: tuple[int, int], row: int) -> Box:
    """The box of a random resized crop: a function of its arguments, the same wherever it is drawn.

    The area is uniform and the ratio log-uniform; of ten boxes the first that fits is taken, placed uniformly. If none
    fits, the largest central box whose ratio is allowed.

    Args:
        width, height: Of the image, pixels.
        crop: Ranges of area and ratio.
        key: Of the counter-based generator.
        row: Its counter.

    Source: the law of torchvision's ``RandomResizedCrop``, from Szegedy et al. 2014 (arXiv:1409.4842, section 6).
    """
    # Raw Philox words are fixed by their algorithm; numpy's distributions may change between versions.
    words = np.random.Philox(key=np.array(key, np.uint64), counter=np.array([0, row, 0, 0], np.uint64))
    draws = ((words.random_raw(4 * ATTEMPTS) >> np.uint64(11)) * 2.0**-53).reshape(ATTEMPTS, 4)
    low, high = (math.log(value) for value in crop.ratio)
    for area, ratio, across, down in draws.tolist():
        target = width * height * (crop.area[0] + area * (crop.area[1] - crop.area[0]))
        aspect = math.exp(low + ratio * (high - low))
        w, h = round(math.sqrt(target * aspect)), round(math.sqrt(target / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(across * (width - w + 1)), int(down * (height - h + 1))
            return left, top, left + w, top + h
    return _central_box(width, height, crop.ratio)


def _central_box(width: int, height: int, ratio: tuple[float, float]) -> Box:
    w, h = width, height
    if width / height < ratio[0]:
        h = round(width / ratio[0])
    elif width / height > ratio[1]:
        w = round(height * ratio[1])
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h
