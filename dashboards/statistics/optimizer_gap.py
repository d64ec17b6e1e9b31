"""Optimizer stability: how far apart two optimizers end on the same model."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dashboards.groups import Rows, errors_of, floats, groups
from dashboards.selection import (
    FIXED,
    LENGTH,
    PEAK,
    REFERENCE,
    STABILITY,
    ArmName,
    Floats,
    arms_of,
    every_arm,
    select_draws,
)
from dashboards.statistics.compare import common_errors
from dashboards.statistics.paired import median, paired_gaps, reached_by_half
from dashboards.statistics.seeds import SeedSpread, seed_gap, seed_spread
from dashboards.tables import hyperparameters_of

CAPTION = (
    "Each row is about the draws on which both optimizers have a result. Best gap: the lowest error of one optimizer's "
    "draws beside the lowest of the other's (the best of n draws, picked on the split it is reported on, so both are "
    "optimistic). Median: the lowest error that half of these draws reach. Median gap: the median of the differences draw by "
    "draw, not the difference of the medians; a diverged draw counts as an infinite error. A positive gap means that the first "
    "optimizer is ahead. Two draws of one pair are the same point of the unit cube, mapped into each optimizer's own ranges."
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

LENGTH_CAPTION = (
    "Mean error over the completed seeds of each optimizer at the arm's given setting, by training length. A positive gap "
    "means that the first optimizer is ahead; its 95 % interval comes from the spread of the seeds. The gap is known only "
    "where every seed of both completed. Where all seeds of an arm diverged, its mean is that of its best shorter training, "
    "as in Figure 3 of arXiv:2106.14881, and the gap has no interval."
)

_SIDE_FIELDS = (
    ("mean", pa.float64()),
    ("n", pa.int64()),
    ("completed", pa.int64()),
    ("diverged", pa.int64()),
    ("missing", pa.int64()),
    ("carried", pa.bool_()),
    ("phase", pa.string()),
)

LENGTH_GAP_SCHEMA = pa.schema(
    [
        pa.field("model", pa.string()),
        pa.field("epochs", pa.int64()),
        pa.field("optimizer_a", pa.string()),
        pa.field("optimizer_b", pa.string()),
        pa.field("gap", pa.float64()),
        pa.field("gap_low", pa.float64()),
        pa.field("gap_high", pa.float64()),
        pa.field("paired", pa.bool_()),
        *(pa.field(f"{name}_{side}", kind) for name, kind in _SIDE_FIELDS for side in "ab"),
    ]
)

_PHASES = (LENGTH, REFERENCE, PEAK)


def optimizer_gap(trials: pa.Table, phase: str = STABILITY) -> pa.Table:
    """One row per model and pair of its optimizers, over the draws on which both have a result.

    Returns:
        A table with :data:`OPTIMIZER_GAP_SCHEMA`, sorted by model and optimizers. Errors in percent, gaps (b - a) in
        points. ``best_*``: lowest error of the ``n`` draws; null where all diverged. ``median_*``: the error that half of
        them reach, diverged as +inf. ``median_gap``: median of the paired differences. Null where ``n`` is 0.

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


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Side:
    """One arm after one number of epochs."""

    errors: Floats
    seeds: Floats
    spread: SeedSpread
    mean: float | None
    """Percent; where ``carried``, that of the best shorter training."""
    carried: bool
    phase: str

    def columns(self, side: str) -> dict[str, Any]:
        counts = {name: getattr(self.spread, name) for name in ("n", "completed", "diverged", "missing")}
        values = {"mean": self.mean, "carried": self.carried, "phase": self.phase, **counts}
        return {f"{name}_{side}": value for name, value in values.items()}


