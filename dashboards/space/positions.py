"""Where the non-adaptive trials lie in the space of their arm: what the diagnostics of a space are computed from."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dashboards.selection import STABILITY, Floats, errors_with_diverged, stability_trials
from dashboards.space.intervals import CATEGORICAL, LOG_RATIO, Interval, inferred, recovered
from dashboards.tables import hyperparameters_of
from dashboards.tracking.study import StudyRecord


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Positions:
    """The non-adaptive trials of one phase; arrays have one entry a trial, by key."""

    arms: npt.NDArray[np.str_]
    keys: npt.NDArray[np.str_]
    draws: npt.NDArray[np.int64]
    """Number of the draw; -1 where it has none."""
    errors: Floats
    """Final error, percent; ``+inf`` where the trial diverged, ``nan`` where there is no result (yet)."""
    names: tuple[str, ...]
    """Hyperparameters that vary in at least one arm, in the order of the search space."""
    units: Mapping[str, Floats]
    """By name: the coordinate in [0, 1]; ``nan`` where the trial does not have the hyperparameter or its arm does not
    vary it. Of choices and of whole numbers with known steps it is the middle of the value's cell."""
    values: Mapping[str, npt.NDArray[Any]]
    """By name: the value as drawn; a float array with ``nan``, or of texts and truth values an object array with
    ``None``, where the trial does not have the hyperparameter."""
    kinds: Mapping[str, str]
    """By name: ``log``, ``linear``, ``integer`` or ``categorical``; the most frequent, where arms differ."""
    inferred: frozenset[str]
    """Hyperparameters without recorded coordinates in at least one arm: ends and scale come from the values seen."""
    intervals: Mapping[tuple[str, str], Interval]
    """By arm and name, for each hyperparameter that the arm varies."""

    @property
    def arm_names(self) -> list[str]:
        """The arms, sorted."""
        return [str(arm) for arm in np.unique(self.arms)]

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """Which trials have a result: completed or diverged."""
        return ~np.isnan(self.errors)

    def dimensions(self, arm: str, *, numeric: bool = False) -> list[str]:
        """The hyperparameters that ``arm`` varies, in the order of the space; ``numeric``: those with an order alone.

        Raises:
            ValueError: If there is no such arm; names those that there are.
        """
        if not (self.arms == arm).any():
            known = ", ".join(self.arm_names) or "none"
            raise ValueError(f"No arm {arm!r} with non-adaptive trials; arms that have: {known}.")
        own = [name for name in self.names if (arm, name) in self.intervals]
        return [name for name in own if self.intervals[arm, name].numeric] if numeric else own

    def having(self, arm: str, name: str) -> npt.NDArray[np.intp]:
        """Places of the trials of ``arm`` that have the hyperparameter, with a result or not."""
        return np.flatnonzero((self.arms == arm) & ~np.isnan(self.units[name]))

    def choice_numbers(self, arm: str, name: str) -> npt.NDArray[np.intp]:
        """The place of each trial's choice among those of ``arm``, -1 where a trial has none; those of other arms mean nothing."""
        count = len(self.intervals[arm, name].choices)
        return np.nan_to_num(np.floor(self.units[name] * count), nan=-1.0).astype(np.intp)


def positions(record: StudyRecord, phase: str = STABILITY) -> Positions:
    """The positions of the non-adaptive trials of ``phase``.

    Coordinates are those that the study recorded. Where there are none (results of another tool), they come from the
    values: from the lowest to the highest that the arm has, on a log scale if all are positive and the largest is at
    least 50 times the smallest.

    Source: own.
    """
    names = hyperparameters_of(record.trials)
    rows = stability_trials(record.trials, phase).sort_by("key")
    arms = _texts(rows["arm"])
    places = {str(arm): np.flatnonzero(arms == arm) for arm in np.unique(arms)}
    units: dict[str, Floats] = {}
    values: dict[str, npt.NDArray[Any]] = {}
    intervals: dict[tuple[str, str], Interval] = {}
    for name in names:
        column = _values(rows[name])
        recorded = _recorded_units(rows["key"], record.units, name)
        coordinates = np.full(len(column), np.nan)
        whole = pa.types.is_integer(rows[name].type)
        for arm, own in places.items():
            interval, coordinates[own] = _place(recorded[own], column[own], whole=whole)
            if interval is not None:
                intervals[arm, name] = interval
        if any((arm, name) in intervals for arm in places):
            units[name], values[name] = coordinates, column
    return Positions(
        arms=arms,
        keys=_texts(rows["key"]),
        draws=rows["draw"].fill_null(-1).to_numpy().astype(np.int64),
        errors=errors_with_diverged(rows["status"].to_pylist(), rows["error"].to_pylist()),
        names=tuple(units),
        units=units,
        values=values,
        kinds={name: _common_kind(intervals, name) for name in units},
        inferred=frozenset(name for (_, name), interval in intervals.items() if interval.inferred),
        intervals=intervals,
    )


