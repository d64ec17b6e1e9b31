"""MLflow's trial runs as an Arrow table, and which run of a trial counts."""

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dashboards import tags
from dashboards.cautions import warn_caller

if TYPE_CHECKING:
    from mlflow.entities import Run

RUNS_SCHEMA = pa.schema(
    [
        pa.field("run_id", pa.string()),
        pa.field("key", pa.string()),
        pa.field("status", pa.string()),
        pa.field("error", pa.float64()),
        pa.field("best_error", pa.float64()),
        pa.field("epochs_done", pa.int64()),
        pa.field("pack", pa.string()),
        pa.field("started", pa.timestamp("ms", tz="UTC")),
        pa.field("seconds", pa.float64()),
        pa.field("reason", pa.string()),
        pa.field("revision", pa.int64()),
        pa.field("deleted", pa.bool_()),
    ]
)
"""One row a trial run. ``revision``: null if it was written by a version that numbered no rounds."""

_FINISHED = {"completed": 2, "diverged": 2, "pruned": 2, "failed": 1, "lost": 1}
SETTLED = tuple(_FINISHED)
"""Statuses that do not change by themselves; only of these do the metrics of the end count."""


def run_table(runs: "Iterable[Run]", *, deleted: bool = False) -> pa.Table:
    """What each trial run says, with :data:`RUNS_SCHEMA`, by run id; of several equal ids the last."""
    found = {run.info.run_id: _row(run, deleted) for run in runs}
    rows = [found[run_id] for run_id in sorted(found)]
    return pa.Table.from_pylist(rows, schema=RUNS_SCHEMA)


def revision_of(run_tags: Mapping[str, str]) -> int | None:
    """The round that a run was last touched in; ``None`` if it carries none."""
    text = run_tags.get(tags.REVISION, "")
    return int(text) if text.isdecimal() else None


def upsert(known: pa.Table, fresh: pa.Table) -> pa.Table:
    """``known`` with the rows of ``fresh`` in place of those of equal run id, by run id."""
    if fresh.num_rows == 0:
        return known
    kept = known.filter(pc.invert(pc.is_in(known["run_id"], value_set=fresh["run_id"].combine_chunks())))
    return pa.concat_tables([kept, fresh]).sort_by("run_id").combine_chunks()


def newest_runs(table: pa.Table) -> pa.Table:
    """One row a key: of several runs of one trial the newest that finished, deleted ones left out.

    A result outranks a failure, which outranks an unfinished run. Warns about runs without a key and keys with several
    runs.
    """
    table = table.filter(pc.invert(table["deleted"]))
    for run_id in table.filter(pc.is_null(table["key"]))["run_id"].to_pylist():
        warn_caller(f"MLflow run {run_id} is a trial without a {tags.KEY} tag; left out.")
    table = table.filter(pc.is_valid(table["key"]))
    if table.num_rows == 0:
        return table
    statuses = pc.dictionary_encode(table["status"].combine_chunks())
    ranks = np.array([_FINISHED.get(status, 0) for status in statuses.dictionary.to_pylist()])[
        statuses.indices.to_numpy()
    ]
    started = pc.fill_null(table["started"].cast(pa.int64()), 0)
    ordered = (
        table.append_column("rank", pa.array(ranks))
        .append_column("since", started)
        .sort_by([("key", "ascending"), ("rank", "ascending"), ("since", "ascending"), ("run_id", "ascending")])
        .drop_columns(["rank", "since"])
    )
    last = _last_of_equal(ordered["key"].combine_chunks())
    chosen = ordered.filter(pa.array(last))
    _warn_of_several(chosen, last)
    return chosen


def _last_of_equal(keys: pa.Array) -> npt.NDArray[np.bool_]:
    last = np.ones(len(keys), dtype=np.bool_)
    last[:-1] = pc.not_equal(keys[1:], keys[:-1]).to_numpy(zero_copy_only=False)
    return last


def _warn_of_several(chosen: pa.Table, last: npt.NDArray[np.bool_]) -> None:
    counts = np.diff(np.concatenate([[-1], np.flatnonzero(last)]))
    several = chosen.select(["key", "run_id"]).filter(pa.array(counts > 1)).to_pylist()
    for row in several:
        warn_caller(f"Trial {row['key']!r} has several MLflow runs; the newest finished one, {row['run_id']}, is used.")


def _row(run: "Run", deleted: bool) -> dict[str, object]:
    run_tags = run.data.tags
    status, reason = _status(run)
    # A lost trial that runs again still has the numbers and the reason of its first end.
    metrics = run.data.metrics if status in SETTLED else {}
    done = metrics.get(tags.EPOCHS_DONE)
    return {
        "run_id": run.info.run_id,
        "key": run_tags.get(tags.KEY),
        "status": status,
        "error": metrics[tags.FINAL_ERROR] if status == "completed" else None,
        "best_error": metrics.get(tags.BEST_ERROR),
        "epochs_done": None if done is None else int(done),
        "pack": run_tags.get(tags.PACK),
        "started": run.info.start_time,
        "seconds": metrics.get(tags.SECONDS),
        "reason": reason if status in SETTLED else None,
        "revision": revision_of(run_tags),
        "deleted": deleted,
    }


def _status(run: "Run") -> tuple[str, str | None]:
    """The trial's status and reason; a record that contradicts itself becomes ``lost``, which is no result."""
    status, reason = run.data.tags.get(tags.STATUS), run.data.tags.get(tags.REASON) or None
    if status not in tags.STATUSES:
        return "lost", f"its MLflow run has the unknown status {status!r}"
    if status == "completed" and not math.isfinite(run.data.metrics.get(tags.FINAL_ERROR, math.nan)):
        return "lost", f"its MLflow run is tagged completed but has no finite {tags.FINAL_ERROR}"
    return status, reason
