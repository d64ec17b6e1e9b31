"""Bins of equal width on a hyperparameter's scale."""

import numpy as np
import numpy.typing as npt

from dashboards.selection import Floats
from dashboards.space.positions import Positions


def bins_of(positions: Positions, arm: str, name: str, bins: int) -> int:
    """``bins``, or the number of choices, or of values where steps make no more of them than ``bins``."""
    interval = positions.intervals[arm, name]
    if not interval.numeric:
        return len(interval.choices)
    if interval.step is None or interval.low is None or interval.high is None or interval.logarithmic:
        return bins
    return min(bins, round((interval.high - interval.low) / interval.step) + 1)


def bin_numbers(units: Floats, bins: int) -> npt.NDArray[np.intp]:
    """The bin of each coordinate, of ``bins`` equal ones of [0, 1]; 1 lies in the last."""
    return np.minimum((units * bins).astype(np.intp), bins - 1)


def edge_values(positions: Positions, arm: str, name: str, edges: Floats) -> Floats:
    """Values at coordinates, in the hyperparameter's own unit.

    Where the interval's ends are not known, they are interpolated between the trials, and those outside are the
    lowest or highest value seen: a value never decreases in its coordinate.
    """
    interval = positions.intervals[arm, name]
    if interval.low is not None:
        return interval.value_of(edges)
    own = positions.having(arm, name)
    units, values = positions.units[name][own], positions.values[name][own]
    order = np.lexsort((values, units))
    return np.asarray(np.interp(edges, units[order], values[order]), dtype=np.float64)
