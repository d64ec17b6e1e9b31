"""What an adaptive search found: the best setting of each arm, and how its trials ended."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dashboards.selection import SEARCH
from dashboards.tables import hyperparameters_of

CAPTION = (
    "Each setting was chosen in view of the errors before it, so these trials crowd where errors are low and say nothing "
    "about the whole space. Best error: the lowest final error in percent among the completed trials, the best of many "
    "tries and so optimistic. Pruned: stopped early by the search, because the trial was behind others."
)

_FIXED_FIELDS = (
    pa.field("arm", pa.string()),
    pa.field("model", pa.string()),
    pa.field("optimizer", pa.string()),
    pa.field("n", pa.int64()),
    pa.field("completed", pa.int64()),
    pa.field("diverged", pa.int64()),
    pa.field("pruned", pa.int64()),
    pa.field("failed_or_lost", pa.int64()),
    pa.field("pending", pa.int64()),
    pa.field("best_error", pa.float64()),
    pa.field("best_draw", pa.int64()),
)


def centres(trials: pa.Table) -> pa.Table:
    """One row per arm with trials of phase ``search``, sorted by arm.

    Returns:
        The arm, its number of trials ``n`` and how many of them ended how (``pending`` counts the running ones too, so
        the five counts add up to ``n``), ``best_error``: the lowest final error of the completed trials in percent,
        ``best_draw``: that trial's draw, the lowest of several, and its hyperparameters, one column each. The last are
        null where none completed. See :data:`CAPTION`.

    Source: own.
    """
    names = hyperparameters_of(trials)
    arms: dict[str, list[Mapping[str, Any]]] = {}
    for row in trials.filter(pc.equal(trials["phase"], SEARCH)).to_pylist():
        arms.setdefault(row["arm"], []).append(row)
    schema = pa.schema([*_FIXED_FIELDS, *(trials.schema.field(name) for name in names)])
    return pa.Table.from_pylist([_row(arms[arm], names) for arm in sorted(arms)], schema=schema)


def _row(trials: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    statuses = Counter(row["status"] for row in trials)
    row = {name: trials[0][name] for name in ("arm", "model", "optimizer")}
    row |= {"n": len(trials), **{status: statuses[status] for status in ("completed", "diverged", "pruned")}}
    row |= {
        "failed_or_lost": statuses["failed"] + statuses["lost"],
        "pending": statuses["pending"] + statuses["running"],
    }
    completed = [row for row in trials if row["status"] == "completed"]
    if not completed:
        return row
    best = min(completed, key=lambda row: (row["error"], row["draw"]))
    return row | {"best_error": best["error"], "best_draw": best["draw"]} | {name: best[name] for name in names}
