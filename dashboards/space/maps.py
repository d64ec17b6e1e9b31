"""How error and divergence change over two hyperparameters at once: a map of cells."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dashboards.figures.points import LEARNING_RATE, WEIGHT_DECAY
from dashboards.selection import Floats
from dashboards.space.bins import bin_numbers, bins_of, edge_values
from dashboards.space.positions import Positions

CAPTION = (
    "Median final error of the trials in each cell; cells are of equal width on the hyperparameters' scales. A "
    "diverged trial is worse than any error, so the median is infinite where half of a cell or more diverged. "
    "Trials without a result are left out; empty cells have none."
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SettingMap:
    """Trials of one arm by two hyperparameters; grids have a row per bin of ``y`` and a column per bin of ``x``."""

    arm: str
    x: str
    """Name of the hyperparameter along the columns."""
    y: str
    x_edges: Floats
    """Edges of the columns in the unit of ``x``, shape ``(columns + 1,)``."""
    y_edges: Floats
    """Edges of the rows in the unit of ``y``, shape ``(rows + 1,)``."""
    x_unit_edges: Floats
    """The same as coordinates in [0, 1]."""
    y_unit_edges: Floats
    x_logarithmic: bool
    """Whether ``x`` belongs on a logarithmic axis."""
    y_logarithmic: bool
    n: npt.NDArray[np.int64]
    """Trials with a result, shape ``(rows, columns)``."""
    diverged: npt.NDArray[np.int64]
    missing: npt.NDArray[np.int64]
    """Trials without a result; not in ``n``."""
    median: Floats
    """Median error, percent; ``+inf`` where half or more diverged, ``nan`` where ``n`` is 0."""

    @property
    def diverged_share(self) -> Floats:
        """Share of diverged trials among those with a result; ``nan`` where there are none."""
        return np.where(self.n > 0, self.diverged / np.maximum(self.n, 1), np.nan)


def setting_map(
    positions: Positions, arm: str, x: str = LEARNING_RATE, y: str = WEIGHT_DECAY, bins: int = 6
) -> SettingMap:
    """The trials of ``arm`` in ``bins`` times ``bins`` cells, of those that have both hyperparameters.

    Raises:
        ValueError: If the arm does not vary ``x`` or ``y``, they are one, one of them has no order, or ``bins`` is
            below 1.

    Source: own, after the scatters of arXiv:2106.14881, Figures 4 and 5.
    """
    numeric = positions.dimensions(arm, numeric=True)
    for name in (x, y):
        if name not in numeric:
            known = ", ".join(numeric) or "none"
            raise ValueError(f"{arm} does not vary {name!r} as a number; hyperparameters that it does: {known}.")
    if x == y:
        raise ValueError(f"A map needs two hyperparameters; got {x!r} twice.")
    if bins < 1:
        raise ValueError(f"bins: got {bins}, expected at least 1.")
    own = np.intersect1d(positions.having(arm, x), positions.having(arm, y), assume_unique=True)
    columns, rows = (bins_of(positions, arm, name, bins) for name in (x, y))
    x_unit_edges, y_unit_edges = (np.linspace(0.0, 1.0, count + 1) for count in (columns, rows))
    errors = positions.errors[own]
    has_result = ~np.isnan(errors)
    cells = bin_numbers(positions.units[y][own], rows) * columns + bin_numbers(positions.units[x][own], columns)

    def count(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        return np.bincount(cells[mask], minlength=rows * columns).reshape(rows, columns)

    return SettingMap(
        arm=arm,
        x=x,
        y=y,
        x_edges=edge_values(positions, arm, x, x_unit_edges),
        y_edges=edge_values(positions, arm, y, y_unit_edges),
        x_unit_edges=x_unit_edges,
        y_unit_edges=y_unit_edges,
        x_logarithmic=positions.intervals[arm, x].logarithmic,
        y_logarithmic=positions.intervals[arm, y].logarithmic,
        n=count(has_result),
        diverged=count(np.isposinf(errors)),
        missing=count(~has_result),
        median=medians(cells[has_result], errors[has_result], rows * columns).reshape(rows, columns),
    )


def maps_available(positions: Positions) -> dict[str, tuple[str, str]]:
    """The two hyperparameters that a map of each arm has: lr and weight decay, else the first two with an order.

    Arms that vary fewer than two are left out.
    """
    axes: dict[str, tuple[str, str]] = {}
    for arm in positions.arm_names:
        numeric = positions.dimensions(arm, numeric=True)
        if LEARNING_RATE in numeric and WEIGHT_DECAY in numeric:
            axes[arm] = (LEARNING_RATE, WEIGHT_DECAY)
        elif len(numeric) >= 2:
            axes[arm] = (numeric[0], numeric[1])
    return axes


def medians(cells: npt.NDArray[np.intp], errors: Floats, count: int) -> Floats:
    """The median error of each cell, infinite ones included; ``nan`` of an empty cell.

    Args:
        cells: Number of the cell of each trial, shape ``(trials,)``.
        errors: Percent, ``+inf`` where diverged, shape ``(trials,)``.
        count: How many cells there are.
    """
    ordered = errors[np.lexsort((errors, cells))]
    n = np.bincount(cells, minlength=count)
    start, filled = np.cumsum(n) - n, n > 0
    found = np.full(count, np.nan)
    low, high = (start + (n - 1) // 2)[filled], (start + n // 2)[filled]
    found[filled] = (ordered[low] + ordered[high]) / 2
    return found