def inferred_in_words(positions: Positions) -> str:
    """What was inferred, for a caption, without a full stop; empty if nothing was."""
    if not positions.inferred:
        return ""
    names = ", ".join(name for name in positions.names if name in positions.inferred)
    return (
        f"the intervals of {names} are not recorded and taken from the values seen, on a log scale where all are "
        f"positive and the largest is at least {LOG_RATIO:.0f} times the smallest"
    )


def _texts(column: pa.ChunkedArray) -> npt.NDArray[np.str_]:
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.str_)


def _values(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """Floats, ``nan`` where null or not finite; of texts and truth values objects, ``None`` where null."""
    types = pa.types
    if types.is_floating(column.type) or types.is_integer(column.type) or types.is_null(column.type):
        numbers = np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
        return np.where(np.isfinite(numbers), numbers, np.nan)
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=object)


def _recorded_units(keys: pa.ChunkedArray, units: pa.Table, name: str) -> Floats:
    if name not in units.column_names or units.num_rows == 0:
        return np.full(len(keys), np.nan)
    found = units[name].take(pc.index_in(keys, value_set=units["key"].combine_chunks()))
    return np.asarray(found.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def _place(recorded: Floats, values: npt.NDArray[Any], *, whole: bool) -> tuple[Interval | None, Floats]:
    """The interval of one arm's values and the coordinate of each; no interval where the values do not vary."""
    if values.dtype == object:
        return _place_choices(values)
    has, nowhere = ~np.isnan(values), np.full(len(values), np.nan)
    interval = _interval(recorded[has], values[has], whole=whole)
    if interval is None:
        return None, nowhere
    if interval.kind == CATEGORICAL:
        return interval, _cells(values, has, interval)
    if interval.low is None or (not interval.inferred and interval.step is None and not np.isnan(recorded[has]).any()):
        return interval, np.where(has, recorded, np.nan)
    coordinates = nowhere
    coordinates[has] = interval.unit_of(values[has])
    return interval, coordinates


def _interval(units: Floats, values: Floats, *, whole: bool) -> Interval | None:
    recorded = ~np.isnan(units)
    if not recorded.any():
        return inferred(values, whole=whole)
    found = recovered(units[recorded], values[recorded], whole=whole)
    if recorded.all() or found is None or found.kind == CATEGORICAL:
        # Values without a coordinate may hold more choices, or vary where the others do not.
        return found if recorded.all() else inferred(values, whole=whole)
    # Results of two tools in one arm: those without coordinates take part if they lie in the interval of the others.
    inside = (
        found.low is not None and found.high is not None and values.min() >= found.low and values.max() <= found.high
    )
    return found if inside else inferred(values, whole=whole)


def _place_choices(values: npt.NDArray[Any]) -> tuple[Interval | None, Floats]:
    has = np.array([value is not None for value in values.tolist()], dtype=np.bool_)
    choices = sorted(set(values[has].tolist()))
    if len(choices) < 2:
        return None, np.full(len(values), np.nan)
    interval = Interval(kind=CATEGORICAL, choices=tuple(choices))
    return interval, _cells(values, has, interval)


def _cells(values: npt.NDArray[Any], has: npt.NDArray[np.bool_], interval: Interval) -> Floats:
    units = np.full(len(values), np.nan)
    choices = np.array(interval.choices)
    units[has] = (np.searchsorted(choices, values[has].astype(choices.dtype)) + 0.5) / len(choices)
    return units


def _common_kind(intervals: Mapping[tuple[str, str], Interval], name: str) -> str:
    kinds = Counter(interval.kind for (_, own), interval in sorted(intervals.items(), key=_first) if own == name)
    return kinds.most_common(1)[0][0]


def _first(item: tuple[tuple[str, str], Interval]) -> tuple[str, str]:
    return item[0]
