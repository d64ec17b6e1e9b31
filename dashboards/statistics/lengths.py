"""Trials of one given setting: the error by training length, over the seeds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dashboards.groups import Rows, errors_of, floats, groups
from dashboards.selection import FIXED, Floats, errors_with_diverged
from dashboards.statistics.seeds import NO_GAP, SeedGap, SeedSpread, seed_gap, seed_spread

CAPTION = (
    "Trials of one given setting per arm. Mean, lowest and highest error are over the completed seeds; the gap is the mean "
    "minus the arm's mean at its longest training in the phase, known only where every seed of both completed. Intervals "
    "are 95 % t intervals over the seeds, each by itself; a single seed has none."
)

SEEDS_FIELDS = (
    pa.field("n", pa.int64()),
    pa.field("completed", pa.int64()),
    pa.field("diverged", pa.int64()),
    pa.field("missing", pa.int64()),
    pa.field("mean_error", pa.float64()),
    pa.field("lowest_error", pa.float64()),
    pa.field("highest_error", pa.float64()),
    pa.field("std_error", pa.float64()),
    pa.field("ci_low", pa.float64()),
    pa.field("ci_high", pa.float64()),
)
"""The columns of what :func:`over_seeds` returns."""

LENGTHS_SCHEMA = pa.schema(
    [
        pa.field("phase", pa.string()),
        pa.field("arm", pa.string()),
        pa.field("epochs", pa.int64()),
        *SEEDS_FIELDS,
        pa.field("gap", pa.float64()),
        pa.field("gap_low", pa.float64()),
        pa.field("gap_high", pa.float64()),
    ]
)


def lengths(trials: pa.Table) -> pa.Table:
    """One row per phase, arm and training length of the trials with a given setting.

    Returns:
        A table with :data:`LENGTHS_SCHEMA`, sorted by phase, arm and epochs; errors in percent, gaps in points.
        ``gap_low`` and ``gap_high`` are the 95 % interval of the gap from the spread of the seeds: of the differences
        seed by seed where both lengths have the same seeds (as the platform gives them), Welch's where not; see
        :func:`dashboards.statistics.seeds.seed_gap`. They are null where the gap or the spread is not known, and 0 at the longest
        training, whose gap to itself is 0. See :data:`CAPTION`.

    Source: the gap to the longest training is the training-length stability of arXiv:2106.14881, section 4. The intervals
        are our own.
    """
    rows = trials.filter(pc.equal(trials["sampler"], FIXED))
    errors, seeds = errors_of(rows), floats(rows["seed"])
    found = groups(rows, ["phase", "arm", "epochs"])
    ordered = sorted(found)
    longest = {(phase, arm): found[phase, arm, epochs] for phase, arm, epochs in ordered}
    table = []
    for phase, arm, epochs in ordered:
        members = found[phase, arm, epochs]
        gap = _gap(errors, seeds, longest[phase, arm], members)
        row = {"phase": phase, "arm": arm, "epochs": epochs, **spread_columns(seed_spread(errors[members]))}
        table.append(row | {"gap": gap.gap, "gap_low": gap.low, "gap_high": gap.high})
    return pa.Table.from_pylist(table, schema=LENGTHS_SCHEMA)


def over_seeds(trials: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts and errors of trials that differ in their seed alone; errors in percent, over the completed ones.

    Args:
        trials: Rows of the trials table.

    Returns:
        By the names of :data:`SEEDS_FIELDS`; see :func:`spread_columns`.
    """
    errors = errors_with_diverged([row["status"] for row in trials], [row["error"] for row in trials])
    return spread_columns(seed_spread(errors))


def spread_columns(spread: SeedSpread) -> dict[str, float | int | None]:
    """``spread`` by the names of :data:`SEEDS_FIELDS`.

    ``n``, ``completed``, ``diverged``, ``missing``; ``mean_error``, ``lowest_error``, ``highest_error`` in percent,
    ``None`` where none completed; ``std_error`` of the mean and its 95 % t interval from ``ci_low`` to ``ci_high``, ``None``
    where fewer than two completed.
    """
    return {
        "n": spread.n,
        "completed": spread.completed,
        "diverged": spread.diverged,
        "missing": spread.missing,
        "mean_error": spread.mean,
        "lowest_error": spread.lowest,
        "highest_error": spread.highest,
        "std_error": spread.std_error,
        "ci_low": spread.low,
        "ci_high": spread.high,
    }


def _gap(errors: Floats, seeds: Floats, longest: Rows, members: Rows) -> SeedGap:
    if longest is not members:
        return seed_gap(errors[longest], errors[members], seeds[longest], seeds[members])
    whole = bool(np.isfinite(errors[members]).all())
    return SeedGap(gap=0.0, low=0.0, high=0.0, paired=True) if whole else NO_GAP
