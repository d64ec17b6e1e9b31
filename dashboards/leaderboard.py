"""Arms ranked by the lowest final error among their draws."""

import pyarrow as pa
import pyarrow.compute as pc

from dashboards.edf import arm_edf
from dashboards.selection import STABILITY, ArmName, arms_of, stability_trials
from dashboards.tables import hyperparameters_of

MARGINS = (1, 2, 5)
"""Points above the arm's own best error for which the share of draws within is given."""

CAPTION = (
    "Ranked by the lowest final error among an arm's draws: best of n random draws, which is optimistic, "
    "not a seed-averaged peak."
)

_FIXED_FIELDS = (
    pa.field("rank", pa.int64()),
    pa.field("arm", pa.string()),
    pa.field("model", pa.string()),
    pa.field("optimizer", pa.string()),
    pa.field("draws", pa.int64()),
    pa.field("completed", pa.int64()),
    pa.field("diverged", pa.int64()),
    pa.field("missing", pa.int64()),
    pa.field("best_error", pa.float64()),
    pa.field("median_error", pa.float64()),
    *(pa.field(f"share_within_{margin}_of_best", pa.float64()) for margin in MARGINS),
    pa.field("best_draw", pa.int64()),
)


def leaderboard(trials: pa.Table, phase: str = STABILITY) -> pa.Table:
    """One row per arm with non-adaptive trials in ``phase``, best arm first.

    Returns:
        ``rank`` (from 1, arms with equal best errors share it; null without a completed trial), the arm, its counts
        of ledger rows (``draws``), ``best_error`` and ``median_error`` in percent (median over all draws, diverged and
        missing as +inf), ``share_within_K_of_best``: share of all draws at most K points above the arm's own best, and
        the best draw: its number and its hyperparameters, one column each. See :data:`CAPTION`.

    Source: own.
    """
    names = hyperparameters_of(trials)
    rows = [_row(trials, name, phase, names) for name in arms_of(trials, phase)]
    rows.sort(key=lambda row: (row["best_error"] is None, row["best_error"] or 0.0, row["arm"]))
    bests = [row["best_error"] for row in rows]
    for row in rows:
        row["rank"] = None if row["best_error"] is None else bests.index(row["best_error"]) + 1
    return pa.Table.from_pylist(
        rows, schema=pa.schema([*_FIXED_FIELDS, *(trials.schema.field(name) for name in names)])
    )


def _row(trials: pa.Table, name: ArmName, phase: str, hyperparameters: list[str]) -> dict[str, object]:
    edf = arm_edf(trials, name.arm, phase)
    row: dict[str, object] = {
        "arm": name.arm,
        "model": name.model,
        "optimizer": name.optimizer,
        "draws": edf.n,
        "completed": edf.n_completed,
        "diverged": edf.n_diverged,
        "missing": edf.n_missing,
        "median_error": edf.quantile(0.5),
    }
    if edf.n_completed == 0:
        return row | {"best_error": None}
    best = float(edf.errors[0])
    row |= {"best_error": best} | {f"share_within_{margin}_of_best": edf(best + margin) for margin in MARGINS}
    return row | _best_draw(trials, name.arm, phase, hyperparameters)


def _best_draw(trials: pa.Table, arm: str, phase: str, hyperparameters: list[str]) -> dict[str, object]:
    rows = stability_trials(trials, phase)
    rows = rows.filter(pc.and_(pc.equal(rows["arm"], arm), pc.equal(rows["status"], "completed")))
    best = rows.sort_by([("error", "ascending"), ("key", "ascending")]).slice(0, 1).to_pylist()[0]
    return {"best_draw": best["draw"]} | {name: best[name] for name in hyperparameters}
