"""Two arms compared without common draws: how often a draw of one ends better than a draw of the other."""

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from dashboards.formats import percent, share
from dashboards.selection import STABILITY, Floats, select_draws
from dashboards.statistics.paired import reached_by_half

TOLD_APART = 0.05
"""A sentence says that one arm beats another where the p-value that it goes by is below this."""
_EXACT_KS = 1_000
"""Up to so many draws an arm the p-value of the Kolmogorov-Smirnov test is exact; its time grows with their product."""

_NEARLY_ONE = 0.9999


@dataclass(frozen=True, kw_only=True, slots=True)
class UnpairedComparison:
    """Arm a against arm b on draws that have nothing to do with each other; every number is about draws with a result.

    A diverged trial is worse than any finite error. Without common draws far more of them are needed to tell two arms
    apart than for a :class:`dashboards.statistics.compare.Comparison`: the luck of the draws does not cancel.

    Mann-Whitney's test says whether one arm tends to end lower, and with it who wins: its statistic is Cliff's delta.
    Its level is that of two arms with equal distributions. The Kolmogorov-Smirnov test says whether the distributions
    differ in any way: curves that cross differ, and no arm beats the other. So it decides no winner.
    """

    arm_a: str
    arm_b: str
    n_a: int
    """Draws of arm a with a result."""
    n_b: int
    n_missing_a: int
    """Draws of arm a without a result (yet), which are left out."""
    n_missing_b: int
    n_diverged_a: int
    n_diverged_b: int
    median_a: float
    """The error that half of the draws with a result reach, percent; ``inf`` where most diverged, ``nan`` without any."""
    median_b: float
    cliffs_delta: float
    """P(a ends lower) - P(b ends lower) for a draw of each, in [-1, 1]: positive where a is better; ``nan`` without
    draws."""
    cliffs_delta_interval: tuple[float, float]
    """95 % interval, see :func:`cliffs_delta_interval`."""
    mann_whitney_p: float
    """Two-sided Mann-Whitney test; 1 where all errors are equal or there are none."""
    ks_statistic: float
    """The largest difference between the two EDFs (of draws with a result), in [0, 1]; ``nan`` without draws."""
    ks_p: float
    """Two-sided Kolmogorov-Smirnov test, for itself alone: no correction for several comparisons is in it."""
    holm_p: float | None = None
    """``mann_whitney_p`` corrected for all comparisons that were made together; ``None`` if it was made alone."""

    @property
    def decision_p(self) -> float:
        """The p-value that decides: the corrected one where there is one."""
        return self.mann_whitney_p if self.holm_p is None else self.holm_p

    @property
    def superiority(self) -> float:
        """P(a ends lower) + P(equal) / 2 for a draw of each: (1 + ``cliffs_delta``) / 2."""
        return (1 + self.cliffs_delta) / 2

    @property
    def superiority_interval(self) -> tuple[float, float]:
        """95 % interval of :attr:`superiority`."""
        low, high = self.cliffs_delta_interval
        return (1 + low) / 2, (1 + high) / 2

    @property
    def winner(self) -> str | None:
        """The arm that tends to end lower, if Mann-Whitney's test tells the two apart; otherwise ``None``."""
        if not self.decision_p < TOLD_APART or self.cliffs_delta == 0:
            return None
        return self.arm_a if self.cliffs_delta > 0 else self.arm_b

    @property
    def sentence(self) -> str:
        """The verdict in one plain sentence, without a full stop."""
        if not (self.n_a and self.n_b):
            without = [arm for arm, n in ((self.arm_a, self.n_a), (self.arm_b, self.n_b)) if not n]
            return f"{self.arm_a} and {self.arm_b} cannot be compared: no draw of {' or '.join(without)} has a result"
        swap = self.cliffs_delta < 0
        better, worse = (self.arm_b, self.arm_a) if swap else (self.arm_a, self.arm_b)
        n_better, n_worse = (self.n_b, self.n_a) if swap else (self.n_a, self.n_b)
        medians = (self.median_b, self.median_a) if swap else (self.median_a, self.median_b)
        low, high = self.superiority_interval
        often, low, high = (1 - self.superiority, 1 - high, 1 - low) if swap else (self.superiority, low, high)
        numbers = f"{n_better} and {n_worse} unrelated draws"
        score = f"in {share(often)} [{share(low)}, {share(high)}] of pairings"
        if self.winner is None:
            verdict = f"{better} and {worse} are not told apart by {numbers} ({better} is better {score})"
        else:
            verdict = f"{better} beats {worse} {score} of {numbers}"
        return f"{verdict}, medians {percent(medians[0])} and {percent(medians[1])} %" + self._asides()

    def _asides(self) -> str:
        diverged = [
            f"{arm} diverged on {count}"
            for arm, count in ((self.arm_a, self.n_diverged_a), (self.arm_b, self.n_diverged_b))
            if count
        ]
        n_missing = self.n_missing_a + self.n_missing_b
        missing = [f"{n_missing} more without a result"] if n_missing else []
        asides = "; ".join(diverged + missing)
        return f" ({asides})" if asides else ""


