from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from trainables import Reading, batch_order
from trainables.data.order import crop_key, share, windowed_order

SIZES = st.lists(st.integers(0, 40), min_size=1, max_size=30).filter(sum)


@given(sizes=SIZES, window=st.integers(1, 200), seed=st.integers(0, 9), epoch=st.integers(1, 9))
def test_windows_hold_whole_groups_and_enough_rows(sizes: list[int], window: int, seed: int, epoch: int) -> None:
    order = windowed_order(np.array(sizes), window, study_seed=seed, epoch=epoch)
    assert sorted(order.rows.tolist()) == list(range(sum(sizes)))
    assert order.ends[-1] == sum(sizes)
    groups = np.repeat(np.arange(len(sizes)), sizes)
    parts = np.split(order.rows, order.ends[:-1])
    assert all(len(part) >= min(window, sum(sizes)) for part in parts)
    assert max(map(len, parts)) < 2 * window + max(sizes)
    for part in parts:
        for group in np.unique(groups[part]):
            assert (groups[part] == group).sum() == sizes[group]


def test_windows_are_a_function_of_seed_and_epoch() -> None:
    sizes = np.full(50, 20)
    first = windowed_order(sizes, 100, study_seed=3, epoch=2).rows
    assert np.array_equal(first, windowed_order(sizes, 100, study_seed=3, epoch=2).rows)
    others = [windowed_order(sizes, 100, study_seed=s, epoch=e).rows for s, e in ((2, 3), (3, 1), (4, 2))]
    assert not any(np.array_equal(first, other) for other in others)


def test_windows_mix_rows_that_lie_far_apart() -> None:
    rows = windowed_order(np.full(200, 50), 2000, study_seed=0, epoch=1).rows
    # 5 / sqrt(10000) = 0.05: five standard errors of a correlation of unrelated numbers. Whole groups in a window make
    # the place of a row depend on its group, so within-window places are compared, window by window.
    within = [stats.spearmanr(np.arange(2000), part).statistic for part in rows.reshape(5, 2000)]
    assert np.abs(within).max() < 5 / np.sqrt(2000)
    # A batch of 100 meets about 100 * (1 - ...) of the window's 40 groups; 30 is far below that, unshuffled gives 2.
    assert min(len(np.unique(batch // 50)) for batch in rows.reshape(-1, 100)) > 30


def test_one_window_over_everything_is_uniform() -> None:
    places = np.array(
        [np.flatnonzero(windowed_order(np.full(10, 5), 50, study_seed=s, epoch=1).rows == 0)[0] for s in range(500)]
    )
    assert stats.chisquare(np.bincount(places // 5, minlength=10)).pvalue > 1e-4


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="study seed: got -1"):
        windowed_order(np.array([5]), 5, study_seed=-1, epoch=1)


@given(
    samples=st.integers(1, 200),
    per_rank=st.integers(1, 9),
    world=st.integers(1, 5),
    first=st.integers(0, 12),
)
def test_the_ranks_share_what_is_left_and_each_place_once(samples: int, per_rank: int, world: int, first: int) -> None:
    batch = per_rank * world
    parts = [
        share(Reading(batch_size=batch, rank=rank, world=world, first_step=first), samples) for rank in range(world)
    ]
    whole, sizes = share(Reading(batch_size=batch, first_step=first), samples)
    assert whole.tolist() == list(range(first * batch, samples))
    start = [0] * world
    for step, size in enumerate(sizes.tolist()):
        joined: list[int] = []
        for rank, (places, counts) in enumerate(parts):
            joined += places[start[rank] : start[rank] + counts[step]].tolist()
            start[rank] += counts[step]
        assert joined == list(range((first + step) * batch, (first + step) * batch + size))
    assert start == [len(places) for places, _ in parts]


def test_a_batch_that_the_ranks_cannot_share_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size: got 10 for 4 ranks, expected a positive multiple of 4"):
        share(Reading(batch_size=10, world=4), 100)
    with pytest.raises(ValueError, match="rank: got 4, expected 0 to 3"):
        share(Reading(batch_size=8, world=4, rank=4), 100)


def test_crop_keys_differ_between_epochs_and_seeds() -> None:
    keys = [crop_key(seed, epoch) for seed in range(5) for epoch in range(1, 6)]
    assert len(set(keys)) == 25
    assert keys[0] == crop_key(0, 1)


def test_random_access_order_is_a_full_permutation() -> None:
    order = batch_order(1000, 10, study_seed=1, epoch=1).flatten().tolist()
    assert sorted(order) == list(range(1000))
    assert abs(stats.spearmanr(range(1000), order).statistic) < 5 / np.sqrt(1000)
    assert sum(b - a == 1 for a, b in pairwise(order)) < 10
