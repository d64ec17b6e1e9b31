"""What an adaptive search found: the best setting of each arm, and how its trials ended."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dashboards.columns import setting_fields
from dashboards.groups import Rows, errors_of, groups
from dashboards.selection import SEARCH, Floats
from dashboards.tables import hyperparameters_of

CAPTION = (
    "Each setting was chosen in view of the errors before it, so these trials crowd where errors are low and say nothing "
    "about the whole space. Best error: the lowest final error in percent among the completed trials, the best of many "
    "tries and so optimistic. Pruned: stopped early by the search, because the trial was behind others."
)

_ENDS = {
    "completed": ("completed",),
    "diverged": ("diverged",),
    "pruned": ("pruned",),
    "failed_or_lost": ("failed", "lost"),
    "pending": ("pending", "running"),
}

_FIXED_FIELDS = (
    pa.field("arm", pa.string()),
    pa.field("model", pa.string()),
    pa.field("optimizer", pa.string()),
    pa.field("n", pa.int64()),
    *(pa.field(name, pa.int64()) for name in _ENDS),
    pa.field("best_error", pa.float64()),
    pa.field("best_draw", pa.int64()),
)


def centres(trials: pa.Table) -> pa.Table:
    """One row per arm with trials of phase ``search``, sorted by arm.

    Returns:
        The arm, its number of trials ``n`` and how many of them ended how (``pending`` counts the running ones too, so
        the five counts add up to ``n``), ``best_error``: the lowest final error of the completed trials in percent,
        ``best_draw``: that trial's draw, the lowest of several, and its hyperparameters, one column each
        (:func:`dashboards.columns.setting_fields`). The last are null where none completed. See :data:`CAPTION`.

    Source: own.
    """
    names = hyperparameters_of(trials)
    fields = setting_fields(trials, names, _FIXED_FIELDS)
    mine = trials.filter(pc.equal(trials["phase"], SEARCH))
    errors, draws = errors_of(mine), np.asarray(mine["draw"].to_numpy())
    rows = []
    for (arm, model, optimizer), members in sorted(groups(mine, ["arm", "model", "optimizer"]).items()):
        row: dict[str, Any] = {"arm": arm, "model": model, "optimizer": optimizer, "n": len(members)}
        statuses = mine["status"].take(pa.array(members))
        row |= {name: pc.sum(pc.is_in(statuses, value_set=pa.array(ends))).as_py() or 0 for name, ends in _ENDS.items()}
        best = _best(errors, draws, members)
        if best is not None:
            chosen = mine.select(names).slice(best, 1).to_pylist()[0]
            row |= {"best_error": float(errors[best]), "best_draw": int(draws[best])}
            row |= {field.name: chosen[name] for field, name in zip(fields, names, strict=True)}
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=pa.schema([*_FIXED_FIELDS, *fields]))


def _best(errors: Floats, draws: Rows, members: Rows) -> int | None:
    """The row of the lowest error, the lowest draw among equals."""
    completed = members[np.isfinite(errors[members])]
    return int(min(completed, key=lambda row: (errors[row], draws[row]))) if len(completed) else None
