"""The empirical distribution function (EDF) of an arm's errors, with bounds for missing trials and a band."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dashboards.selection import STABILITY, Floats, select_draws

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_SAMPLER_NAMES = {"sobol": "Sobol", "halton": "Halton"}


@dataclass(frozen=True, kw_only=True, slots=True)
class EdfOutline:
    """An EDF as step functions over a range, ready to draw: each value holds from its ``x`` to the next."""

    x: Floats
    """Error, percent, shape ``(steps + 2,)``: the range's left end, each step within it, the range's right end."""
    lower: Floats
    upper: Floats
    band_lower: Floats
    band_upper: Floats


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Edf:
    """F(e) = share of all ``n`` trials of an arm's ledger whose error is at most ``e``.

    A diverged trial counts as +inf: it stays in the denominator, so the curve ends below 1. A missing trial (failed,
    lost, running, pending) is unknown: ``lower`` counts it as +inf, ``upper`` as -inf (better than everything), and
    the EDF that all trials together would have given lies between the two.
    """

    arm: str | None
    n: int
    """Trials in the ledger: completed + diverged + missing."""
    n_completed: int
    n_diverged: int
    n_missing: int
    errors: Floats
    """Errors of the completed trials, percent, ascending, shape ``(n_completed,)``."""
    x: Floats
    """Where the EDF steps: the distinct values of ``errors``, shape ``(steps,)``."""
    lower: Floats
    """F at ``x``, missing trials counted as +inf, shape ``(steps,)``."""
    upper: Floats
    """F at ``x``, missing trials counted as -inf, shape ``(steps,)``; equal to ``lower`` when none is missing."""
    band_lower: Floats
    """Lower edge at ``x`` of the simultaneous (DKW) band around ``lower`` ... ``upper``, shape ``(steps,)``."""
    band_upper: Floats
    """Upper edge at ``x`` of that band, shape ``(steps,)``."""
    confidence: float
    """Probability with which the band holds the whole true distribution function of independent draws."""

    @property
    def half_width(self) -> float:
        """Half width of the band where no trial is missing, as a share."""
        return dkw_half_width(self.n, self.confidence)

    def __call__(self, error: float) -> float:
        """F(error), the share of all trials with an error of at most ``error`` percent; missing ones not counted."""
        return float(np.searchsorted(self.errors, error, side="right")) / self.n

    def share_within(self, threshold: float) -> float:
        """The same as calling the EDF: the share of all trials with an error of at most ``threshold`` percent."""
        return self(threshold)

    def quantile(self, share: float) -> float:
        """The smallest error that at least ``share`` of all trials reach, percent; ``inf`` where they do not.

        The inverse of F without interpolation (Hyndman and Fan 1996, type 1). Missing trials count as not reaching it.
        """
        return self.quantile_bounds(share)[1]

    def quantile_bounds(self, share: float) -> tuple[float, float]:
        """The lowest and highest value that this quantile can have once the missing trials are known, percent.

        Raises:
            ValueError: If ``share`` is not in (0, 1].
        """
        if not 0 < share <= 1:
            raise ValueError(f"share: got {share}, expected a value above 0 and up to 1.")
        # Compared on count / n, the same floats as F itself, so that F(quantile(s)) >= s holds exactly.
        needed = int(np.searchsorted(np.arange(1, self.n + 1) / self.n, share, side="left")) + 1
        return self._order_statistic(needed - self.n_missing), self._order_statistic(needed)

    def quantile_interval(self, share: float, confidence: float = 0.95) -> tuple[float, float]:
        """An interval that holds the true quantile with at least this probability, whatever the distribution, percent.

        Its ends are the order statistics l and u of all ``n`` trials: l is the largest with P(B < l) <= alpha / 2 and u
        the smallest with P(B >= u) <= alpha / 2, where B ~ Binomial(n, share) counts the draws up to the true quantile.
        Ties and diverged trials make it only surer. Missing trials widen it: it holds the interval of every completion.

        Returns:
            Low and high end, percent. ``-inf``, ``inf``: the trials set no limit on this side.

        Raises:
            ValueError: If ``share`` is not in (0, 1], or ``confidence`` not in (0, 1).

        Source: Thompson 1936, "On confidence ranges for the median and other expectation distributions", Annals of
            Mathematical Statistics 7(3). It supposes independent draws; the widening for missing trials is our own.
        """
        if not 0 < share <= 1:
            raise ValueError(f"share: got {share}, expected a value above 0 and up to 1.")
        if not 0 < confidence < 1:
            raise ValueError(f"confidence: got {confidence}, expected a value between 0 and 1.")
        from scipy.stats import binom

        low, high = binom.ppf([(1 - confidence) / 2, (1 + confidence) / 2], self.n, share)
        return self._order_statistic(int(low) - self.n_missing), self._order_statistic(int(high) + 1)

    def _order_statistic(self, rank: int) -> float:
        if rank < 1:
            return -math.inf
        return float(self.errors[rank - 1]) if rank <= self.n_completed else math.inf

    def outline(self, left: float, right: float) -> EdfOutline:
        """The curves from error ``left`` to ``right`` (percent), with their values at both ends."""
        inside = self.x[(self.x > left) & (self.x < right)]
        x = np.concatenate([[left], inside, [right]])
        return EdfOutline(x=x, **_curves(self.errors, x, self.n, self.n_missing, self.confidence))

    def plot(self) -> "Figure":
        """The EDF as an exact step function with its simultaneous band, as a Plotly figure."""
        from dashboards.figures import edf_figure

        return edf_figure([self])


def empirical_distribution(
    errors: npt.ArrayLike | Sequence[float],
    *,
    diverged: int = 0,
    missing: int = 0,
    confidence: float = 0.95,
    arm: str | None = None,
) -> Edf:
    """The EDF of one set of trials.

    F(e) = #{errors <= e} / (#errors + diverged + missing).

    Args:
        errors: Errors of the completed trials, percent, any order, shape ``(completed,)``.
        diverged: How many more trials diverged.
        missing: How many more trials have no result.
        confidence: Of the band, in (0, 1).
        arm: A label.

    Raises:
        ValueError: If there is no trial at all, an error is not finite, or a count is negative.

    Source: "Early Convolutions Help Transformers See Better" (arXiv:2106.14881) section 5.3, after "Designing Network
        Design Spaces" (arXiv:2003.13678) Eq. 1, which has a strict "<"; here "<=", so that F is right-continuous as in
        the statistical definition. That diverged trials stay in the denominator and the bounds are our own.
    """
    values = np.sort(np.asarray(errors, dtype=np.float64).reshape(-1))
    if not np.isfinite(values).all():
        raise ValueError("errors: got a value that is not finite; count such trials in diverged or missing instead.")
    if diverged < 0 or missing < 0:
        raise ValueError(f"diverged and missing: got {diverged} and {missing}, expected counts of at least 0.")
    n = len(values) + diverged + missing
    if n == 0:
        raise ValueError("An EDF needs at least one trial; got none.")
    x = np.unique(values)
    return Edf(
        arm=arm,
        n=n,
        n_completed=len(values),
        n_diverged=diverged,
        n_missing=missing,
        errors=values,
        x=x,
        confidence=confidence,
        **_curves(values, x, n, missing, confidence),
    )


def arm_edf(trials: pa.Table, arm: str, phase: str = STABILITY, confidence: float = 0.95) -> Edf:
    """The EDF of an arm's non-adaptive trials in ``phase``.

    Trials that an adaptive sampler chose are left out: they crowd where errors are low, so their shares say nothing
    about the space.

    Raises:
        ValueError: If the arm has no such trial; names the arms that have.
    """
    draws = select_draws(trials, arm, phase)
    return empirical_distribution(
        draws.completed, diverged=draws.num_diverged, missing=draws.num_missing, confidence=confidence, arm=arm
    )


def dkw_half_width(n: int, confidence: float) -> float:
    """Half width of the simultaneous band around the EDF of ``n`` independent draws: sqrt(ln(2 / alpha) / (2 n)).

    ``alpha`` is 1 - ``confidence``. P(sup |F_n - F| > half width) <= alpha for every F and n. For the more even
    Sobol and Halton draws the inequality is not proven; the band is then usually wider than needed. For a grid it can
    be too narrow: with k points per dimension F_n may be 1 / (2 k) away from F, however many dimensions make n large.

    Raises:
        ValueError: If ``n`` is below 1 or ``confidence`` is not in (0, 1).

    Source: Dvoretzky, Kiefer and Wolfowitz 1956; the constant 2 by Massart 1990, "The tight constant in the
        Dvoretzky-Kiefer-Wolfowitz inequality", Annals of Probability 18(3).
    """
    if n < 1:
        raise ValueError(f"n: got {n}, expected at least 1.")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: got {confidence}, expected a value between 0 and 1.")
    return math.sqrt(math.log(2 / (1 - confidence)) / (2 * n))


def band_in_words(samplers: Collection[str]) -> str:
    """What the simultaneous band is worth for draws of these samplers, for a caption: a clause without a full stop.

    Args:
        samplers: Of the trials that the EDFs are about, in any order.

    Source: see :func:`dkw_half_width`.
    """
    kinds = sorted(set(samplers) - {"random"})
    if not kinds:
        return "the band is proven for independent random draws"
    even = [_SAMPLER_NAMES[kind] for kind in kinds if kind in ("sobol", "halton")]
    others = [kind for kind in kinds if kind not in ("sobol", "halton", "grid")]
    remarks = [f"for {' and '.join(even)} draws it is not, and is usually wider than needed"] if even else []
    remarks += ["for a grid it is not, and can be too narrow"] if "grid" in kinds else []
    remarks += [f"for draws of {' and '.join(others)} it is not"] if others else []
    return f"the band is proven for independent random draws; {'; '.join(remarks)}"


def _curves(errors: Floats, x: Floats, n: int, missing: int, confidence: float) -> dict[str, Floats]:
    """Both bounds of F at ``x`` and the band's edges around them, cut to [0, 1]."""
    count = np.searchsorted(errors, x, side="right")
    lower, upper = count / n, (count + missing) / n
    half_width = dkw_half_width(n, confidence)
    return {
        "lower": lower,
        "upper": upper,
        "band_lower": np.maximum(lower - half_width, 0.0),
        "band_upper": np.minimum(upper + half_width, 1.0),
    }
