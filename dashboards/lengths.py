"""Trials of one given setting: the error by training length, over the seeds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dashboards.selection import FIXED, Floats, errors_with_diverged

CAPTION = (
    "Trials of one given setting per arm. Mean, lowest and highest error are over the completed seeds; the gap is the mean "
    "minus the arm's mean at its longest training in the phase, known only where every seed of both completed."
)

SEEDS_FIELDS = (
    pa.field("n", pa.int64()),
    pa.field("completed", pa.int64()),
    pa.field("diverged", pa.int64()),
    pa.field("missing", pa.int64()),
    pa.field("mean_error", pa.float64()),
    pa.field("lowest_error", pa.float64()),
    pa.field("highest_error", pa.float64()),
)
"""The columns of what :func:`over_seeds` returns."""

LENGTHS_SCHEMA = pa.schema(
    [
        pa.field("phase", pa.string()),
        pa.field("arm", pa.string()),
        pa.field("epochs", pa.int64()),
        *SEEDS_FIELDS,
        pa.field("gap", pa.float64()),
    ]
)


def lengths(trials: pa.Table) -> pa.Table:
    """One row per phase, arm and training length of the trials with a given setting.

    Returns:
        A table with :data:`LENGTHS_SCHEMA`, sorted by phase, arm and epochs; errors in percent, gaps in points. See
        :data:`CAPTION`.

    Source: the gap to the longest training is the training-length stability of arXiv:2106.14881, section 4.
    """
    rows = trials.filter(pc.equal(trials["sampler"], FIXED)).to_pylist()
    groups: dict[tuple[str, str, int], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["phase"], row["arm"], row["epochs"]), []).append(row)
    table = [
        {"phase": phase, "arm": arm, "epochs": epochs, **over_seeds(groups[phase, arm, epochs])}
        for phase, arm, epochs in sorted(groups)
    ]
    longest = {(row["phase"], row["arm"]): row for row in table}
    for row in table:
        reference = longest[row["phase"], row["arm"]]
        known = all(one["completed"] == one["n"] for one in (row, reference))
        row["gap"] = row["mean_error"] - reference["mean_error"] if known else None
    return pa.Table.from_pylist(table, schema=LENGTHS_SCHEMA)


def over_seeds(trials: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts and errors of trials that differ in their seed alone; errors in percent, over the completed ones.

    Args:
        trials: Rows of the trials table.

    Returns:
        ``n``, ``completed``, ``diverged``, ``missing`` and ``mean_error``, ``lowest_error``, ``highest_error``: ``None``
        where none completed.
    """
    errors = errors_with_diverged([row["status"] for row in trials], [row["error"] for row in trials])
    completed = errors[np.isfinite(errors)]
    return {
        "n": len(errors),
        "completed": len(completed),
        "diverged": int(np.isposinf(errors).sum()),
        "missing": int(np.isnan(errors).sum()),
        **_moments(completed),
    }


def _moments(errors: Floats) -> dict[str, float | None]:
    if not len(errors):
        return {"mean_error": None, "lowest_error": None, "highest_error": None}
    return {
        "mean_error": float(errors.mean()),
        "lowest_error": float(errors.min()),
        "highest_error": float(errors.max()),
    }
