"""Ranks and their intervals: coverage by simulation, the honest cases by hand."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.statistics.ranks import RankRange, best_of_new_draws, best_ranks, mean_ranks

OUTCOME = st.one_of(st.floats(0, 100).map(round).map(float), st.sampled_from([math.inf, math.nan]))
ARMS = st.lists(st.lists(OUTCOME, min_size=1, max_size=5), min_size=1, max_size=6)


def arrays(arms: Sequence[Sequence[float]]) -> list[np.ndarray]:
    return [np.array(arm, dtype=np.float64) for arm in arms]


def triples(ranges: Sequence[RankRange]) -> list[tuple[int | None, int | None, int | None]]:
    return [(found.rank, found.low, found.high) for found in ranges]


def of_means(*arms: Sequence[float]) -> list[tuple[int | None, int | None, int | None]]:
    return triples(mean_ranks(arrays(arms)))


def of_bests(arms: Sequence[Sequence[float]], *, seed: int = 0) -> list[tuple[int | None, int | None, int | None]]:
    draws = [np.arange(len(arm)) for arm in arms]
    return triples(best_ranks(arrays(arms), draws, np.random.default_rng(seed)))


def test_arms_far_apart_have_certain_ranks() -> None:
    assert of_means([30.0, 30.1, 30.2], [10.0, 10.1, 10.2], [20.0, 20.1, 20.2]) == [(3, 3, 3), (1, 1, 1), (2, 2, 2)]


def test_two_arms_by_hand() -> None:
    # Means 20 and 24, standard error of the difference sqrt(1/3 + 1/3): t is 4.899. With 2 degrees of freedom P(t > 4.899) is
    # 0.0196, below 0.05 / 2 for the smaller of two p-values.
    assert of_means([19, 20, 21], [23, 24, 25]) == [(1, 1, 1), (2, 2, 2)]
    # 0.0334 of t = 3.674 on 2 degrees is too much.
    assert of_means([19, 20, 21], [22, 23, 24]) == [(1, 1, 2), (2, 1, 2)]


def test_one_seed_separates_nothing() -> None:
    assert of_means([5.0], [50.0], [90.0]) == [(1, 1, 3), (2, 1, 3), (3, 1, 3)]
    assert of_means([5.0], [50.0, 50.1, 50.2], [90.0, 90.1, 90.2]) == [(1, 1, 3), (2, 1, 2), (3, 2, 3)]


def test_seeds_that_ended_alike_separate_nothing() -> None:
    assert of_means([0.1, 0.1, 0.1], [0.2, 0.2, 0.2]) == [(1, 1, 2), (2, 1, 2)]


def test_equal_means_share_a_rank() -> None:
    assert [rank for rank, _, _ in of_means([20, 22], [21, 21], [30, 31])] == [1, 1, 3]


def test_a_diverged_seed_is_never_surely_better() -> None:
    low, high = [10.0, 10.1, 10.2], [50.0, 50.1, 50.2]
    assert of_means([*low, math.inf], high) == [(1, 1, 2), (2, 1, 2)]
    assert of_means(low, [*high, math.inf]) == [(1, 1, 1), (2, 2, 2)]


def test_a_missing_seed_makes_the_rank_unknown() -> None:
    low, high = [10.0, 10.1, 10.2], [50.0, 50.1, 50.2]
    for arms in ([[*low, math.nan], high], [low, [*high, math.nan]]):
        assert of_means(*arms) == [(1, 1, 2), (2, 1, 2)]


def test_arms_without_a_completed_seed_have_no_rank() -> None:
    assert of_means([math.inf, math.inf], [10, 11], [math.nan]) == [(None,) * 3, (1, 1, 1), (None,) * 3]
    assert of_means([math.inf], []) == [(None,) * 3] * 2
    assert mean_ranks([]) == []


@given(ARMS)
def test_properties_of_mean_ranks(arms: list[list[float]]) -> None:
    ranges = mean_ranks(arrays(arms))
    ranked = [found for found in ranges if found.rank is not None]
    for found, arm in zip(ranges, arms, strict=True):
        assert (found.rank is None) == (not np.isfinite(arm).any())
    for found in ranked:
        assert found.rank is not None
        assert found.low is not None
        assert found.high is not None
        assert 1 <= found.low <= found.rank <= found.high <= len(ranked)
    assert mean_ranks(arrays(arms[::-1])) == ranges[::-1]


@pytest.mark.parametrize("seeds", [2, 3, 10])
@pytest.mark.parametrize(
    ("means", "deviations"),
    [
        ([20.0] * 5, [1.0] * 5),
        ([20.0] * 5, [0.1, 0.2, 0.5, 2.0, 5.0]),
        ([20.0, 20.0, 20.2, 22.0, 26.0], [0.15] * 5),
    ],
    ids=["all equal", "unequal spreads", "some apart"],
)
def test_rank_intervals_cover(seeds: int, means: list[float], deviations: list[float]) -> None:
    generator = np.random.default_rng(5)
    # Equal means have all the ranks between them.
    first = np.array([1 + sum(other < mean for other in means) for mean in means])
    last = np.array([sum(other <= mean for other in means) for mean in means])
    hits = np.zeros(len(means))
    repeats = 400
    for _ in range(repeats):
        found = mean_ranks([generator.normal(mean, sd, seeds) for mean, sd in zip(means, deviations, strict=True)])
        hits += [each.low <= a and each.high >= b for each, a, b in zip(found, first, last, strict=True)]
    assert hits.min() / repeats >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / repeats)


def test_ranks_by_one_lucky_draw_are_uncertain() -> None:
    # Draw 0 alone puts the first arm ahead; without it (a chance of 1/e) the second one is.
    lucky = [1.0] + [50.0] * 99
    steady = [2.0] * 100
    assert of_bests([lucky, steady]) == [(1, 1, 2), (2, 1, 2)]
    # Ahead on every draw, and so in every resample.
    assert of_bests([[1.0] * 100, [2.0] * 100]) == [(1, 1, 1), (2, 2, 2)]


def test_resamples_take_the_same_draws_in_every_arm() -> None:
    # Each draw of the second arm is worse than the same draw of the first by a hair: no common resample turns them round.
    errors = np.random.default_rng(1).uniform(10, 90, 40)
    assert of_bests([list(errors), list(errors + 0.01)]) == [(1, 1, 1), (2, 2, 2)]


def test_resampled_bests_are_those_of_the_bootstrap() -> None:
    # P(the best draw of n is not in the resample) = (1 - 1/n)^n; the rank is then 2.
    errors = [1.0, *np.linspace(10, 90, 19)]
    found = {
        confidence: best_ranks(
            arrays([errors, [5.0] * 20]),
            [np.arange(20)] * 2,
            np.random.default_rng(2),
            confidence=confidence,
            resamples=4_000,
        )[0].high
        for confidence in (1 - 2 * 0.34, 1 - 2 * 0.38)
    }
    # It is 0.358 of the resamples: within the range while 34 % of them are cut off above, outside with 38 %.
    assert list(found.values()) == [2, 1]


def test_bests_of_few_or_no_draws() -> None:
    # Three of ten resamples of three draws miss a given one, and then the second arm is ahead.
    assert of_bests([[5.0], [9.0, 10.0, 11.0]]) == [(1, 1, 2), (2, 1, 2)]
    assert of_bests([[math.inf], [9.0, math.nan, 11.0]]) == [(None,) * 3, (1, 1, 1)]
    assert of_bests([[math.inf], [math.nan]]) == [(None,) * 3] * 2
    assert of_bests([]) == []


@given(ARMS)
def test_properties_of_best_ranks(arms: list[list[float]]) -> None:
    ranges = of_bests(arms)
    ranked = [found for found in ranges if found[0] is not None]
    bests = [min((error for error in arm if math.isfinite(error)), default=None) for arm in arms]
    for (rank, low, high), best in zip(ranges, bests, strict=True):
        assert (rank is None) == (best is None)
        if rank is not None and low is not None and high is not None and best is not None:
            assert 1 <= low <= rank <= high <= len(ranked)
            assert rank == 1 + sum(other is not None and other < best for other in bests)
    assert of_bests(arms) == ranges


def test_the_bound_of_new_draws_by_hand() -> None:
    # 3 old and 3 new: all old ones are lower than all new ones with probability 3/6 * 2/5 * 1/4 = 0.05.
    assert best_of_new_draws(np.array([30.0, 10.0, 20.0])) == 30.0
    assert best_of_new_draws(np.array([30.0, 10.0, math.inf])) == math.inf
    assert best_of_new_draws(np.array([10.0, 20.0])) is None
    assert best_of_new_draws(np.array([])) is None
    # 64: products 1/2, 1/2 * 63/127 = 0.248, 0.122, 0.060, 0.029: the fifth is the first below 0.05.
    assert best_of_new_draws(np.arange(64.0)) == 4.0
    # Missing ones may have been anything; counted as bad they leave the bound valid.
    assert best_of_new_draws(np.array([*np.arange(32.0), *[math.nan] * 32])) == 4.0


@pytest.mark.parametrize("n", [3, 20, 200])
def test_the_best_of_new_draws_stays_below_the_bound(n: int) -> None:
    generator = np.random.default_rng(9)
    repeats = 2_000
    hits = 0
    for _ in range(repeats):
        bound = best_of_new_draws(generator.standard_cauchy(n))
        assert bound is not None
        hits += generator.standard_cauchy(n).min() <= bound
    assert hits / repeats >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / repeats)
