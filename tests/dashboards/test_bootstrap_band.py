"""The closed-form bootstrap of an EDF against resampling, its level summed exactly, and bounds for missing trials."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from dashboards.statistics.bootstrap import pointwise_band
from dashboards.statistics.edf import empirical_distribution

errors_of_trials = st.lists(st.integers(0, 400).map(lambda quarter: quarter / 4), min_size=1, max_size=30)


def test_equals_resampling() -> None:
    generator = np.random.default_rng(2)
    values = np.concatenate([generator.normal(30.0, 5.0, 57), np.full(7, np.inf)])
    at = np.array([22.0, 27.0, 30.0, 36.0, 1e9])
    resampled = values[generator.integers(64, size=(50_000, 64))]
    shares = np.mean(resampled[:, :, None] <= at, axis=1)
    low, high = pointwise_band(empirical_distribution(values[:57], diverged=7), at)
    # One of 64 is the smallest step that a resampled share can take.
    np.testing.assert_allclose(low, np.quantile(shares, 0.025, axis=0, method="inverted_cdf"), atol=1 / 64 + 1e-12)
    np.testing.assert_allclose(high, np.quantile(shares, 0.975, axis=0, method="inverted_cdf"), atol=1 / 64 + 1e-12)


def test_numbers_worked_out_by_hand() -> None:
    # 2 of 4: Binomial(4, 1/2) is 0 or less in 1 of 16 resamples, so 2.5 % falls on 0 and 97.5 % on 4.
    edf = empirical_distribution([1.0, 2.0, 3.0], diverged=1)
    low, high = pointwise_band(edf, [0.5, 2.0, math.inf])
    assert low.tolist() == [0.0, 0.0, binom.ppf(0.025, 4, 0.75) / 4]
    assert high.tolist() == [0.0, 1.0, 1.0]
    low, high = pointwise_band(edf, 2.0, confidence=0.5)
    assert (low.tolist(), high.tolist()) == ([0.25], [0.75])


@given(errors_of_trials, st.integers(0, 4), st.lists(st.one_of(st.floats(0, 100), st.just(math.inf)), max_size=6))
def test_bounds_hold_every_completion(errors: list[float], diverged: int, unknown: list[float]) -> None:
    finite = [value for value in unknown if math.isfinite(value)]
    completed = empirical_distribution([*errors, *finite], diverged=diverged + len(unknown) - len(finite))
    edf = empirical_distribution(errors, diverged=diverged, missing=len(unknown))
    at = [*errors, 0.1, 99.9]
    low, high = pointwise_band(edf, at)
    inner_low, inner_high = pointwise_band(completed, at)
    assert (low <= inner_low).all()
    assert (inner_high <= high).all()
    truth = np.array([completed(error) for error in at])
    assert ((inner_low <= truth) & (truth <= inner_high)).all()


@given(errors_of_trials, st.integers(0, 4))
def test_does_not_fall_and_does_not_depend_on_the_scale(errors: list[float], diverged: int) -> None:
    edf = empirical_distribution(errors, diverged=diverged)
    low, high = pointwise_band(edf, edf.x)
    assert (np.diff(low) >= 0).all()
    assert (np.diff(high) >= 0).all()
    stretched = empirical_distribution(np.exp(np.array(errors) / 20), diverged=diverged)
    np.testing.assert_array_equal(pointwise_band(stretched, stretched.x)[0], low)


def test_level_at_one_point() -> None:
    n, ends = 64, {}
    for count in range(n + 1):
        edf = empirical_distribution(np.repeat([1.0, 9.0], [count, n - count]))
        low, high = pointwise_band(edf, [5.0])
        ends[count] = (low[0], high[0])

    def level(share: float) -> float:
        return sum(float(binom.pmf(k, n, share)) for k, (low, high) in ends.items() if low <= share <= high)

    assert min(level(share) for share in (0.1, 0.2, 0.3, 0.5, 0.7, 0.9)) >= 0.935
    # The known weakness of the bootstrap near 0, which the docstring gives.
    assert level(0.05) == pytest.approx(0.83, abs=0.01)
    assert level(0.01) == pytest.approx(0.47, abs=0.01)


def test_without_a_result_everything_is_possible() -> None:
    low, high = pointwise_band(empirical_distribution([], missing=3), [10.0])
    assert (low.tolist(), high.tolist()) == ([0.0], [1.0])


def test_bad_input_is_named() -> None:
    edf = empirical_distribution([1.0])
    with pytest.raises(ValueError, match="confidence: got 0"):
        pointwise_band(edf, [1.0], confidence=0)
    with pytest.raises(ValueError, match="at: got nan"):
        pointwise_band(edf, [math.nan])
