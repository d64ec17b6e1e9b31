"""How errors fall over the epochs: quantiles over the trials of each arm."""

from itertools import pairwise

import numpy as np
import pyarrow as pa

from dashboards.selection import STABILITY, Floats, stability_trials

QUANTILES = (("error_p10", 0.1), ("error_median", 0.5), ("error_p90", 0.9))

CONVERGENCE_SCHEMA = pa.schema(
    [
        pa.field("arm", pa.string()),
        pa.field("epoch", pa.int64()),
        pa.field("n", pa.int64()),
        *(pa.field(name, pa.float64()) for name, _ in QUANTILES),
    ]
)


def convergence(trials: pa.Table, curves: pa.Table, phase: str = STABILITY) -> pa.Table:
    """Median, 10 % and 90 % quantile of the error per arm and epoch, over the trials that have an error there.

    Trials that diverge drop out at that epoch, which makes the rest look better: ``n`` says how many are left.

    Args:
        trials: The trials table; only non-adaptive trials of ``phase`` count.
        curves: The curves table.
        phase: The phase.

    Returns:
        A table with :data:`CONVERGENCE_SCHEMA`, sorted by arm and epoch; errors in percent.

    Source: own.
    """
    arms = stability_trials(trials, phase).select(["key", "arm"])
    joined = curves.join(arms, "key", join_type="inner").sort_by([("arm", "ascending"), ("epoch", "ascending")])
    errors = joined["error"].to_numpy().astype(np.float64)
    finite = np.isfinite(errors)
    arm = np.asarray(joined["arm"].to_pylist(), dtype=object)[finite]
    epoch, errors = joined["epoch"].to_numpy()[finite], errors[finite]
    changes = (arm[1:] != arm[:-1]) | (epoch[1:] != epoch[:-1])
    starts = np.concatenate([[0], np.flatnonzero(changes) + 1, [len(errors)]]) if len(errors) else np.zeros(1, int)
    rows = [
        {"arm": arm[start], "epoch": int(epoch[start]), "n": int(stop - start)} | _quantiles(errors[start:stop])
        for start, stop in pairwise(starts)
    ]
    return pa.Table.from_pylist(rows, schema=CONVERGENCE_SCHEMA)


def _quantiles(errors: Floats) -> dict[str, float]:
    """Interpolated between order statistics (Hyndman and Fan 1996, type 7)."""
    values = np.quantile(errors, [level for _, level in QUANTILES])
    return {name: float(value) for (name, _), value in zip(QUANTILES, values, strict=True)}
