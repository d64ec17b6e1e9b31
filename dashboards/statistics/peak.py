"""The leaderboard of phase ``peak``: arms by their mean error over seeds at one given setting each."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dashboards.columns import setting_fields
from dashboards.groups import errors_of, groups
from dashboards.selection import PEAK, Floats
from dashboards.statistics.costs import COST_FIELDS, ArmCost, cost_columns
from dashboards.statistics.lengths import SEEDS_FIELDS, spread_columns
from dashboards.statistics.ranks import mean_ranks
from dashboards.statistics.seeds import seed_spread
from dashboards.tables import hyperparameters_of

CAPTION = (
    "One given setting per arm, trained with several seeds. Mean, lowest and highest final error in percent are over the "
    "seeds that completed; seeds that diverged or are missing are in no mean, which makes the rest look better. The interval "
    "of the mean is a 95 % t interval. The rank is by the mean among the arms trained as long; each rank interval "
    "holds with 95 % by itself. It is wide where an arm has few seeds: one seed separates nothing."
)

PUBLISHED_CAPTION = "Published rows are results of others, on their data and hardware; no rank counts them."

_FIXED_FIELDS = (
    pa.field("arm", pa.string()),
    pa.field("model", pa.string()),
    pa.field("optimizer", pa.string()),
    pa.field("epochs", pa.int64()),
    *SEEDS_FIELDS,
    pa.field("rank", pa.int64()),
    pa.field("rank_low", pa.int64()),
    pa.field("rank_high", pa.int64()),
    *COST_FIELDS,
    pa.field("published", pa.bool_()),
)


def peak(trials: pa.Table, costs: Mapping[str, ArmCost] | None = None, published: bool = False) -> pa.Table:
    """One row per arm and training length of phase ``peak``: the longest training first, then by mean error.

    Args:
        trials: The trials table.
        costs: By arm, as in a study's record; without it the columns that need it are null.
        published: Whether to add the published results of :func:`dashboards.statistics.published.published_peak` that were trained
            on the one dataset alone.

    Returns:
        The arm, its ``epochs``, counts of its seeds, ``mean_error``, ``lowest_error`` and ``highest_error`` over the
        completed seeds in percent (null, and last, where none completed), ``std_error`` of the mean and its 95 % interval
        ``ci_low`` to ``ci_high``, ``rank`` among the arms of equal ``epochs`` with its interval ``rank_low`` to ``rank_high``
        (:func:`dashboards.statistics.ranks.mean_ranks`), the columns of :func:`dashboards.statistics.costs.cost_columns`, ``published``, and the
        hyperparameters, one column each (:func:`dashboards.columns.setting_fields`). Rows that are ``published`` have the
        model's name and the source as ``arm``, ``epochs``, ``mean_error``, ``parameters``, ``flops`` and
        ``activations``; all else is null, ranks and counts of seeds too. See :data:`CAPTION`.

    Source: arXiv:2106.14881, Table 2 (peak performance); the spread over seeds and the ranks are our own.
    """
    names = hyperparameters_of(trials)
    fields = setting_fields(trials, names, _FIXED_FIELDS)
    mine = trials.filter(pc.equal(trials["phase"], PEAK))
    errors = errors_of(mine)
    shared = mine.select(["arm", "model", "optimizer", "epochs", *names])
    shared = shared.rename_columns([*shared.column_names[:4], *(field.name for field in fields)])
    rows = []
    seeds: list[Floats] = []
    for (arm, _), members in groups(mine, ["arm", "epochs"]).items():
        row = shared.slice(int(members[0]), 1).to_pylist()[0] | spread_columns(seed_spread(errors[members]))
        rows.append(row | cost_columns(mine.take(pa.array(members)), arm, costs) | {"published": False})
        seeds.append(errors[members])
    _add_ranks(rows, seeds)
    rows += _published_rows() if published else []
    rows.sort(key=lambda row: (-(row["epochs"] or 0), row["mean_error"] is None, row["mean_error"] or 0.0, row["arm"]))
    return pa.Table.from_pylist(rows, schema=pa.schema([*_FIXED_FIELDS, *fields]))


def _add_ranks(rows: list[dict[str, Any]], seeds: list[Floats]) -> None:
    for epochs in {row["epochs"] for row in rows}:
        places = [place for place, row in enumerate(rows) if row["epochs"] == epochs]
        for place, found in zip(places, mean_ranks([seeds[place] for place in places]), strict=True):
            rows[place] |= {"rank": found.rank, "rank_low": found.low, "rank_high": found.high}


def _published_rows() -> list[dict[str, Any]]:
    from dashboards.statistics.published import SOURCE, published_peak

    columns = ("model", "epochs", "parameters", "flops", "activations")
    return [
        {name: row[name] for name in columns}
        | {"arm": f"{row['model']} ({SOURCE})", "mean_error": row["error"], "published": True}
        for row in published_peak().to_pylist()
        if not row["pretrained"]
    ]
