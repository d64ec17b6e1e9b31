"""Arms ranked by the lowest final error among their draws."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dashboards.columns import setting_fields
from dashboards.groups import Rows, errors_of, groups
from dashboards.selection import STABILITY, Floats, stability_trials
from dashboards.statistics.costs import COST_FIELDS, ArmCost, cost_columns
from dashboards.statistics.edf import empirical_distribution
from dashboards.statistics.ranks import Ints, best_of_new_draws, best_ranks
from dashboards.tables import hyperparameters_of

MARGINS = (1, 2, 5)
"""Points above the arm's own best error for which the share of draws within is given."""

RANK_SEED = 0
"""Of the resamples behind the ranges of ranks."""

CAPTION = (
    "Ranked by the lowest final error among an arm's draws: best of n random draws, which is optimistic, "
    "not a seed-averaged peak. The range of a rank holds the ranks that the arm has in 95 % of resamples of the draws; it says "
    "how much the order hangs on single lucky draws, and is no confidence interval."
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
    pa.field("rank_low", pa.int64()),
    pa.field("rank_high", pa.int64()),
    pa.field("ci_low", pa.float64()),
    pa.field("ci_high", pa.float64()),
    *COST_FIELDS,
)


def leaderboard(trials: pa.Table, phase: str = STABILITY, costs: Mapping[str, ArmCost] | None = None) -> pa.Table:
    """One row per arm with non-adaptive trials in ``phase``, best arm first.

    Args:
        trials: The trials table.
        phase: The phase.
        costs: By arm, as in a study's record; without it the columns that need it are null.

    Returns:
        ``rank`` (from 1, arms with equal best errors share it; null without a completed trial), the arm, its counts
        of ledger rows (``draws``), ``best_error`` and ``median_error`` in percent (median over all draws, diverged and
        missing as +inf), ``share_within_K_of_best``: share of all draws at most K points above the arm's own best, and
        the best draw: its number and its hyperparameters, one column each, the last ones
        (:func:`dashboards.columns.setting_fields`). ``rank_low`` to ``rank_high``: see :func:`dashboards.statistics.ranks.best_ranks`.
        ``ci_high``: the error that the best of as many new draws stays at or below with probability 95 %
        (:func:`dashboards.statistics.ranks.best_of_new_draws`), ``inf`` if it may be any; ``ci_low`` is always null, as without
        assumptions there is no bound from below. Last the columns of :func:`dashboards.statistics.costs.cost_columns` over all trials
        of the row. See :data:`CAPTION`.

    Source: own.
    """
    names = hyperparameters_of(trials)
    fields = setting_fields(trials, names, _FIXED_FIELDS)
    mine = stability_trials(trials, phase)
    errors = errors_of(mine)
    keys = mine["key"].combine_chunks()
    arms = groups(mine, ["arm", "model", "optimizer"])
    rows: list[dict[str, Any]] = []
    for (arm, model, optimizer), members in arms.items():
        row = {"arm": arm, "model": model, "optimizer": optimizer} | _error_columns(errors[members])
        best = _best(errors, keys, members)
        if best is not None:
            chosen = mine.select(["draw", *names]).slice(best, 1).to_pylist()[0]
            row["best_draw"] = chosen["draw"]
            row |= {field.name: chosen[name] for field, name in zip(fields, names, strict=True)}
        rows.append(row | cost_columns(mine.take(pa.array(members)), arm, costs))
    _add_ranks(rows, errors, _draw_numbers(mine), list(arms.values()))
    rows.sort(key=lambda row: (row["best_error"] is None, row["best_error"] or 0.0, row["arm"]))
    return pa.Table.from_pylist(rows, schema=pa.schema([*_FIXED_FIELDS, *fields]))


def _error_columns(errors: Floats) -> dict[str, Any]:
    edf = empirical_distribution(
        errors[np.isfinite(errors)],
        diverged=int(np.isposinf(errors).sum()),
        missing=int(np.isnan(errors).sum()),
    )
    row: dict[str, Any] = {
        "draws": edf.n,
        "completed": edf.n_completed,
        "diverged": edf.n_diverged,
        "missing": edf.n_missing,
        "median_error": edf.quantile(0.5),
        "best_error": None,
    }
    if edf.n_completed == 0:
        return row
    best = float(edf.errors[0])
    row |= {f"share_within_{margin}_of_best": edf(best + margin) for margin in MARGINS}
    return row | {"best_error": best, "ci_high": best_of_new_draws(errors)}


def _best(errors: Floats, keys: pa.Array, members: Rows) -> int | None:
    """The row of the lowest error, the first by key among equals."""
    mine = errors[members]
    if not np.isfinite(mine).any():
        return None
    equal = members[mine == np.min(mine[np.isfinite(mine)])]
    return int(min(equal, key=lambda row: str(keys[int(row)].as_py())))


def _draw_numbers(trials: pa.Table) -> Ints:
    """A number for each ``draw/replicate``: the same point of the unit cube in every arm."""
    names = pc.replace_substring_regex(trials["key"], r"^.*/([^/]*/[^/]*)$", r"\1").combine_chunks()
    encoded = names.dictionary_encode()
    # In the order of the names, so that the order of the rows does not change which draw a resample takes.
    places = np.argsort(pc.array_sort_indices(encoded.dictionary).to_numpy())
    return np.asarray(places[encoded.indices.to_numpy()], dtype=np.int64)


def _add_ranks(rows: list[dict[str, Any]], errors: Floats, draws: Ints, arms: list[Rows]) -> None:
    generator = np.random.default_rng(RANK_SEED)
    # By name, so that the order of the table's rows does not change what the resamples say.
    order = sorted(range(len(rows)), key=lambda place: str(rows[place]["arm"]))
    members = [arms[place] for place in order]
    ranges = best_ranks([errors[each] for each in members], [draws[each] for each in members], generator)
    for place, found in zip(order, ranges, strict=True):
        rows[place] |= {"rank": found.rank, "rank_low": found.low, "rank_high": found.high}
