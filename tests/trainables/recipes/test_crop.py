from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from trainables.recipes.crop import Boxes, crop_and_resize, draw_crops, draw_flips, flip

USUAL = {"area": (0.08, 1.0), "ratio": (3 / 4, 4 / 3)}


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_boxes_follow_torchvisions_law() -> None:
    v2: Any = import_module("torchvision.transforms.v2")
    crop, image, number = v2.RandomResizedCrop(64), torch.zeros(3, 64, 64), 4000
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = [crop.make_params([image]) for _ in range(number)]
    ours = draw_crops(generator(), number, 64, **USUAL)
    for name in ("top", "left", "height", "width"):
        found = stats.ks_2samp(getattr(ours, name), [box[name] for box in theirs])
        assert found.pvalue > 0.01, name
    area = stats.ks_2samp(ours.height * ours.width, [box["height"] * box["width"] for box in theirs])
    ratio = stats.ks_2samp(ours.width / ours.height, [box["width"] / box["height"] for box in theirs])
    assert min(area.pvalue, ratio.pvalue) > 0.01


@given(
    st.integers(2, 300),
    st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)).map(sorted),
    st.tuples(st.floats(0.2, 5), st.floats(0.2, 5)).map(sorted),
)
def test_boxes_lie_inside_the_image(side: int, area: list[float], ratio: list[float]) -> None:
    boxes = draw_crops(generator(), 50, side, area=(area[0], area[1]), ratio=(ratio[0], ratio[1]))
    assert min(boxes.height.min(), boxes.width.min()) >= 1
    assert min(boxes.top.min(), boxes.left.min()) >= 0
    assert max((boxes.top + boxes.height).max(), (boxes.left + boxes.width).max()) <= side


@pytest.mark.parametrize(("ratio", "size"), [((2.0, 3.0), (20, 40)), ((0.25, 0.5), (40, 20))])
def test_where_nothing_fits_the_box_is_central(ratio: tuple[float, float], size: tuple[int, int]) -> None:
    boxes = draw_crops(generator(), 5, 40, area=(1.0, 1.0), ratio=ratio)
    for top, left, height, width in zip(*boxes, strict=True):
        assert (height, width) == size
        assert (top, left) == ((40 - height) // 2, (40 - width) // 2)


def test_a_whole_image_in_a_narrow_range_is_itself() -> None:
    images = torch.randint(0, 256, (4, 3, 17, 17), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    boxes = draw_crops(generator(), 4, 17, area=(1.0, 1.0), ratio=(1.0, 1.0))
    assert torch.equal(crop_and_resize(images, boxes), images)


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.sampled_from([1, 3]), st.integers(3, 48))
def test_pixels_are_those_of_a_crop_and_a_bilinear_resize(seed: int, channels: int, side: int) -> None:
    images = torch.randint(
        0, 256, (6, channels, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )
    boxes = draw_crops(generator(seed), 6, side, **USUAL)
    found = crop_and_resize(images, boxes)
    for image, result, *box in zip(images, found, *boxes, strict=True):
        top, left, height, width = map(int, box)
        cut = image[None, :, top : top + height, left : left + width].float()
        resized = torch.nn.functional.interpolate(cut, (side, side), mode="bilinear", antialias=True)[0]
        # Half a grey level of rounding, and the last bits of float32.
        assert float((result.float() - resized).abs().max()) <= 0.5 + 1e-2


def test_torchvisions_resized_crop_is_within_one_grey_level() -> None:
    v2: Any = import_module("torchvision.transforms.v2")
    images = torch.randint(0, 256, (8, 3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    boxes = draw_crops(generator(3), 8, 40, **USUAL)
    found = crop_and_resize(images, boxes)
    for image, result, *box in zip(images, found, *boxes, strict=True):
        theirs = v2.functional.resized_crop(image, *map(int, box), [40, 40], antialias=True)
        assert int((result.int() - theirs.int()).abs().max()) <= 1


def test_nothing_outside_the_box_is_mixed_in() -> None:
    images = torch.full((1, 1, 20, 20), 255, dtype=torch.uint8)
    images[:, :, 5:12, 6:14] = 10
    box = Boxes(*(np.array([value]) for value in (5, 6, 7, 8)))
    assert torch.equal(crop_and_resize(images, box), torch.full_like(images, 10))


def test_flips() -> None:
    images = torch.arange(24, dtype=torch.uint8).view(2, 1, 3, 4)
    found = flip(images, np.array([True, False]))
    assert torch.equal(found[0], images[0].flip(2))
    assert torch.equal(found[1], images[1])
    assert stats.binomtest(int(draw_flips(generator(), 5000, 0.3).sum()), 5000, 0.3).pvalue > 0.01
    assert not draw_flips(generator(), 100, 0.0).any()
    assert draw_flips(generator(), 100, 1.0).all()
