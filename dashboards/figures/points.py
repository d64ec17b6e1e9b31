"""What a scatter of errors over hyperparameters shows: the positions, computed here and drawn in ``figures``."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dashboards.selection import STABILITY, Floats, errors_with_diverged, stability_trials
from dashboards.tables import hyperparameters_of

LEARNING_RATE, WEIGHT_DECAY = "lr", "weight_decay"
MAX_PANELS = 3


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Panel:
    """One horizontal axis of the scatter."""

    title: str
    values: Floats
    """One per trial, ``nan`` where the trial's arm does not have the hyperparameter; shape ``(trials,)``."""
    logarithmic: bool


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ScatterPoints:
    """The trials with a result (completed or diverged), as arrays of one entry a trial."""

    arms: tuple[str, ...]
    draws: npt.NDArray[np.int64]
    errors: Floats
    """Final error, percent; ``+inf`` where diverged."""
    panels: tuple[Panel, ...]
    """lr, weight_decay and their product where the study has both; else its first numeric hyperparameters."""

    @property
    def ceiling(self) -> float:
        """Where diverged trials are drawn: a little above the highest error, percent."""
        finite = self.errors[np.isfinite(self.errors)]
        return float(finite.max() + 0.08 * max(finite.max() - finite.min(), 1.0)) if len(finite) else 100.0

    @property
    def floor(self) -> float:
        """Where the lines at the best settings end: a little below the lowest error, percent."""
        finite = self.errors[np.isfinite(self.errors)]
        return float(finite.min() - 0.05 * max(finite.max() - finite.min(), 1.0)) if len(finite) else 0.0

    def of(self, arms: Collection[str]) -> "ScatterPoints":
        """The points of some arms alone."""
        mask = np.array([arm in arms for arm in self.arms], dtype=bool)
        return ScatterPoints(
            arms=tuple(arm for arm in self.arms if arm in arms),
            draws=self.draws[mask],
            errors=self.errors[mask],
            panels=tuple(replace(panel, values=panel.values[mask]) for panel in self.panels),
        )


def scatter_points(trials: pa.Table, phase: str = STABILITY) -> ScatterPoints:
    """Positions of the non-adaptive trials of ``phase`` that completed or diverged.

    Source: the panels are those of the top rows of Figures 4 and 5 of arXiv:2106.14881.
    """
    rows = stability_trials(trials, phase)
    errors = errors_with_diverged(rows["status"].to_pylist(), rows["error"].to_pylist())
    rows, errors = rows.filter(pa.array(~np.isnan(errors))), errors[~np.isnan(errors)]
    return ScatterPoints(
        arms=tuple(rows["arm"].to_pylist()),
        draws=rows["draw"].to_numpy(),
        errors=errors,
        panels=tuple(_panels(rows, hyperparameters_of(trials))),
    )


def _panels(rows: pa.Table, names: Sequence[str]) -> list[Panel]:
    types = pa.types
    numeric = [name for name in names if types.is_floating(rows[name].type) or types.is_integer(rows[name].type)]
    values = {name: rows[name].cast(pa.float64()).to_numpy().astype(np.float64) for name in numeric}
    if LEARNING_RATE in values and WEIGHT_DECAY in values:
        product = values[LEARNING_RATE] * values[WEIGHT_DECAY]
        return [
            _panel("lr", values[LEARNING_RATE]),
            _panel("weight decay", values[WEIGHT_DECAY]),
            _panel("lr × weight decay", product),
        ]
    return [_panel(name, values[name]) for name in numeric[:MAX_PANELS]]


def _panel(title: str, values: Floats) -> Panel:
    known = values[np.isfinite(values)]
    return Panel(title=title, values=values, logarithmic=bool(len(known) > 0 and (known > 0).all()))
