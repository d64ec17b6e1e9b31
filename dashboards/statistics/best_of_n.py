"""The budget view: the best error that a search over n random draws would have found."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dashboards.selection import STABILITY, Floats, arms_of, select_draws

CAPTION = (
    "Lowest error of n random draws of an arm: median, quartiles and mean over all ways to choose n of its draws that "
    "have a result, without replacement. A diverged draw is infinitely bad; draws without a result are left out. "
    "Towards the last n the spread shrinks because few choices are left, not because more draws would find nothing "
    "better."
)

BEST_OF_N_SCHEMA = pa.schema(
    [
        pa.field("arm", pa.string()),
        pa.field("n", pa.int64()),
        pa.field("median", pa.float64()),
        pa.field("q25", pa.float64()),
        pa.field("q75", pa.float64()),
        pa.field("mean", pa.float64()),
        pa.field("known", pa.int64()),
        pa.field("missing", pa.int64()),
    ]
)

_NEGLIGIBLE = 40.0
"""exp(-40) = 4e-18: draws of a higher rank than those that the lowest of n has but for this probability do not
matter."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BestOfN:
    """The distribution of the lowest error of n draws; each array has one entry per n."""

    n: npt.NDArray[np.int64]
    median: Floats
    """Percent; the smallest error that the lowest of n reaches with probability 1/2; ``inf`` where it is a diverged
    draw."""
    q25: Floats
    """The same with probability 1/4: a lucky search."""
    q75: Floats
    mean: Floats
    """Percent; ``inf`` as long as all n draws may have diverged."""


def best_of_n(trials: pa.Table, phase: str = STABILITY, max_n: int | None = None) -> pa.Table:
    """The lowest error of n random draws, for every arm with non-adaptive trials in ``phase`` and every n.

    Args:
        trials: The trials table.
        phase: The phase.
        max_n: The largest n; every arm's number of draws with a result if ``None``, and never more than that.

    Returns:
        :data:`BEST_OF_N_SCHEMA`: a row per arm and n from 1, sorted; errors in percent, null where infinite. ``known``
        is how many draws have a result, ``missing`` how many have none and are left out. An arm without any result has
        no row.

    Raises:
        ValueError: If ``max_n`` is below 1.

    Source: Dodge et al. 2019, "Show Your Work" (arXiv:1909.03004). They draw with replacement, which makes the mean too
        high an estimate of what n fresh draws give; ours draws without, which is not biased (Tang et al. 2020, "Showing
        Your Work Doesn't Always Work", arXiv:2004.13705). Quantiles and diverged draws are our own.
    """
    tables = [_arm_table(trials, name.arm, phase, max_n) for name in arms_of(trials, phase)]
    return pa.concat_tables([BEST_OF_N_SCHEMA.empty_table(), *tables])


def lowest_of(errors: npt.ArrayLike, max_n: int | None = None) -> BestOfN:
    """The same for one set of draws.

    Of the N errors in ascending order, the lowest of n chosen without replacement is beyond the j-th with probability
    C(N - j, n) / C(N, n), and is the j-th with C(N - j, n - 1) / C(N, n).

    Args:
        errors: Percent, ``+inf`` where diverged, shape ``(draws,)``.
        max_n: See :func:`best_of_n`.

    Raises:
        ValueError: If an error is ``nan`` or ``max_n`` is below 1.
    """
    values = np.sort(np.asarray(errors, dtype=np.float64).reshape(-1))
    if np.isnan(values).any():
        raise ValueError("errors: got nan, expected errors in percent; leave draws without a result out.")
    if max_n is not None and max_n < 1:
        raise ValueError(f"max_n: got {max_n}, expected at least 1.")
    total = len(values)
    n = np.arange(1, min(total, total if max_n is None else max_n) + 1)
    log_factorials = _log_factorials(total)
    q25, median, q75 = (values[_places(total, n, share, log_factorials)] for share in (0.25, 0.5, 0.75))
    return BestOfN(n=n, median=median, q25=q25, q75=q75, mean=_means(values, n, log_factorials))


