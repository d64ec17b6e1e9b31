"""Learning curves of a study: one Parquet artifact a pack, metric histories where no artifact covers a trial."""

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from dashboards import tags
from dashboards.tables import CURVES_SCHEMA

if TYPE_CHECKING:
    from mlflow import MlflowClient


def read_curves(client: "MlflowClient", arm_runs: Iterable[str], trials: pa.Table, folder: Path) -> pa.Table:
    """The curves of all trials in ``trials``.

    Args:
        client: Of the tracking server.
        arm_runs: Run ids of the arm runs, which hold the artifacts.
        trials: The trials table; curves of other trials are left out.
        folder: An existing folder to download into.

    Returns:
        A table with :data:`CURVES_SCHEMA`, one row per key and epoch, sorted by both.
    """
    tables: list[pa.Table] = []
    for run_id in arm_runs:
        tables += _pack_tables(client, run_id, folder)
    from_packs = _unique_rows(tables)
    from_packs = from_packs.filter(pc.is_in(from_packs["key"], value_set=trials["key"].combine_chunks()))
    covered = {
        row["key"]: row["epoch_count"] for row in from_packs.group_by("key").aggregate([("epoch", "count")]).to_pylist()
    }
    from_histories = [
        _history_table(client, row["key"], row["run_id"])
        for row in trials.select(["key", "run_id", "epochs_done"]).to_pylist()
        if row["run_id"] is not None and covered.get(row["key"], 0) < _epochs_expected(row)
    ]
    return _unique_rows([from_packs, *from_histories])


def _epochs_expected(row: Mapping[str, int | None]) -> int:
    # A trial that is still running has not said how many epochs it has: one epoch in an artifact will do.
    done = row["epochs_done"]
    return 1 if done is None else done


def _pack_tables(client: "MlflowClient", run_id: str, folder: Path) -> list[pa.Table]:
    if tags.CURVES_FOLDER not in {item.path for item in client.list_artifacts(run_id)}:
        return []
    own_folder = folder / run_id
    own_folder.mkdir()
    downloaded = Path(client.download_artifacts(run_id, tags.CURVES_FOLDER, str(own_folder)))
    tables = []
    for path in sorted(downloaded.glob("*.parquet")):
        try:
            tables.append(pyarrow.parquet.read_table(path, columns=CURVES_SCHEMA.names).cast(CURVES_SCHEMA))
        except (pa.ArrowException, ValueError) as error:
            # It may be half written by a study that runs right now; the metric histories hold the same numbers.
            warnings.warn(
                f"MLflow run {run_id}: {tags.CURVES_FOLDER}/{path.name} cannot be read "
                f"({str(error).splitlines()[0]}); metric histories are used instead.",
                stacklevel=4,
            )
    return tables


def _unique_rows(tables: list[pa.Table]) -> pa.Table:
    """All rows by key and epoch; of several for one epoch (a pack that was continued) the first."""
    rows = pa.concat_tables([CURVES_SCHEMA.empty_table(), *tables])
    first = pc.ScalarAggregateOptions(skip_nulls=False)
    grouped = rows.group_by(["key", "epoch"], use_threads=False).aggregate(
        [("train_loss", "first", first), ("error", "first", first)]
    )
    return (
        grouped.rename_columns(CURVES_SCHEMA.names)
        .cast(CURVES_SCHEMA)
        .sort_by([("key", "ascending"), ("epoch", "ascending")])
    )


def _history_table(client: "MlflowClient", key: str, run_id: str) -> pa.Table:
    values = {name: _history(client, run_id, name) for name in tags.EPOCH_METRICS}
    epochs = sorted(set().union(*values.values()))
    return pa.table(
        {
            "key": [key] * len(epochs),
            "epoch": epochs,
            "train_loss": [values[tags.TRAIN_LOSS].get(epoch) for epoch in epochs],
            "error": [values[tags.ERROR].get(epoch) for epoch in epochs],
        },
        schema=CURVES_SCHEMA,
    )


def _history(client: "MlflowClient", run_id: str, name: str) -> dict[int, float]:
    """The metric by epoch; of several values for one epoch the latest."""
    points = sorted(client.get_metric_history(run_id, name), key=lambda point: point.timestamp)
    return {point.step: point.value for point in points}
