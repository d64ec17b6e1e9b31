import math
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import stats

from trainables import RandomCrop
from trainables.data.images import View, evaluation_crop, random_box

v2: Any = import_module("torchvision.transforms.v2")
RandomResizedCrop: Any = import_module("torchvision.transforms").RandomResizedCrop

SIZES = [(40, 60), (61, 40), (33, 33), (200, 35), (17, 90), (64, 64), (65, 64), (640, 427)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("side", "fraction"), [(32, 0.875), (24, 1.0), (31, 0.9), (224, 0.875)])
def test_evaluation_crop_equals_torchvisions(
    size: tuple[int, int], side: int, fraction: float, picture: Callable[..., Image.Image]
) -> None:
    image = picture(*size)
    theirs = v2.Compose([v2.Resize(round(side / fraction), antialias=True), v2.CenterCrop(side)])(image)
    ours = evaluation_crop(image, side, fraction)
    assert ours.size == (side, side)
    assert np.array_equal(np.asarray(ours), np.asarray(theirs))


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "CMYK", "P", "1"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_of_pil_becomes_what_is_asked_for(
    mode: str, channels: int, picture: Callable[..., Image.Image]
) -> None:
    image = picture(20, 20).convert(mode)
    view = View(image_size=20, channels=channels, crop_fraction=1.0)
    pixels = view.pixels(image, 0)
    expected = np.asarray(image.convert("RGB" if channels == 3 else "L")).reshape(20, 20, channels)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (channels, 20, 20)
    assert np.array_equal(pixels, expected.transpose(2, 0, 1))


def test_a_random_crop_is_its_box_resized_as_torchvision_does(picture: Callable[..., Image.Image]) -> None:
    image, crop = picture(90, 60), RandomCrop()
    for row in range(20):
        view = View(image_size=32, channels=3, crop_fraction=0.875, crop=crop, key=(1, 2))
        left, top, right, bottom = random_box(90, 60, crop, key=(1, 2), row=row)
        theirs = v2.functional.resized_crop(image, top, left, bottom - top, right - left, [32, 32], antialias=True)
        assert np.array_equal(view.pixels(image, row), np.asarray(theirs).transpose(2, 0, 1))


@given(
    width=st.integers(1, 700),
    height=st.integers(1, 700),
    low=st.floats(0.05, 1.0),
    ratio=st.floats(0.3, 1.0),
    row=st.integers(0, 2**40),
)
def test_a_box_lies_in_the_image(width: int, height: int, low: float, ratio: float, row: int) -> None:
    crop = RandomCrop(area=(low, 1.0), ratio=(ratio, 1 / ratio))
    left, top, right, bottom = random_box(width, height, crop, key=(3, 4), row=row)
    assert 0 <= left <= right <= width
    assert 0 <= top <= bottom <= height
    assert (left, top, right, bottom) == random_box(width, height, crop, key=(3, 4), row=row)


@pytest.mark.parametrize("size", [(500, 375), (200, 480), (900, 120)])
def test_boxes_follow_torchvisions_law(size: tuple[int, int]) -> None:
    width, height = size
    number = 4000
    torch.manual_seed(0)
    image = torch.empty(3, height, width)
    theirs = np.array([RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(number)])
    boxes = np.array([random_box(width, height, RandomCrop(), key=(5, 6), row=row) for row in range(number)])
    left, top, right, bottom = boxes.T
    ours = np.stack([top, left, bottom - top, right - left], axis=1)

    def aspects(rows: Any) -> list[Any]:
        i, j, h, w = rows.T
        free = [
            np.divide(at, room, out=np.zeros(number), where=room > 0) for at, room in ((i, height - h), (j, width - w))
        ]
        return [h * w, w / h, *free, h, w]

    # Six comparisons at 1e-4 each; the samples are fixed, so this is no coin that is tossed at every run.
    assert all(stats.ks_2samp(a, b).pvalue > 1e-4 for a, b in zip(aspects(ours), aspects(theirs), strict=True))


@pytest.mark.parametrize("size", [(1000, 10), (10, 1000), (301, 10), (100, 100)])
def test_where_no_box_fits_the_central_one_is_torchvisions(size: tuple[int, int]) -> None:
    crop = RandomCrop(area=(4.0, 5.0))
    width, height = size
    left, top, right, bottom = random_box(width, height, crop, key=(0, 0), row=0)
    theirs = RandomResizedCrop.get_params(torch.empty(1, height, width), [4.0, 5.0], [3 / 4, 4 / 3])
    assert (top, left, bottom - top, right - left) == tuple(theirs)


def test_neighbouring_rows_and_keys_are_independent() -> None:
    def areas(key: tuple[int, int]) -> list[float]:
        boxes = [random_box(400, 400, RandomCrop(), key=key, row=row) for row in range(2000)]
        return [math.sqrt((right - left) * (bottom - top)) for left, top, right, bottom in boxes]

    first, second = areas((1, 1)), areas((1, 2))
    bound = 5 / math.sqrt(2000)
    assert abs(stats.spearmanr(first, second).statistic) < bound
    assert abs(stats.spearmanr(first[1:], first[:-1]).statistic) < bound
