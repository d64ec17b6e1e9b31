"""How the share of diverged trials changes over a hyperparameter."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dashboards.formats import setting
from dashboards.selection import Floats
from dashboards.space.bins import bin_numbers, bins_of, edge_values
from dashboards.space.positions import Positions
from dashboards.statistics.paired import clopper_pearson

CAPTION = (
    "Share of diverged trials among those with a result, in bins of equal width on the hyperparameter's scale; "
    "intervals hold the share with a probability of at least 95 % (Clopper and Pearson). Trials without a result "
    "are counted and left out."
)

DIVERGENCE_SCHEMA = pa.schema(
    [
        pa.field("arm", pa.string()),
        pa.field("choice", pa.string()),
        pa.field("low", pa.float64()),
        pa.field("high", pa.float64()),
        pa.field("low_unit", pa.float64()),
        pa.field("high_unit", pa.float64()),
        pa.field("n", pa.int64()),
        pa.field("diverged", pa.int64()),
        pa.field("missing", pa.int64()),
        pa.field("share", pa.float64()),
        pa.field("share_low", pa.float64()),
        pa.field("share_high", pa.float64()),
    ]
)
"""``choice``: null of a hyperparameter with an order; ``low`` and ``high``: the bin's edges in its own unit and,
``*_unit``, as coordinates, null of a choice. ``n``: trials with a result; ``missing``: more without one. ``share``:
null where n is 0."""


def diverged_shares(positions: Positions, name: str = "lr", bins: int = 8, confidence: float = 0.95) -> pa.Table:
    """One row per arm that varies the hyperparameter and bin, or choice.

    A hyperparameter with steps that has no more values than ``bins`` has one bin per value.

    Args:
        positions: The trials.
        name: The hyperparameter.
        bins: How many, of equal width in the coordinate.
        confidence: Of the interval of the share, in (0, 1).

    Returns:
        A table with :data:`DIVERGENCE_SCHEMA`, by arm and from the lowest bin on; empty if no arm varies ``name``.

    Raises:
        ValueError: If ``bins`` is below 1.

    Source: the share of infeasible trials that the Deep Learning Tuning Playbook asks for; that it is over a
        hyperparameter, and the bins, are own. The interval: Clopper and Pearson 1934.
    """
    if bins < 1:
        raise ValueError(f"bins: got {bins}, expected at least 1.")
    rows: list[dict[str, Any]] = []
    for arm in positions.arm_names:
        if (arm, name) not in positions.intervals:
            continue
        own = positions.having(arm, name)
        interval = positions.intervals[arm, name]
        count = bins_of(positions, arm, name, bins)
        place = bin_numbers(positions.units[name][own], count)
        edges = np.linspace(0.0, 1.0, count + 1)
        values = edge_values(positions, arm, name, edges) if interval.numeric else None
        table = _counts(place, positions.errors[own], count)
        for number in range(count):
            n, diverged, missing = (int(one[number]) for one in table)
            low, high = clopper_pearson(diverged, n, confidence)
            where: dict[str, Any] = {"choice": setting(interval.choices[number])} if values is None else {}
            if values is not None:
                where = {
                    "low": float(values[number]),
                    "high": float(values[number + 1]),
                    "low_unit": float(edges[number]),
                    "high_unit": float(edges[number + 1]),
                }
            rows.append(
                {
                    "arm": arm,
                    **where,
                    "n": n,
                    "diverged": diverged,
                    "missing": missing,
                    "share": diverged / n if n else None,
                    "share_low": low,
                    "share_high": high,
                }
            )
    return pa.Table.from_pylist(rows, schema=DIVERGENCE_SCHEMA)


def _counts(place: npt.NDArray[np.intp], errors: Floats, bins: int) -> tuple[npt.NDArray[np.intp], ...]:
    """By bin: trials with a result, diverged ones, and trials without a result."""
    which = (~np.isnan(errors), np.isposinf(errors), np.isnan(errors))
    return tuple(np.bincount(place[mask], minlength=bins) for mask in which)