def _arm_table(trials: pa.Table, arm: str, phase: str, max_n: int | None) -> pa.Table:
    draws = select_draws(trials, arm, phase)
    known = draws.errors[~np.isnan(draws.errors)]
    best = lowest_of(known, max_n)
    rows = len(best.n)
    columns = [
        pa.array([arm] * rows, pa.string()),
        pa.array(best.n),
        *(_finite(values) for values in (best.median, best.q25, best.q75, best.mean)),
        pa.array(np.full(rows, len(known))),
        pa.array(np.full(rows, draws.num_missing)),
    ]
    return pa.Table.from_arrays(columns, schema=BEST_OF_N_SCHEMA)


def _finite(values: Floats) -> pa.Array:
    return pa.array(values, mask=~np.isfinite(values))


def _log_factorials(largest: int) -> Floats:
    from scipy.special import gammaln

    return np.asarray(gammaln(np.arange(1.0, largest + 2)))


def _places(total: int, n: npt.NDArray[np.int64], share: float, log_factorials: Floats) -> npt.NDArray[np.int64]:
    """For each n the smallest place j - 1 with P(lowest is among the first j) >= share, by bisection over j."""
    low, high = np.ones_like(n), total - n + 1
    # At an equality, as for the median of 2 draws of which 1 is taken, rounding must not push j one up.
    beyond = np.log(1 - share) + 1e-9
    while (low < high).any():
        middle = (low + high) // 2
        log_survival = _log_survival(total, n, middle, log_factorials)
        reached = log_survival <= beyond
        low, high = np.where(reached, low, middle + 1), np.where(reached, middle, high)
    return low - 1


def _log_survival(total: int, n: npt.NDArray[np.int64], j: npt.NDArray[np.int64], log_factorials: Floats) -> Floats:
    """log(C(N - j, n) / C(N, n)); -inf where N - j < n."""
    rest = total - j - n
    value = log_factorials[total - j] - log_factorials[np.maximum(rest, 0)]
    value += log_factorials[total - n] - log_factorials[total]
    return np.where(rest < 0, -np.inf, value)


def _of_the_rest(log_factorials: Floats, n: npt.NDArray[np.int64], columns: int) -> Floats:
    """log((N - j - n + 1)!), inf where N - j < n - 1; a row per n, each the one before plus 1, a column per j from 1 on."""
    total = len(log_factorials) - 1
    # What depends on j + n alone is one row, of which each n sees a part: nothing is looked up.
    largest = int(n[-1]) + columns
    row = np.full(largest + 1, np.inf)
    row[1 : total + 2] = log_factorials[::-1][:largest]
    return np.lib.stride_tricks.sliding_window_view(row, columns)[n[0] + 1 : n[-1] + 2]


def _means(values: Floats, n: npt.NDArray[np.int64], log_factorials: Floats) -> Floats:
    total = len(values)
    num_finite = int(np.isfinite(values).sum())
    finite = np.where(np.isfinite(values), values, 0.0)
    means = np.full(len(n), np.inf)
    # In blocks of n .. 2 n: the lowest of n is among the first 40 N / n but for exp(-40), so all blocks together are
    # small.
    start = 1
    while start <= len(n):
        block = n[start - 1 : min(2 * start, len(n) + 1) - 1]
        j = np.arange(1, min(total, int(_NEGLIGIBLE * total / start) + 1) + 1)
        log_probability = log_factorials[total - j] - _of_the_rest(log_factorials, block, len(j))
        log_probability += (np.log(block) + log_factorials[total - block] - log_factorials[total])[:, None]
        means[start - 1 : start - 1 + len(block)] = np.exp(log_probability, out=log_probability) @ finite[: len(j)]
        start *= 2
    # Only more draws than have diverged are sure to hold one that has not.
    return np.where(n > total - num_finite, means, np.inf)
