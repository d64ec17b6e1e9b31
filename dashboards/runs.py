"""MLflow's trial runs as :class:`dashboards.tables.TrialRecord`."""

import math
import warnings
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from dashboards import tags
from dashboards.tables import TrialRecord

if TYPE_CHECKING:
    from mlflow.entities import Run

_FINISHED = {"completed": 2, "diverged": 2, "pruned": 2, "failed": 1, "lost": 1}
_EPOCH_ZERO = datetime(1970, 1, 1, tzinfo=UTC)


def trial_records(runs: "Iterable[Run]") -> dict[str, TrialRecord]:
    """What each trial run says, by key; of several runs of one trial the newest that finished.

    Warns, in the name of the caller's caller, about every key that has several runs. A result outranks a failure, which
    outranks an unfinished run.
    """
    chosen: dict[str, tuple[tuple[int, int, str], TrialRecord]] = {}
    several: set[str] = set()
    for run in {run.info.run_id: run for run in runs}.values():
        key = run.data.tags.get(tags.KEY)
        if key is None:
            warnings.warn(f"MLflow run {run.info.run_id} is a trial without a {tags.KEY} tag; left out.", stacklevel=3)
            continue
        record = _record(run)
        rank = (_FINISHED.get(record.status, 0), run.info.start_time or 0, run.info.run_id)
        if key in chosen:
            several.add(key)
        if key not in chosen or rank > chosen[key][0]:
            chosen[key] = rank, record
    for key in sorted(several):
        warnings.warn(
            f"Trial {key!r} has several MLflow runs; the newest finished one, {chosen[key][1].run_id}, is used.",
            stacklevel=3,
        )
    return {key: record for key, (_, record) in chosen.items()}


def _record(run: "Run") -> TrialRecord:
    metrics, run_tags = run.data.metrics, run.data.tags
    status, reason = _status(run)
    done = metrics.get(tags.EPOCHS_DONE)
    start = run.info.start_time
    return TrialRecord(
        status=status,
        error=metrics[tags.FINAL_ERROR] if status == "completed" else None,
        best_error=metrics.get(tags.BEST_ERROR),
        epochs_done=None if done is None else int(done),
        run_id=run.info.run_id,
        pack=run_tags.get(tags.PACK),
        started=None if start is None else _EPOCH_ZERO + timedelta(milliseconds=start),
        seconds=metrics.get(tags.SECONDS),
        reason=reason,
    )


def _status(run: "Run") -> tuple[str, str | None]:
    """The trial's status and reason; a record that contradicts itself becomes ``lost``, which is no result."""
    status, reason = run.data.tags.get(tags.STATUS), run.data.tags.get(tags.REASON) or None
    if status not in tags.STATUSES:
        return "lost", f"its MLflow run has the unknown status {status!r}"
    if status == "completed" and not math.isfinite(run.data.metrics.get(tags.FINAL_ERROR, math.nan)):
        return "lost", f"its MLflow run is tagged completed but has no finite {tags.FINAL_ERROR}"
    return status, reason
