"""Statistics of paired gaps, which may be infinite: median, bootstrap interval, tests. Pure functions on arrays."""

import math

import numpy as np

from dashboards.selection import Floats

NUM_RESAMPLES = 5_000


def paired_gaps(errors_a: Floats, errors_b: Floats) -> Floats:
    """``errors_b - errors_a`` in points: ``+-inf`` where one side diverged, 0 where both did."""
    both_diverged = np.isposinf(errors_a) & np.isposinf(errors_b)
    return np.where(both_diverged, 0.0, errors_b) - np.where(both_diverged, 0.0, errors_a)


def median(values: Floats) -> float:
    """Midpoint of the two middle values; 0 where these are -inf and +inf, ``nan`` of nothing."""
    return float(_medians(values.reshape(1, -1))[0]) if len(values) else math.nan


def median_interval(
    values: Floats, generator: np.random.Generator, confidence: float = 0.95, resamples: int = NUM_RESAMPLES
) -> tuple[float, float]:
    """Percentile bootstrap interval of :func:`median`; works with infinite values. ``(nan, nan)`` of nothing.

    Source: Efron 1979 (percentile method). The ends are order statistics of the resampled medians, not interpolated,
        so that values may be infinite and the interval of ``-values`` is the mirror image but for chance.
    """
    n = len(values)
    if n == 0:
        return math.nan, math.nan
    # In slices: 5,000 resamples of 10,000 pairs at once would take 800 MB.
    step = max(1, 2_000_000 // n)
    sizes = [min(step, resamples - start) for start in range(0, resamples, step)]
    medians = np.sort(np.concatenate([_medians(values[generator.integers(n, size=(size, n))]) for size in sizes]))
    tail = int((1 - confidence) / 2 * (resamples - 1))
    return float(medians[tail]), float(medians[resamples - 1 - tail])


def _medians(rows: Floats) -> Floats:
    n = rows.shape[1]
    ordered = np.partition(rows, [(n - 1) // 2, n // 2], axis=1)
    low, high = ordered[:, (n - 1) // 2], ordered[:, n // 2]
    opposite = np.isneginf(low) & np.isposinf(high)
    return np.where(opposite, 0.0, (np.where(opposite, 0.0, low) + np.where(opposite, 0.0, high)) / 2)


def clopper_pearson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact interval of a share (Clopper and Pearson 1934); ``(0, 1)`` where ``n`` is 0."""
    if n == 0:
        return 0.0, 1.0
    from scipy.stats import binomtest

    interval = binomtest(successes, n).proportion_ci(confidence, method="exact")
    return float(interval.low), float(interval.high)


def sign_test(wins_a: int, wins_b: int) -> float:
    """Two-sided p-value of ``wins_a`` among ``wins_a + wins_b`` fair coin tosses; 1 without any."""
    if wins_a + wins_b == 0:
        return 1.0
    from scipy.stats import binomtest

    return float(binomtest(wins_a, wins_a + wins_b).pvalue)


def wilcoxon_test(gaps: Floats) -> float:
    """Two-sided p-value of the Wilcoxon signed-rank test, zero gaps left out; 1 where all are zero."""
    gaps = gaps[gaps != 0]
    if len(gaps) == 0:
        return 1.0
    from scipy.stats import wilcoxon

    # Only ranks matter: a finite stand-in above all finite gaps keeps scipy from computing with infinities.
    beyond = 1.0 + max(np.abs(gaps[np.isfinite(gaps)]), default=0.0)
    return float(wilcoxon(np.where(np.isinf(gaps), np.sign(gaps) * beyond, gaps)).pvalue)
