"""How errors fall over the epochs: quantiles over the trials of each arm."""

from collections.abc import Sequence

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
    mine = stability_trials(trials.select(["phase", "sampler", "arm", "key"]), phase)
    names = sorted(pc.unique(mine["arm"]).to_pylist())
    arms = _arm_numbers(curves["key"], mine, names)
    errors = floats(curves["error"])
    used = np.isfinite(errors) & (arms >= 0)
    # Numbers of those that occur alone: imported curves may count steps of training, of which there are millions.
    epochs, place = _numbered(np.asarray(curves["epoch"].to_numpy())[used])
    # One number an arm and epoch, in the order of the table's rows.
    pairs, group = _numbered(arms[used] * len(epochs) + place)
    arm, place = np.divmod(pairs, max(len(epochs), 1))
    numbers, errors = _ascending(group, errors[used])
    starts = np.cumsum(numbers) - numbers
    columns = [pa.array(names, pa.string()).take(pa.array(arm)), epochs[place], numbers]
    columns += [_quantiles(errors, starts, numbers, level) for _, level in QUANTILES]
    table = pa.Table.from_arrays([pa.array(column) for column in columns], schema=CONVERGENCE_SCHEMA)
    if confidence is None:
        return table
    for field, ends in zip(INTERVAL_FIELDS, _median_intervals(errors, starts, numbers, confidence), strict=True):
        table = table.append_column(field, pa.array(ends, pa.float64(), from_pandas=True))
    return table


def _arm_numbers(keys: pa.ChunkedArray, mine: pa.Table, names: Sequence[str]) -> Ints:
    """For each key the place of its trial's arm in ``names``, -1 where it is no trial of ``mine``."""
    # A trial's epochs follow each other: looked up once a trial, not once an epoch.
    runs = pc.run_end_encode(keys).chunks
    lengths = np.concatenate([np.zeros(0, np.int64), *(np.diff(run.run_ends.to_numpy(), prepend=0) for run in runs)])
    found = pc.index_in(
        pa.chunked_array([run.values for run in runs], pa.string()), value_set=mine["key"].combine_chunks()
    )
    arms = pc.index_in(mine["arm"], value_set=pa.array(names, pa.string())).combine_chunks()
    numbers = pc.fill_null(arms.take(found.combine_chunks()), -1).to_numpy(zero_copy_only=False)
    return np.repeat(numbers.astype(np.int64), lengths)


def _numbered(values: Ints) -> tuple[Ints, Ints]:
    """The values that occur, ascending, and the place of each of ``values`` among them: shapes ``(distinct,)``, ``(n,)``."""
    # Sorting all of them, as numpy's unique does, takes seven times as long.
    encoded = pa.array(values).dictionary_encode()
    distinct = np.asarray(encoded.dictionary)
    order = np.argsort(distinct)
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    return distinct[order], places[np.asarray(encoded.indices)]


def _ascending(groups: Ints, values: Floats) -> tuple[Ints, Floats]:
    """How many values each group has, from group 0 on, and the values by group, ascending in each."""
    numbers = np.bincount(groups)
    # Of numbers of at most 16 bits numpy's stable sort takes linear time.
    order = np.argsort(groups.astype(np.min_scalar_type(len(numbers))), kind="stable")
    ordered = values[order]
    for part in np.split(ordered, np.cumsum(numbers)[:-1]):
        part.sort()
    return numbers, ordered


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