def compare_unpaired(trials: pa.Table, arm_a: str, arm_b: str, phase: str = STABILITY) -> UnpairedComparison:
    """Compares two arms on all their draws of ``phase``, whether any are common or not.

    Where the draws are common, :func:`dashboards.statistics.compare.compare` says more.

    Raises:
        ValueError: If an arm has no non-adaptive trial in the phase, or both are the same arm.
    """
    if arm_a == arm_b:
        raise ValueError(f"An arm cannot be compared with itself; got {arm_a!r} twice.")
    first, second = select_draws(trials, arm_a, phase), select_draws(trials, arm_b, phase)
    return compare_unpaired_errors(first.errors, second.errors, labels=(arm_a, arm_b))


def compare_unpaired_errors(errors_a: Floats, errors_b: Floats, *, labels: tuple[str, str]) -> UnpairedComparison:
    """The same on arrays of any two lengths: errors in percent, ``+inf`` where diverged, ``nan`` where missing."""
    known_a, known_b = errors_a[~np.isnan(errors_a)], errors_b[~np.isnan(errors_b)]
    statistic, ks_p = kolmogorov_smirnov(known_a, known_b)
    return UnpairedComparison(
        arm_a=labels[0],
        arm_b=labels[1],
        n_a=len(known_a),
        n_b=len(known_b),
        n_missing_a=len(errors_a) - len(known_a),
        n_missing_b=len(errors_b) - len(known_b),
        n_diverged_a=int(np.isposinf(known_a).sum()),
        n_diverged_b=int(np.isposinf(known_b).sum()),
        median_a=reached_by_half(known_a),
        median_b=reached_by_half(known_b),
        cliffs_delta=cliffs_delta(known_a, known_b),
        cliffs_delta_interval=cliffs_delta_interval(known_a, known_b),
        mann_whitney_p=mann_whitney(known_a, known_b),
        ks_statistic=statistic,
        ks_p=ks_p,
    )


def cliffs_delta(errors_a: Floats, errors_b: Floats) -> float:
    """P(a < b) - P(a > b) over all pairings of an error of each, so positive where a's errors are lower.

    Source: Cliff 1993, "Dominance statistics: ordinal analyses to answer ordinal questions", Psychological Bulletin
        114(3); his sign is the opposite where lower is better.
    """
    if not (len(errors_a) and len(errors_b)):
        return math.nan
    return 2 * float(_placements(errors_a, errors_b).mean()) - 1


