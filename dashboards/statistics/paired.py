"""Statistics of paired gaps, which may be infinite: median, bootstrap interval, tests. Pure functions on arrays."""

import math

import numpy as np
import numpy.typing as npt

from dashboards.selection import Floats

Places = npt.NDArray[np.intp]

NUM_RESAMPLES = 5_000


def paired_gaps(errors_a: Floats, errors_b: Floats) -> Floats:
    """``errors_b - errors_a`` in points: ``+-inf`` where one side diverged, 0 where both did."""
    both_diverged = np.isposinf(errors_a) & np.isposinf(errors_b)
    return np.where(both_diverged, 0.0, errors_b) - np.where(both_diverged, 0.0, errors_a)


def median(values: Floats) -> float:
    """Midpoint of the two middle values; 0 where these are -inf and +inf, ``nan`` of nothing."""
    n = len(values)
    if n == 0:
        return math.nan
    ordered = np.partition(values, [(n - 1) // 2, n // 2])
    return float(_midpoints(ordered[[(n - 1) // 2]], ordered[[n // 2]])[0])


def reached_by_half(errors: Floats) -> float:
    """The lowest of the errors that at least half of them do not exceed; ``inf`` where that is a diverged draw, ``nan`` of nothing.

    The median of an EDF: an error that some draw had, so that the tables of a report agree.

    Args:
        errors: Percent, shape (n,); diverged ones ``inf``, none ``nan``.

    Returns:
        Percent.

    Source: Hyndman and Fan 1996, type 1.
    """
    place = (len(errors) - 1) // 2
    return float(np.partition(errors, place)[place]) if len(errors) else math.nan


def median_interval(
    values: Floats, generator: np.random.Generator, confidence: float = 0.95, resamples: int = NUM_RESAMPLES
) -> tuple[float, float]:
    """Percentile bootstrap interval of :func:`median`; works with infinite values. ``(nan, nan)`` of nothing.

    No resample is drawn in full: a resample's median depends on its middle order statistics alone. Drawing n values
    with replacement is evaluating the sorted values at floor(n U) for n independent uniform U, which is monotone in U,
    so the resample's k-th order statistic is the sorted values at floor(n U_(k)), and U_(k) ~ Beta(k, n - k + 1). For
    even n the next one up, given U_(k) = u, is the lowest of n - k uniforms on (u, 1): u + (1 - u) Beta(1, n - k). This
    is the distribution of plain resampling, exactly, at a cost that does not grow with n but for one sort.

    Every second resample mirrors the one before (U to 1 - U, which has the same distribution), so that the interval of
    ``-values`` is the mirror image for the same state of the generator. ``resamples`` is rounded up to an even number.

    Source: Efron 1979 (percentile method). The ends are order statistics of the resampled medians, not interpolated,
        so that values may be infinite. The short cut is our own.
    """
    n = len(values)
    if n == 0:
        return math.nan, math.nan
    low, high = _middle_places(n, generator, (resamples + 1) // 2)
    low, high = np.concatenate([low, n - 1 - high]), np.concatenate([high, n - 1 - low])
    ordered = np.sort(values)
    medians = np.sort(_midpoints(ordered[low], ordered[high]))
    tail = int((1 - confidence) / 2 * (len(medians) - 1))
    return float(medians[tail]), float(medians[len(medians) - 1 - tail])


def _middle_places(n: int, generator: np.random.Generator, resamples: int) -> tuple[Places, Places]:
    """Places among n sorted values that the two middle values of resamples have; for odd n they are the same."""
    k = (n + 1) // 2
    first = generator.beta(k, n - k + 1, resamples)
    second = first if n % 2 else first + (1 - first) * generator.beta(1, n - k, resamples)
    # A float just below 1 may round to it.
    low, high = (np.minimum((n * uniform).astype(np.intp), n - 1) for uniform in (first, second))
    return low, high


def _midpoints(low: Floats, high: Floats) -> Floats:
    opposite = np.isneginf(low) & np.isposinf(high)
    return np.where(opposite, 0.0, (np.where(opposite, 0.0, low) + np.where(opposite, 0.0, high)) / 2)


def clopper_pearson(successes: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact interval of a share (Clopper and Pearson 1934); ``(0, 1)`` where ``n`` is 0.

    The ends are quantiles of Beta(s, n - s + 1) and Beta(s + 1, n - s), which also takes a number of successes that is
    not whole (a tie as half a success); what the interval is then worth is said where that is used.
    """
    if n == 0:
        return 0.0, 1.0
    from scipy.special import betaincinv

    tail = (1 - confidence) / 2
    low = betaincinv(successes, n - successes + 1, tail) if successes > 0 else 0.0
    high = betaincinv(successes + 1, n - successes, 1 - tail) if successes < n else 1.0
    return float(low), float(high)


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
