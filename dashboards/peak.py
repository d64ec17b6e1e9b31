"""The leaderboard of phase ``peak``: arms by their mean error over seeds at one given setting each."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dashboards.lengths import SEEDS_FIELDS, over_seeds
from dashboards.selection import PEAK
from dashboards.tables import hyperparameters_of

CAPTION = (
    "One given setting per arm, trained with several seeds. Mean, lowest and highest final error in percent are over the "
    "seeds that completed; seeds that diverged or are missing are in no mean, which makes the rest look better."
)

_FIXED_FIELDS = (
    pa.field("arm", pa.string()),
    pa.field("model", pa.string()),
    pa.field("optimizer", pa.string()),
    pa.field("epochs", pa.int64()),
    *SEEDS_FIELDS,
)


def peak(trials: pa.Table) -> pa.Table:
    """One row per arm and training length of phase ``peak``: the longest training first, then by mean error.

    Returns:
        The arm, its ``epochs``, counts of its seeds, ``mean_error``, ``lowest_error`` and ``highest_error`` over the
        completed seeds in percent (null, and last, where none completed), and the hyperparameters, one column each. See
        :data:`CAPTION`.

    Source: arXiv:2106.14881, Table 2 (peak performance); the spread over seeds is our own.
    """
    names = hyperparameters_of(trials)
    groups: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for row in trials.filter(pc.equal(trials["phase"], PEAK)).to_pylist():
        groups.setdefault((row["arm"], row["epochs"]), []).append(row)
    shared = ["arm", "model", "optimizer", "epochs", *names]
    rows = [{name: seeds[0][name] for name in shared} | over_seeds(seeds) for seeds in groups.values()]
    rows.sort(key=lambda row: (-row["epochs"], row["mean_error"] is None, row["mean_error"] or 0.0, row["arm"]))
    schema = pa.schema([*_FIXED_FIELDS, *(trials.schema.field(name) for name in names)])
    return pa.Table.from_pylist(rows, schema=schema)
