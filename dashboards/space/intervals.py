"""The interval that a hyperparameter was drawn from, known from coordinates and values, or guessed from values."""

from dataclasses import dataclass

import numpy as np

from dashboards.selection import Floats

LOG, LINEAR, INTEGER, CATEGORICAL = "log", "linear", "integer", "categorical"
"""Kinds of hyperparameters: floats on a log or linear scale, whole numbers, and choices without an order."""

LOG_RATIO = 50.0
"""Where nothing else tells, positive values are on a log scale if the largest is at least this many times the
smallest."""

_RELATIVE = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """Where one arm draws one hyperparameter from, as far as it can be known."""

    kind: str
    """:data:`LOG`, :data:`LINEAR`, :data:`INTEGER` or :data:`CATEGORICAL`."""
    logarithmic: bool = False
    """Whether equal steps of the coordinate are equal ratios of the value."""
    low: float | None = None
    """The lowest value, in the hyperparameter's own unit; ``None`` where it cannot be known, and of choices."""
    high: float | None = None
    """The highest value; known where ``low`` is."""
    step: float | None = None
    """Between neighbouring values; ``None`` of a continuous one, or where it is not known."""
    choices: tuple[object, ...] = ()
    """Of choices: the values seen, sorted."""
    inferred: bool = False
    """Whether no coordinates are known: then the ends are the lowest and highest value seen, the scale is guessed."""

    @property
    def numeric(self) -> bool:
        """Whether its values have an order."""
        return self.kind != CATEGORICAL

    def unit_of(self, values: Floats) -> Floats:
        """Coordinates of values in [0, 1]; of one with steps, the middle of the value's cell.

        Raises:
            ValueError: If the ends are not known.
        """
        low, _ = self._ends()
        if self.step is None:
            return np.clip(self._scaled(values), 0.0, 1.0)
        # Rounding may not move a value into the next cell.
        values = low + self.step * np.round((values - low) / self.step)
        middle: Floats = (self._scaled(values) + self._scaled(values + self.step)) / 2
        return middle

    def value_of(self, units: Floats) -> Floats:
        """Values at coordinates, the inverse of :meth:`unit_of`; of one with steps, cells end half-way between values.

        Raises:
            ValueError: If the ends are not known.
        """
        low, high = self._ends()
        half = 0.0 if self.step is None else self.step / 2
        if self.logarithmic:
            between = np.exp(np.log(low) + units * (np.log(high) - np.log(low)))
        else:
            between = low + units * (high - low)
        # A logarithm and back is not exact: the ends shall be the ends.
        return np.where(units <= 0, low, np.where(units >= 1, high, between)) - half

    def _ends(self) -> tuple[float, float]:
        """Ends of what the coordinate covers: with steps, the cell of the highest value too."""
        if self.low is None or self.high is None:
            raise ValueError("The interval's ends are not known; use the coordinates that were recorded.")
        return self.low, self.high + (self.step or 0.0)

    def _scaled(self, values: Floats) -> Floats:
        low, high = self._ends()
        ends = np.array([low, high])
        if self.logarithmic:
            values, ends = np.log(values), np.log(ends)
        scaled: Floats = (values - ends[0]) / (ends[1] - ends[0])
        return scaled


def recovered(units: Floats, values: Floats, *, whole: bool) -> Interval | None:
    """The interval of which ``values`` are the values at ``units``; its ends only where they reproduce every value.

    Continuous scales are fitted through the outermost two points, steps and ends of others are those of the values
    seen. Whatever else it is, a distribution's values never decrease in the coordinate; those of choices may.

    Args:
        units: Coordinates in [0, 1], shape ``(trials,)``.
        values: Finite values as drawn, shape ``(trials,)``.
        whole: Whether they are whole numbers.

    Returns:
        ``None`` where all values are equal: then it is no dimension.

    Source: own.
    """
    distinct = np.unique(values)
    if len(distinct) < 2:
        return None
    order = np.argsort(units, kind="stable")
    units, values = units[order], values[order]
    if (np.diff(values) < 0).any():
        return Interval(kind=CATEGORICAL, choices=tuple(distinct.tolist()))
    found = _with_grid_of_steps(units, distinct, values) if whole else _continuous(units, values, distinct)
    # Two draws with two values would fit many a step: only equal values of unequal coordinates show that there are any.
    if found is None and len(np.unique(units)) > len(distinct):
        found = _with_steps(units, values, distinct, whole=whole) or _choice(units, values, distinct)
    return found or Interval(kind=_kind(values, whole=whole), logarithmic=looks_logarithmic(values))


