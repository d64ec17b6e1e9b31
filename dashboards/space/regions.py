"""Where the best setting of an arm lies, how sure that is, and whether it lies at an edge of the space."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dashboards.formats import setting
from dashboards.selection import Floats
from dashboards.space.positions import Positions

EDGE = 0.05
"""The outer share of an interval, on its scale, that counts as its edge."""
ENOUGH = 8
"""Draws with a result below which no edge is warned of."""
FAR = 0.25
"""A range that reaches into this outer share at the other end says nothing about an edge."""
SAMPLE = 0.25
"""Share of the draws that a resample has."""

CAPTION = (
    "The best draw of each arm, and the range of each hyperparameter in which the best of a quarter of the draws, "
    "drawn with replacement, lies with a probability of 95 %. Diverged trials are worse than any error, trials "
    "without a result left out. An edge is named where the range reaches into the outer 5 % of the interval and "
    "not into the quarter at the other end."
)

REGIONS_SCHEMA = pa.schema(
    [
        pa.field("arm", pa.string()),
        pa.field("hyperparameter", pa.string()),
        pa.field("n", pa.int64()),
        pa.field("best", pa.float64()),
        pa.field("low", pa.float64()),
        pa.field("high", pa.float64()),
        pa.field("edge", pa.string()),
        pa.field("best_unit", pa.float64()),
        pa.field("low_unit", pa.float64()),
        pa.field("high_unit", pa.float64()),
        pa.field("interval_low", pa.float64()),
        pa.field("interval_high", pa.float64()),
        pa.field("inferred", pa.bool_()),
    ]
)
"""``n``: trials with a result that have the hyperparameter. ``best``, ``low``, ``high`` in its own unit, ``*_unit``
the same as coordinates in [0, 1]; null where no trial completed. ``edge``: empty, ``lower`` or ``upper``.
``interval_*``: null where they are not known; ``inferred`` where they are the lowest and highest value seen."""

CHOICES_SCHEMA = pa.schema(
    [
        pa.field("arm", pa.string()),
        pa.field("hyperparameter", pa.string()),
        pa.field("choice", pa.string()),
        pa.field("n", pa.int64()),
        pa.field("completed", pa.int64()),
        pa.field("share", pa.float64()),
    ]
)
"""``n``: trials with a result that have the choice; ``share``: the probability that the best of a resample has it."""


def best_regions(positions: Positions, confidence: float = 0.95) -> pa.Table:
    """One row per arm and hyperparameter with an order that it varies: the best draw's value and its bootstrap range.

    Returns:
        A table with :data:`REGIONS_SCHEMA`, by arm, hyperparameters in the order of the space. Only trials that have
        the hyperparameter enter; of several lowest errors the first by key is the best draw. See :data:`CAPTION`.

    Source: the range is that of pycls (``get_filters``), without its random numbers, see :func:`best_weights`; the edge
        check is the boundary check of the Deep Learning Tuning Playbook, its rule own, see :func:`edge_of`.
    """
    rows = [
        _region(positions, arm, name, confidence)
        for arm in positions.arm_names
        for name in positions.dimensions(arm, numeric=True)
    ]
    return pa.Table.from_pylist(rows, schema=REGIONS_SCHEMA)


def best_choices(positions: Positions) -> pa.Table:
    """One row per arm, hyperparameter without an order and choice: how probably the best of a resample has the choice.

    Returns:
        A table with :data:`CHOICES_SCHEMA`, by arm, hyperparameter and choice; ``share`` is null where no trial
        completed.
    """
    rows = []
    for arm in positions.arm_names:
        for name in positions.dimensions(arm):
            interval = positions.intervals[arm, name]
            if interval.numeric:
                continue
            own = _with_result(positions, arm, name)
            errors, weights = positions.errors[own], best_weights(positions.errors[own])
            values = positions.values[name][own]
            for choice in interval.choices:
                mine = values == choice
                rows.append(
                    {
                        "arm": arm,
                        "hyperparameter": name,
                        "choice": setting(choice),
                        "n": int(mine.sum()),
                        "completed": int(np.isfinite(errors[mine]).sum()),
                        "share": float(np.sort(weights[mine]).sum()) if np.isfinite(errors).any() else None,
                    }
                )
    return pa.Table.from_pylist(rows, schema=CHOICES_SCHEMA)


def best_weights(errors: Floats, sample: float = SAMPLE) -> Floats:
    """The probability of each draw to be the best of a resample of ``floor(sample * n)`` draws with replacement.

    With the errors in ascending order, the best of m draws is the i-th of n or a later one with the probability
    ((n - i + 1) / n)^m, so it is the i-th itself with ((n - i + 1) / n)^m - ((n - i) / n)^m. Equal errors share theirs
    evenly. A resample in which all have diverged has no best one and does not count.

    Args:
        errors: Percent, ``+inf`` where diverged, shape ``(n,)``.
        sample: Size of a resample as a share of n; at least one draw.

    Returns:
        Shape ``(n,)``, sum 1; all 0 if no trial completed.

    Raises:
        ValueError: If an error is ``nan``, or ``sample`` is not in (0, 1].

    Source: pycls, ``pycls/sweep/analysis.py``, ``get_filters``, which resamples 2,500 times; the closed form is its
        limit.
    """
    if np.isnan(errors).any():
        raise ValueError("errors: got nan; leave out trials without a result.")
    if not 0 < sample <= 1:
        raise ValueError(f"sample: got {sample}, expected a share above 0 and up to 1.")
    n = len(errors)
    if not np.isfinite(errors).any():
        return np.zeros(n)
    size = max(1, int(sample * n))
    _, group, counts = np.unique(errors, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    survival = (np.concatenate([[n], n - last]) / n) ** size
    shares = (survival[:-1] - survival[1:]) / counts
    weights: Floats = np.where(np.isposinf(errors), 0.0, shares[group])
    weights /= np.sort(weights).sum()
    return weights


def weighted_range(values: Floats, weights: Floats, confidence: float = 0.95) -> tuple[float, float]:
    """The two weighted quantiles that hold ``confidence`` between them, as places of values seen, not interpolated.

    The lowest value that has at least (1 - confidence) / 2 of the weight at or below it, and the highest value that
    has as much at or above it, so that the range of ``-values`` is the mirror image.

    Args:
        values: Shape ``(n,)``, n at least 1.
        weights: Shape ``(n,)``, sum 1.
        confidence: In (0, 1).
    """
    order = np.lexsort((weights, values))
    tail = (1 - confidence) / 2
    from_below, from_above = np.cumsum(weights[order]), np.cumsum(weights[order][::-1])
    low = np.searchsorted(from_below, tail)
    high = len(values) - 1 - np.searchsorted(from_above, tail)
    return float(values[order[low]]), float(values[order[high]])


def edge_of(low_unit: float, high_unit: float) -> str:
    """The edge that a range touches: ``lower``, ``upper`` or empty.

    It touches an edge if it reaches into the outer :data:`EDGE` of the interval and not into the outer :data:`FAR` at
    the other end. Without the second condition, half of all hyperparameters that do not matter at all are warned of:
    the best draws then lie everywhere, and somewhere near an edge. With it, 4 to 9 % are (simulated, 16 to 256 draws
    of two dimensions), while an error that falls all the way to the edge is found with 73 % at 24 draws and 96 %
    at 64.

    Source: own.
    """
    lower, upper = low_unit <= EDGE, high_unit >= 1 - EDGE
    if upper and low_unit > FAR:
        return "upper"
    return "lower" if lower and high_unit < 1 - FAR else ""


def edge_warnings(regions: pa.Table) -> list[str]:
    """One sentence for each edge in a table of :func:`best_regions`, without a full stop.

    None for fewer than :data:`ENOUGH` draws: the best of a handful lies near an edge by chance.
    """
    return [_warning(row) for row in regions.to_pylist() if row["edge"] and row["n"] >= ENOUGH]


def _region(positions: Positions, arm: str, name: str, confidence: float) -> dict[str, object]:
    own = _with_result(positions, arm, name)
    errors, interval = positions.errors[own], positions.intervals[arm, name]
    row: dict[str, object] = {
        "arm": arm,
        "hyperparameter": name,
        "n": len(own),
        "edge": "",
        "interval_low": interval.low,
        "interval_high": interval.high,
        "inferred": interval.inferred,
    }
    if not np.isfinite(errors).any():
        return row
    weights, best = best_weights(errors), int(np.argmin(errors))
    values, units = positions.values[name][own], positions.units[name][own]
    low, high = weighted_range(values, weights, confidence)
    # Values never decrease in the coordinate, but several coordinates may share a value.
    low_unit, high_unit = weighted_range(units, weights, confidence)
    at_ends = interval.step is not None
    row |= {
        "best": float(values[best]),
        "low": low,
        "high": high,
        "best_unit": float(units[best]),
        "low_unit": low_unit,
        "high_unit": high_unit,
        # The middle of a wide cell is far from 0 and 1, although there is no value beyond.
        "edge": edge_of(
            0.0 if at_ends and low == interval.low else low_unit,
            1.0 if at_ends and high == interval.high else high_unit,
        ),
    }
    return row


def _with_result(positions: Positions, arm: str, name: str) -> npt.NDArray[np.intp]:
    own = positions.having(arm, name)
    return own[positions.known[own]]


def _warning(row: dict[str, object]) -> str:
    ends = (setting(row["interval_low"]), setting(row["interval_high"]))
    bounds = f" of {ends[0]} ... {ends[1]}" if row["interval_low"] is not None else ""
    where = f"{row['edge']} edge of " + ("the values seen" if row["inferred"] else "its interval")
    unit, best = row["best_unit"], setting(row["best"])
    assert isinstance(unit, float)
    end, at_edge = ("interval_high", unit >= 1 - EDGE) if row["edge"] == "upper" else ("interval_low", unit <= EDGE)
    # The highest of a few whole numbers is at the edge, although the middle of its cell is not.
    if at_edge or row["best"] == row[end]:
        verdict = f"lies at the {where} ({best}{bounds})"
    else:
        verdict = f"may lie at the {where} ({best}, range {setting(row['low'])} ... {setting(row['high'])}{bounds})"
    return f"{row['arm']}: the best {row['hyperparameter']} {verdict}; widen it" + (" there" if row["inferred"] else "")
