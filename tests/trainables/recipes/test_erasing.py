import random
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from trainables.recipes.erasing import draw_erasures, erase


def test_rectangles_follow_timms_law(monkeypatch: pytest.MonkeyPatch) -> None:
    timm_erasing: Any = import_module("timm.data.random_erasing")
    monkeypatch.setattr(timm_erasing, "random", random.Random(0))
    number, side = 3000, 48
    theirs = timm_erasing.RandomErasing(probability=0.25, mode="pixel", device="cpu")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        erased = theirs(torch.zeros(number, 1, side, side))[:, 0] != 0
    ours = draw_erasures(np.random.default_rng(0), number, side, 0.25)
    their_heights = erased.any(dim=2).sum(dim=1).numpy()
    their_widths = erased.any(dim=1).sum(dim=1).numpy()
    hit = their_heights > 0
    assert stats.ks_2samp(ours.height, their_heights[hit]).pvalue > 0.01
    assert stats.ks_2samp(ours.width, their_widths[hit]).pvalue > 0.01
    assert stats.ks_2samp(ours.height * ours.width, (their_heights * their_widths)[hit]).pvalue > 0.01
    their_tops = erased.any(dim=2).int().argmax(dim=1).numpy()[hit]
    assert stats.ks_2samp(ours.top, their_tops).pvalue > 0.01
    assert abs(len(ours.image) - hit.sum()) < 4 * np.sqrt(2 * number * 0.25 * 0.75)


def test_only_the_rectangles_become_noise() -> None:
    images = torch.full((40, 3, 32, 32), 7.0)
    drawn = draw_erasures(np.random.default_rng(1), 40, 32, 0.5)
    found = erase(images.clone(), drawn, 0)
    changed = found != 7.0
    inside = torch.zeros(40, 32, 32, dtype=torch.bool)
    for image, top, left, height, width in zip(*drawn[:5], strict=True):
        inside[image, top : top + height, left : left + width] = True
    assert torch.equal(changed, inside[:, None].expand_as(changed))
    noise = found[changed].numpy()
    assert stats.kstest(noise, "norm").pvalue > 0.01
    # A number for each pixel and channel, and other numbers in each image.
    assert len(np.unique(noise)) > 0.999 * len(noise)


def test_a_rank_erases_what_the_whole_batch_would() -> None:
    images = torch.zeros(24, 1, 16, 16)
    drawn = draw_erasures(np.random.default_rng(2), 24, 16, 0.4)
    whole = erase(images.clone(), drawn, 0)
    parts = [erase(images[at : at + 6].clone(), drawn, at) for at in range(0, 24, 6)]
    assert torch.equal(torch.cat(parts), whole)


def test_rates_at_the_ends() -> None:
    assert len(draw_erasures(np.random.default_rng(3), 50, 16, 0.0).image) == 0
    assert len(draw_erasures(np.random.default_rng(3), 50, 64, 1.0).image) == 50
