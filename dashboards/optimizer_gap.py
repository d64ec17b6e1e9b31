"""Optimizer stability: how far apart two optimizers end on the same model."""

from itertools import combinations

import numpy as np
import pyarrow as pa

from dashboards.compare import common_errors
from dashboards.paired import median, paired_gaps
from dashboards.selection import STABILITY, Floats, arms_of, select_draws

CAPTION = (
    "Each row is about the draws on which both optimizers have a result. Best gap: the lowest error of one optimizer's "
    "draws beside the lowest of the other's (the best of n draws, picked on the split it is reported on, so both are "
    "optimistic). Median gap: the median of the differences draw by draw, not the difference of the medians; a diverged "
    "draw counts as an infinite error. A positive gap means that the first optimizer is ahead. Two draws of one pair are "
    "the same point of the unit cube, mapped into each optimizer's own ranges."
)

OPTIMIZER_GAP_SCHEMA = pa.schema(
    [
        pa.field("model", pa.string()),
        pa.field("optimizer_a", pa.string()),
        pa.field("optimizer_b", pa.string()),
        pa.field("best_a", pa.float64()),
        pa.field("best_b", pa.float64()),
        pa.field("best_gap", pa.float64()),
        pa.field("median_a", pa.float64()),
        pa.field("median_b", pa.float64()),
        pa.field("median_gap", pa.float64()),
        pa.field("n", pa.int64()),
    ]
)


def optimizer_gap(trials: pa.Table, phase: str = STABILITY) -> pa.Table:
    """One row per model and pair of its optimizers, over the draws on which both have a result.

    Returns:
        A table with :data:`OPTIMIZER_GAP_SCHEMA`, sorted by model and optimizers. Errors in percent, gaps (b - a) in
        points. ``best_*``: lowest error of the ``n`` draws; null where all diverged. ``median_*``: median error,
        diverged as +inf. ``median_gap``: median of the paired differences. Null where ``n`` is 0.

    Source: arXiv:2106.14881 section 4 defines optimizer stability as the gap between AdamW and SGD at equal epochs,
        each with its best lr and wd. ``best_gap`` is that over ``n`` random draws; ``median_gap`` is our own and says
        how far the optimizers are apart for somebody who does not tune.
    """
    rows = []
    arms = arms_of(trials, phase)
    for first, second in combinations(sorted(arms, key=lambda arm: (arm.model, arm.optimizer)), 2):
        if first.model == second.model:
            errors = common_errors(select_draws(trials, first.arm, phase), select_draws(trials, second.arm, phase))
            names = {"model": first.model, "optimizer_a": first.optimizer, "optimizer_b": second.optimizer}
            rows.append(names | gap_of_errors(*errors))
    return pa.Table.from_pylist(rows, schema=OPTIMIZER_GAP_SCHEMA)


def gap_of_errors(errors_a: Floats, errors_b: Floats) -> dict[str, float | int | None]:
    """The numbers of one row from paired errors, percent (``+inf`` diverged, ``nan`` no result)."""
    known = ~(np.isnan(errors_a) | np.isnan(errors_b))
    errors_a, errors_b = errors_a[known], errors_b[known]
    best_a, best_b = _best(errors_a), _best(errors_b)
    some = len(errors_a) > 0
    return {
        "best_a": best_a,
        "best_b": best_b,
        "best_gap": None if best_a is None or best_b is None else best_b - best_a,
        "median_a": median(errors_a) if some else None,
        "median_b": median(errors_b) if some else None,
        "median_gap": median(paired_gaps(errors_a, errors_b)) if some else None,
        "n": len(errors_a),
    }


def _best(errors: Floats) -> float | None:
    finite = errors[np.isfinite(errors)]
    return float(finite.min()) if len(finite) else None