def inferred(values: Floats, *, whole: bool) -> Interval | None:
    """The interval from the lowest to the highest of ``values``, its scale guessed by :func:`looks_logarithmic`.

    Args:
        values: Finite values, shape ``(trials,)``.
        whole: Whether they are whole numbers.

    Returns:
        ``None`` where all values are equal: then it is no dimension.
    """
    if len(values) == 0 or values.min() == values.max():
        return None
    return Interval(
        kind=_kind(values, whole=whole),
        logarithmic=looks_logarithmic(values),
        low=float(values.min()),
        high=float(values.max()),
        inferred=True,
    )


def looks_logarithmic(values: Floats) -> bool:
    """Whether all values are positive and the largest is at least :data:`LOG_RATIO` times the smallest. Source: own."""
    return bool(len(values)) and bool(values.min() > 0) and bool(values.max() >= LOG_RATIO * values.min())


def _kind(values: Floats, *, whole: bool) -> str:
    return INTEGER if whole else LOG if looks_logarithmic(values) else LINEAR


def _continuous(units: Floats, values: Floats, distinct: Floats) -> Interval | None:
    # Through two points goes every scale.
    if len(distinct) < 3:
        return None
    width = units[-1] - units[0]
    for kind in (LOG, LINEAR) if distinct[0] > 0 else (LINEAR,):
        shown = np.log(values) if kind == LOG else values
        slope = (shown[-1] - shown[0]) / width
        line = shown[0] + slope * (units - units[0])
        ends = np.array([shown[0] - slope * units[0], shown[0] + slope * (1 - units[0])])
        if np.abs(line - shown).max() <= _RELATIVE * (ends[1] - ends[0]):
            low, high = _tidy(np.exp(ends)) if kind == LOG else _tidy(ends)
            return Interval(kind=kind, logarithmic=kind == LOG, low=low, high=high)
    return None


def _tidy(ends: Floats) -> tuple[float, float]:
    """Both ends without the noise of the fit's last digits: 0.1, not 0.10000000000000002."""
    low, high = (float(f"{end:.10g}") for end in ends)
    return (0.0 if abs(low) < 1e-9 * abs(high) and low <= 0 else low), high


def _with_grid_of_steps(units: Floats, distinct: Floats, values: Floats) -> Interval | None:
    """Whole numbers of a grid: each value has one coordinate, the middle of its cell."""
    if len(distinct) < 3 or len(np.unique(units)) != len(distinct):
        return None
    line = np.interp(units, [units[0], units[-1]], [distinct[0], distinct[-1]])
    step = float(distinct[1] - distinct[0])
    half = step / (distinct[-1] - distinct[0] + step) / 2
    on_line = np.abs(line - values).max() <= _RELATIVE * step
    if not on_line or abs(units[0] - half) > _RELATIVE or abs(1 - units[-1] - half) > _RELATIVE:
        return None
    return Interval(kind=INTEGER, low=float(distinct[0]), high=float(distinct[-1]), step=step)


def _with_steps(units: Floats, values: Floats, distinct: Floats, *, whole: bool) -> Interval | None:
    low, high = float(distinct[0]), float(distinct[-1])
    step = float(np.diff(distinct).min())
    count = round((high - low) / step) + 1
    cells = np.minimum(np.floor(units * count), count - 1)
    if np.abs(low + step * cells - values).max() <= _RELATIVE * step:
        return Interval(kind=INTEGER if whole else LINEAR, low=low, high=high, step=step)
    if whole and low >= 1:
        between = np.exp(np.log(low) + units * (np.log(high + step) - np.log(low)))
        cells = np.clip(np.floor((between - low) / step + 1e-9), 0, count - 1)
        if np.array_equal(low + step * cells, values):
            return Interval(kind=INTEGER, logarithmic=True, low=low, high=high, step=step)
    return None


def _choice(units: Floats, values: Floats, distinct: Floats) -> Interval | None:
    """Numbers that were listed: as many equal cells as values, each with one value."""
    cells = np.minimum(np.floor(units * len(distinct)), len(distinct) - 1).astype(np.intp)
    if not np.array_equal(distinct[cells], values):
        return None
    return Interval(kind=CATEGORICAL, choices=tuple(distinct.tolist()))
