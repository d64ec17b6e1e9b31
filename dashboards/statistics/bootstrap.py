"""The bootstrap of an EDF in closed form: what infinitely many resamples would give."""

import numpy as np
import numpy.typing as npt

from dashboards.selection import Floats
from dashboards.statistics.edf import Edf


def pointwise_band(edf: Edf, at: npt.ArrayLike, confidence: float = 0.95) -> tuple[Floats, Floats]:
    """Percentile bootstrap interval of F at each error, one error at a time.

    Drawing n of the n trials with replacement, the number with an error of at most e is Binomial(n, F_n(e)) exactly.
    The ends are that distribution's quantiles at alpha / 2 and 1 - alpha / 2, divided by n; no random number is needed.
    Where trials are missing, the low end is of the EDF that counts them as +inf and the high end of the one that counts
    them as -inf: every completion's interval lies between.

    Each point has about this confidence for itself; that the whole curve lies inside is less sure (see
    :func:`dashboards.statistics.edf.dkw_half_width` for a band around the whole). Where F_n is 0 or 1 no resample differs, so the
    interval is a point, and near there it is too narrow. Its level at 95 % and n = 64, summed exactly: 94 to 97 % for F
    between 0.1 and 0.9, 83 % at 0.05, 47 % at 0.01. :func:`dashboards.statistics.paired.clopper_pearson` of one share keeps its
    level everywhere.

    Args:
        edf: The EDF.
        at: Errors, percent (points for a delta EDF), shape ``(errors,)``.
        confidence: Of each point, in (0, 1).

    Returns:
        Low and high ends, shares, each of shape ``(errors,)``.

    Raises:
        ValueError: If ``confidence`` is not in (0, 1) or an error is ``nan``.

    Source: Efron 1979, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7(1); the percentile
        method. The closed form follows from resampling being multinomial.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: got {confidence}, expected a value between 0 and 1.")
    errors = np.asarray(at, dtype=np.float64).reshape(-1)
    if np.isnan(errors).any():
        raise ValueError("at: got nan, expected errors in percent; leave points without a value out.")
    from scipy.stats import binom

    count = np.searchsorted(edf.errors, errors, side="right")
    tail = (1 - confidence) / 2
    low = binom.ppf(tail, edf.n, count / edf.n) / edf.n
    high = binom.ppf(1 - tail, edf.n, (count + edf.n_missing) / edf.n) / edf.n
    return low, high
