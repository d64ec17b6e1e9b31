"""How errors fall over the epochs: quantiles over the trials of each arm."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dashboards.groups import floats
from dashboards.selection import STABILITY, Floats, stability_trials
from dashboards.statistics.ranks import Ints

QUANTILES = (("error_p10", 0.1), ("error_median", 0.5), ("error_p90", 0.9))

CONVERGENCE_SCHEMA = pa.schema(
    [
        pa.field("arm", pa.string()),
        pa.field("epoch", pa.int64()),
        pa.field("n", pa.int64()),
        *(pa.field(name, pa.float64()) for name, _ in QUANTILES),
    ]
)

INTERVAL_FIELDS = (pa.field("median_low", pa.float64()), pa.field("median_high", pa.float64()))
"""The columns that ``confidence`` adds."""


def convergence(
    trials: pa.Table, curves: pa.Table, phase: str = STABILITY, confidence: float | None = None
) -> pa.Table:
    """Median, 10 % and 90 % quantile of the error per arm and epoch, over the trials that have an error there.

    Trials that diverge drop out at that epoch, which makes the rest look better: ``n`` says how many are left.

    Args:
        trials: The trials table; only non-adaptive trials of ``phase`` count.
        curves: The curves table.
        phase: The phase.
        confidence: In (0, 1); adds the interval of the median at each epoch, from one order statistic to another.

    Returns:
        A table with :data:`CONVERGENCE_SCHEMA`, sorted by arm and epoch; errors in percent. With ``confidence`` also with
        :data:`INTERVAL_FIELDS`, null where there are too few trials for an interval; each holds by itself, not all at once.

    Raises:
        ValueError: If ``confidence`` is not in (0, 1).

    Source: own. The quantiles are interpolated (Hyndman and Fan 1996, type 7). The interval is distribution-free: the
        number of errors below the median is binomial (Thompson 1936).
    """
    if confidence is not None and not 0 < confidence < 1:
        raise ValueError(f"confidence: got {confidence}, expected a value between 0 and 1.")
    mine = stability_trials(trials, phase)
    names = sorted(set(mine["arm"].unique().to_pylist()))
    arms = pc.index_in(mine["arm"], value_set=pa.array(names, pa.string())).to_numpy()
    place = floats(pc.index_in(curves["key"], value_set=mine["key"].combine_chunks()))
    errors = floats(curves["error"])
    used = np.isfinite(errors) & np.isfinite(place)
    errors, epochs = errors[used], np.asarray(curves["epoch"].to_numpy())[used]
    arm = arms[place[used].astype(np.int64)]
    order = np.lexsort((errors, epochs, arm))
    errors, epochs, arm = errors[order], epochs[order], arm[order]
    new = np.ones(len(errors), dtype=np.bool_)
    new[1:] = (arm[1:] != arm[:-1]) | (epochs[1:] != epochs[:-1])
    starts = np.flatnonzero(new)
    numbers = np.diff(np.append(starts, len(errors)))
    columns = [pa.array(names, pa.string()).take(pa.array(arm[starts], pa.int64())), epochs[starts], numbers]
    columns += [_quantiles(errors, starts, numbers, level) for _, level in QUANTILES]
    table = pa.Table.from_arrays([pa.array(column) for column in columns], schema=CONVERGENCE_SCHEMA)
    if confidence is None:
        return table
    for field, ends in zip(INTERVAL_FIELDS, _median_intervals(errors, starts, numbers, confidence), strict=True):
        table = table.append_column(field, pa.array(ends, pa.float64(), from_pandas=True))
    return table


def _quantiles(ordered: Floats, starts: Ints, numbers: Ints, level: float) -> Floats:
    """Of each group of ``numbers`` values, ascending from ``starts`` on in ``ordered``; shape ``(groups,)``."""
    below = np.floor(level * (numbers - 1)).astype(np.int64)
    weight = level * (numbers - 1) - below
    low = ordered[starts + below]
    return np.asarray(low + weight * (ordered[starts + np.minimum(below + 1, numbers - 1)] - low))


def _median_intervals(ordered: Floats, starts: Ints, numbers: Ints, confidence: float) -> tuple[Floats, Floats]:
    """Both ends for each group, ``nan`` where even its lowest and highest value are too close for ``confidence``."""
    from scipy.stats import binom

    # P(fewer than k of n values are below the median) < tail: so with more than that the k-th lowest value is below it.
    k = binom.ppf((1 - confidence) / 2, numbers, 0.5).astype(np.int64)
    known = k > 0
    low = np.where(known, ordered[starts + np.maximum(k - 1, 0)], np.nan)
    high = np.where(known, ordered[starts + np.minimum(numbers - k, numbers - 1)], np.nan)
    return low, high
