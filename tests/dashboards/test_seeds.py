"""The spread over seeds, against scipy and numbers worked out by hand."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dashboards.statistics.lengths import over_seeds
from dashboards.statistics.seeds import NO_GAP, seed_gap, seed_spread, t_interval, welch_interval

ERRORS = st.lists(st.floats(0, 100).map(lambda value: round(value, 3)), min_size=2, max_size=8)


def array(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def test_spread_by_hand() -> None:
    spread = seed_spread(array(20, 22, math.inf, 24, math.nan))
    assert (spread.n, spread.completed, spread.diverged, spread.missing) == (5, 3, 1, 1)
    assert (spread.mean, spread.lowest, spread.highest, spread.std) == (22.0, 20.0, 24.0, 2.0)
    assert spread.std_error == pytest.approx(2 / math.sqrt(3))
    # The 97.5 % quantile of t with 2 degrees of freedom is 4.30265.
    assert spread.low == pytest.approx(22 - 4.30265 * 2 / math.sqrt(3), abs=1e-4)
    assert spread.high == pytest.approx(22 + 4.30265 * 2 / math.sqrt(3), abs=1e-4)


@pytest.mark.parametrize("errors", [[], [math.nan], [math.inf, math.nan]])
def test_nothing_completed(errors: list[float]) -> None:
    spread = seed_spread(array(*errors))
    assert (spread.n, spread.completed) == (len(errors), 0)
    numbers = (spread.mean, spread.lowest, spread.highest, spread.std, spread.std_error, spread.low, spread.high)
    assert set(numbers) == {None}


def test_one_seed_has_a_mean_and_no_spread() -> None:
    spread = seed_spread(array(20, math.inf))
    assert (spread.mean, spread.std, spread.std_error, spread.low, spread.high) == (20.0, None, None, None, None)


def test_equal_seeds_say_nothing_about_the_spread() -> None:
    spread = seed_spread(array(0.1, 0.1, 0.1))
    assert spread.std_error == pytest.approx(0.0, abs=1e-12)
    assert (spread.low, spread.high) == (None, None)
    assert welch_interval(array(1, 1), array(2, 2)) == (None, None)


@given(ERRORS, st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_t_interval_is_scipys(values: list[float], confidence: float) -> None:
    errors = array(*values)
    low, high = t_interval(errors, confidence)
    if len(set(values)) == 1:
        assert (low, high) == (None, None)
        return
    expected = stats.ttest_1samp(errors, 0.0).confidence_interval(confidence)
    assert [low, high] == pytest.approx([expected.low, expected.high], abs=1e-6)


# Scipy warns where one side has no spread.
@pytest.mark.filterwarnings("ignore:Precision loss")
@given(ERRORS, ERRORS)
def test_welch_interval_is_scipys(a: list[float], b: list[float]) -> None:
    low, high = welch_interval(array(*a), array(*b))
    if len(set(a)) == len(set(b)) == 1:
        assert (low, high) == (None, None)
        return
    expected = stats.ttest_ind(array(*b), array(*a), equal_var=False).confidence_interval(0.95)
    assert [low, high] == pytest.approx([expected.low, expected.high], abs=1e-6)


def gap(a: Sequence[float], b: Sequence[float], seeds_a: Sequence[float], seeds_b: Sequence[float]) -> tuple[Any, ...]:
    found = seed_gap(array(*a), array(*b), array(*seeds_a), array(*seeds_b))
    return found.gap, found.low, found.high, found.paired


def test_the_same_seeds_are_paired_in_any_order() -> None:
    # Seed by seed the differences are 9, 10 and 11: mean 10, standard deviation 1.
    half = 4.30265 / math.sqrt(3)
    expected = (10.0, pytest.approx(10 - half, abs=1e-4), pytest.approx(10 + half, abs=1e-4), True)
    assert gap([1, 5, 9], [10, 15, 20], [7, 8, 9], [7, 8, 9]) == expected
    assert gap([9, 1, 5], [15, 10, 20], [9, 7, 8], [8, 7, 9]) == expected


@pytest.mark.parametrize(
    ("seeds_a", "seeds_b"),
    [([1, 2, 3], [2, 3, 4]), ([1, 1, 2], [1, 1, 2]), ([math.nan] * 3, [math.nan] * 3)],
    ids=["others", "one seed twice", "unknown"],
)
def test_other_seeds_are_independent(seeds_a: list[float], seeds_b: list[float]) -> None:
    a, b = [1.0, 5.0, 9.0], [10.0, 15.0, 20.0]
    expected = stats.ttest_ind(b, a, equal_var=False).confidence_interval(0.95)
    found = gap(a, b, seeds_a, seeds_b)
    assert found == (10.0, pytest.approx(expected.low), pytest.approx(expected.high), False)


def test_one_seed_each_gives_a_gap_without_an_interval() -> None:
    assert gap([10], [12], [1], [1]) == (2.0, None, None, True)
    assert gap([10], [12, 14], [1], [1, 2]) == (3.0, None, None, False)


@pytest.mark.parametrize("b", [[], [12, math.inf], [12, math.nan]])
def test_a_gap_needs_every_seed(b: list[float]) -> None:
    seeds = array(*range(len(b)))
    assert seed_gap(array(10, 11), array(*b), array(0, 1), seeds) == NO_GAP
    assert seed_gap(array(*b), array(10, 11), seeds, array(0, 1)) == NO_GAP


def test_paired_intervals_cover_as_often_as_they_say() -> None:
    generator = np.random.default_rng(3)
    seeds = np.arange(3.0)
    hits = 0
    for _ in range(2_000):
        common = generator.normal(0, 1, 3)
        a, b = 20 + common + generator.normal(0, 0.3, 3), 25 + common + generator.normal(0, 0.3, 3)
        found = seed_gap(a, b, seeds, seeds)
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= 5 <= found.high
    # Three standard deviations of a binomial share around 95 %.
    assert abs(hits / 2_000 - 0.95) < 3 * math.sqrt(0.95 * 0.05 / 2_000)


def test_over_seeds_has_the_spread() -> None:
    rows = [{"status": "completed", "error": error} for error in (20.0, 22.0)]
    found = over_seeds([*rows, {"status": "diverged", "error": None}, {"status": "lost", "error": None}])
    assert {name: found[name] for name in ("n", "completed", "diverged", "missing", "mean_error", "std_error")} == {
        "n": 4,
        "completed": 2,
        "diverged": 1,
        "missing": 1,
        "mean_error": 21.0,
        "std_error": pytest.approx(1.0),
    }
    # The 97.5 % quantile of t with one degree of freedom is 12.7062.
    assert (found["ci_low"], found["ci_high"]) == (
        pytest.approx(21 - 12.7062, abs=1e-4),
        pytest.approx(33.7062, abs=1e-4),
    )