def cliffs_delta_interval(errors_a: Floats, errors_b: Floats, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of Cliff's delta: Wilson's interval of theta = (delta + 1) / 2 at an effective number of pairings.

    theta is the mean over the a of the share of b above (ties half), and the same with the roles exchanged; the
    variances of these placements over n_a and n_b add to DeLong's variance v of theta. Wilson's interval is taken at
    n = theta (1 - theta) / v pairings, but no more than

        m + (3 n_a n_b / (n_a + n_b + 1) - m) 4 theta (1 - theta), where m = min(n_a, n_b):

    at theta = 1/2 that is n for two equal continuous distributions, at 0 and 1 it is n for the largest variance that
    there is, because near there v is far too small to be believed. So the interval never leaves [-1, 1] nor shrinks to
    a point. With a single draw in an arm v is unknown and n is 1. Infinite errors are values like others, tied with
    each other.

    Level measured at 95 % (2,000 samples each, 5 to 64 draws an arm): 95 to 99 % for normal errors equal or shifted,
    with ties and with up to 90 % of the draws diverged; 93 % at worst, where one arm's errors lie on both sides of all
    the other's.

    Returns:
        Low and high end; (-1, 1) without draws.

    Source: own, of DeLong, DeLong and Clarke-Pearson 1988, "Comparing the areas under two or more correlated receiver
        operating characteristic curves", Biometrics 44(3), and Wilson 1927.
    """
    n_a, n_b = len(errors_a), len(errors_b)
    if not (n_a and n_b):
        return -1.0, 1.0
    placed_a, placed_b = _placements(errors_a, errors_b), 1 - _placements(errors_b, errors_a)
    theta, pairings = float(placed_a.mean()), 1.0
    if min(n_a, n_b) > 1:
        fewest, equal = min(n_a, n_b), 3 * n_a * n_b / (n_a + n_b + 1)
        pairings = fewest + (equal - fewest) * 4 * theta * (1 - theta)
        variance = float(placed_a.var(ddof=1) / n_a + placed_b.var(ddof=1) / n_b)
        if theta * (1 - theta) < variance * pairings:
            pairings = theta * (1 - theta) / variance
    low, high = _wilson(theta, pairings, confidence)
    return 2 * low - 1, 2 * high - 1


def mann_whitney(errors_a: Floats, errors_b: Floats) -> float:
    """Two-sided p-value of the Mann-Whitney test; 1 where all errors are equal or there are none.

    Ties and infinite errors are allowed.
    Exact for up to 8 draws an arm without ties, otherwise by the normal approximation with a correction for ties.
    """
    if not (len(errors_a) and len(errors_b)) or np.unique(np.concatenate([errors_a, errors_b])).size == 1:
        return 1.0
    from scipy.stats import mannwhitneyu

    return float(mannwhitneyu(*_ranks(errors_a, errors_b)).pvalue)


def kolmogorov_smirnov(errors_a: Floats, errors_b: Floats) -> tuple[float, float]:
    """The largest difference of the two EDFs and its two-sided p-value; (``nan``, 1) without draws.

    Exact for up to 1,000 draws an arm, otherwise the limit. With ties (diverged draws) it is an upper bound of the
    exact p-value.

    Source: Smirnov 1939.
    """
    if not (len(errors_a) and len(errors_b)):
        return math.nan, 1.0
    from scipy.special import kolmogorov
    from scipy.stats import ks_2samp

    n_a, n_b = len(errors_a), len(errors_b)
    at = np.concatenate([errors_a, errors_b])
    counts_a, counts_b = (np.searchsorted(np.sort(errors), at, side="right") for errors in (errors_a, errors_b))
    statistic = int(np.abs(counts_a * n_b - counts_b * n_a).max()) / (n_a * n_b)
    limit = float(kolmogorov(statistic * math.sqrt(n_a * n_b / (n_a + n_b))))
    if statistic * max(n_a, n_b) <= 1:
        return statistic, 1.0
    # Where the exact value rounds to 1 scipy finds 1 + 2e-16 at times, warns of it and takes the limit.
    if limit > _NEARLY_ONE:
        return statistic, limit
    method = "exact" if max(n_a, n_b) <= _EXACT_KS else "asymp"
    return statistic, float(ks_2samp(*_ranks(errors_a, errors_b), method=method).pvalue)


def _placements(errors: Floats, others: Floats) -> Floats:
    """For each of ``errors`` the share of ``others`` above it, ties half."""
    ordered = np.sort(others)
    below, up_to = (np.searchsorted(ordered, errors, side=side) for side in ("left", "right"))
    return 1 - (below + up_to) / (2 * len(others))


def _ranks(errors_a: Floats, errors_b: Floats) -> tuple[Floats, Floats]:
    """Both arms' errors as ranks, equal where they are: scipy need not compute with infinities."""
    _, ranks = np.unique(np.concatenate([errors_a, errors_b]), return_inverse=True)
    values = ranks.astype(np.float64)
    return values[: len(errors_a)], values[len(errors_a) :]


def _wilson(proportion: float, n: float, confidence: float) -> tuple[float, float]:
    from scipy.special import ndtri

    z = float(ndtri((1 + confidence) / 2))
    centre = (proportion + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(proportion * (1 - proportion) / n + z * z / (4 * n * n))
    return max(centre - half, 0.0), min(centre + half, 1.0)