def optimizer_gap_by_length(trials: pa.Table) -> pa.Table:
    """One row per model, training length and pair of its optimizers that both have a given setting trained as long.

    The trials are those with a given setting. An arm's setting at a length is that of its phase ``length``, without one of
    ``reference``, without one of ``peak``; ``phase_a`` and ``phase_b`` say which. Trials of the other phases with the same
    setting and length count too; trials of one seed are then the same training and count once.

    Returns:
        A table with :data:`LENGTH_GAP_SCHEMA`, sorted by model, epochs and optimizers. ``mean_*``: percent, over the
        completed seeds. ``n_*`` seeds asked for, ``completed_*``, ``diverged_*``, ``missing_*``. ``carried_*``: all seeds
        diverged, and ``mean_*`` is the lowest of the arm's shorter trainings. ``gap``: mean of b - mean of a in points, null
        where a seed of either has no result or some but not all diverged. ``gap_low``, ``gap_high``: its 95 % interval,
        from differences seed by seed where ``paired`` (both have the same seeds), else Welch's; null where not known
        or a mean is carried. See :data:`LENGTH_CAPTION`.

    Source: arXiv:2106.14881, section 4 and Figure 3, there with one seed; the intervals are our own.
    """
    mine = trials.filter(
        pc.and_(pc.equal(trials["sampler"], FIXED), pc.is_in(trials["phase"], value_set=pa.array(_PHASES)))
    )
    sides = {name: _sides(mine.filter(pc.equal(mine["arm"], name.arm))) for name in every_arm(mine)}
    rows = []
    for first, second in combinations(sorted(sides, key=lambda arm: (arm.model, arm.optimizer)), 2):
        if first.model == second.model:
            rows += [
                _length_row(first, second, epochs, side, sides[second][epochs])
                for epochs, side in sides[first].items()
                if epochs in sides[second]
            ]
    rows.sort(key=lambda row: (row["model"], row["epochs"], row["optimizer_a"], row["optimizer_b"]))
    return pa.Table.from_pylist(rows, schema=LENGTH_GAP_SCHEMA)


def _sides(trials: pa.Table) -> Mapping[int, _Side]:
    """The trials of one arm by epochs, ascending."""
    errors, seeds = errors_of(trials), floats(trials["seed"])
    phases = np.asarray(trials["phase"].to_pylist(), dtype=object)
    settings: dict[int, dict[tuple[Any, ...], Rows]] = {}
    for (epochs, *setting), rows in groups(trials, ["epochs", *hyperparameters_of(trials)]).items():
        settings.setdefault(epochs, {})[tuple(setting)] = rows
    sides: dict[int, _Side] = {}
    lowest: float | None = None
    for epochs in sorted(settings):
        phase = next(phase for phase in _PHASES if any(phase in phases[rows] for rows in settings[epochs].values()))
        # Within a phase an arm has one setting; should a merged study have two, it is the one with more trials.
        chosen = max(settings[epochs].values(), key=lambda rows: int((phases[rows] == phase).sum()))
        rows = _one_per_seed(chosen[np.isin(phases[chosen], _PHASES)], errors, seeds)
        spread = seed_spread(errors[rows])
        carried = spread.diverged == spread.n and lowest is not None
        mean = lowest if carried else spread.mean
        sides[epochs] = _Side(
            errors=errors[rows], seeds=seeds[rows], spread=spread, mean=mean, carried=carried, phase=phase
        )
        lowest = mean if lowest is None or (mean is not None and mean < lowest) else lowest
    return sides


def _one_per_seed(rows: Rows, errors: Floats, seeds: Floats) -> Rows:
    """One row of each seed, one with a result if there is any; rows whose seed is not known all stay."""
    ordered = rows[np.argsort(np.isnan(errors[rows]), kind="stable")]
    firsts = np.unique(seeds[ordered], return_index=True, equal_nan=False)[1]
    return np.sort(ordered[firsts])


def _length_row(first: ArmName, second: ArmName, epochs: int, a: _Side, b: _Side) -> dict[str, Any]:
    row = {"model": first.model, "epochs": epochs, "optimizer_a": first.optimizer, "optimizer_b": second.optimizer}
    row |= a.columns("a") | b.columns("b")
    if not (a.carried or b.carried):
        found = seed_gap(a.errors, b.errors, a.seeds, b.seeds)
        return row | {"gap": found.gap, "gap_low": found.low, "gap_high": found.high, "paired": found.paired}
    known = all(side.carried or side.spread.completed == side.spread.n for side in (a, b))
    gap = b.mean - a.mean if known and a.mean is not None and b.mean is not None else None
    return row | {"gap": gap, "paired": False}


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
        "median_a": reached_by_half(errors_a) if some else None,
        "median_b": reached_by_half(errors_b) if some else None,
        "median_gap": median(paired_gaps(errors_a, errors_b)) if some else None,
        "n": len(errors_a),
    }


def _best(errors: Floats) -> float | None:
    finite = errors[np.isfinite(errors)]
    return float(finite.min()) if len(finite) else None
