"""Learning curves of a study: one Parquet artifact a pack; metric histories of trials that run or that it lacks."""

import tempfile
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from dashboards import tags
from dashboards.cautions import warn_caller
from dashboards.tables import CURVES_SCHEMA
from dashboards.tracking.arm_runs import ArmRun
from dashboards.tracking.runs import SETTLED

if TYPE_CHECKING:
    from mlflow import MlflowClient

HISTORY_SCHEMA = pa.schema([field for field in CURVES_SCHEMA if field.name != "key"])
"""A trial's curve without its key."""
AT_ONCE = 8
"""Metric histories asked for at the same time: one costs 56 ms over HTTP, most of it waiting."""
ONE_BY_ONE = 8
"""Files of one arm run that are downloaded each by itself, in 40 ms; if there are more, the whole folder is."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PackFile:
    """One Parquet artifact of curves."""

    size: int | None
    """Bytes, as MLflow lists it."""
    rows: pa.Table
    """:data:`dashboards.tables.CURVES_SCHEMA`; no row if it cannot be read."""
    problem: str = ""
    """A sentence about why it cannot be read; empty if it can."""


def read_packs(
    client: "MlflowClient", arm_runs: Sequence[ArmRun], known: Mapping[str, PackFile], changed: Collection[str]
) -> dict[str, PackFile]:
    """The curves files of all arm runs, by ``run id/file name``; a file that is known and unchanged is not downloaded.

    Warns about files that cannot be read, and tries them again whether they changed or not.

    Args:
        client: Of the tracking server.
        arm_runs: In the order in which their files count: of two rows for one trial and epoch the first does.
        known: Files as they were.
        changed: Packs whose trials changed: their files are read again, whatever their size.
    """
    packs: dict[str, PackFile] = {}
    for run_id in (run.run_id for run in arm_runs):
        sizes = _listed(client, run_id)
        wanted = [
            name
            for name, size in sizes.items()
            if f"{run_id}/{name}" not in known
            or known[f"{run_id}/{name}"].size != size
            or known[f"{run_id}/{name}"].problem
            or name.removesuffix(".parquet") in changed
        ]
        with tempfile.TemporaryDirectory() as folder:
            paths = _downloaded(client, run_id, wanted, Path(folder))
            fresh = {name: _read_pack(path, run_id, sizes[name]) for name, path in paths.items()}
        for name in sizes:
            path = f"{run_id}/{name}"
            packs[path] = _same_or_new(known.get(path), fresh.get(name))
            if packs[path].problem:
                warn_caller(packs[path].problem)
    return packs


def _same_or_new(known: PackFile | None, fresh: PackFile | None) -> PackFile:
    if fresh is None:
        assert known is not None
        return known
    same = known is not None and (fresh.size, fresh.problem) == (known.size, known.problem)
    return known if known is not None and same and fresh.rows.equals(known.rows) else fresh


def _listed(client: "MlflowClient", run_id: str) -> dict[str, int | None]:
    items = client.list_artifacts(run_id, tags.CURVES_FOLDER)
    sizes = {Path(item.path).name: item.file_size for item in items if not item.is_dir}
    return {name: sizes[name] for name in sorted(sizes) if name.endswith(".parquet")}


def _downloaded(client: "MlflowClient", run_id: str, names: Sequence[str], folder: Path) -> dict[str, Path]:
    if len(names) > ONE_BY_ONE:
        whole = Path(client.download_artifacts(run_id, tags.CURVES_FOLDER, str(folder)))
        return {name: whole / name for name in names}
    return {
        name: Path(client.download_artifacts(run_id, f"{tags.CURVES_FOLDER}/{name}", str(folder))) for name in names
    }


def _read_pack(path: Path, run_id: str, size: int | None) -> PackFile:
    try:
        # In memory: the file is about to go.
        content = pa.BufferReader(path.read_bytes())
        rows = pyarrow.parquet.read_table(content, columns=CURVES_SCHEMA.names).cast(CURVES_SCHEMA)
    except (pa.ArrowException, ValueError, OSError) as error:
        # It may be half written by a study that runs right now; the metric histories hold the same numbers.
        problem = (
            f"MLflow run {run_id}: {tags.CURVES_FOLDER}/{path.name} cannot be read "
            f"({next(iter(str(error).splitlines()), type(error).__name__)}); metric histories are used instead."
        )
        return PackFile(size=size, rows=CURVES_SCHEMA.empty_table(), problem=problem)
    return PackFile(size=size, rows=rows)


def running_trials(trials: pa.Table) -> dict[str, str]:
    """Keys by run id of the trials that have a run and have not ended."""
    return _keys_by_run(trials.filter(pc.invert(_have_ended(trials))))


def trials_without_pack(trials: pa.Table, pack_rows: pa.Table) -> dict[str, str]:
    """Keys by run id of the trials that ended and that ``pack_rows``, one row a key and epoch, does not cover."""
    counted = pack_rows.group_by("key").aggregate([("epoch", "count")])
    place = pc.index_in(trials["key"], value_set=counted["key"].combine_chunks()).combine_chunks()
    epochs = pc.fill_null(counted["epoch_count"].combine_chunks().take(place), 0)
    # A trial that did not say how many epochs it has: one epoch in an artifact will do.
    expected = pc.fill_null(trials["epochs_done"], 1)
    return _keys_by_run(trials.filter(pc.and_(_have_ended(trials), pc.less(epochs, expected))))


def _have_ended(trials: pa.Table) -> pa.ChunkedArray:
    return pc.is_in(trials["status"], value_set=pa.array(SETTLED))


def _keys_by_run(trials: pa.Table) -> dict[str, str]:
    trials = trials.filter(pc.is_valid(trials["run_id"]))
    return dict(zip(trials["run_id"].to_pylist(), trials["key"].to_pylist(), strict=True))


def read_histories(client: "MlflowClient", run_ids: Sequence[str]) -> dict[str, pa.Table]:
    """The metric histories of these runs, each with :data:`HISTORY_SCHEMA`, by run id."""
    if not run_ids:
        return {}
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        tables = list(pool.map(lambda run_id: _history_table(client, run_id), run_ids))
    return dict(zip(run_ids, tables, strict=True))


def curves_table(
    pack_rows: pa.Table, histories: Mapping[str, pa.Table], running: Mapping[str, str], uncovered: Mapping[str, str]
) -> pa.Table:
    """The curves of a study.

    Args:
        pack_rows: What :func:`unique_rows` gave.
        histories: By run id.
        running: Keys by run id, of the trials whose histories count before ``pack_rows``: a trial that was lost and runs
            again may be in the file of its earlier pack.
        uncovered: Keys by run id, of the trials whose histories have the epochs that ``pack_rows`` has not.
    """
    if not running and not uncovered:
        return pack_rows
    rows = pa.concat_tables([*_named(histories, running), pack_rows, *_named(histories, uncovered)])
    return unique_rows([rows], pc.unique(rows["key"].combine_chunks()).sort())


def _named(histories: Mapping[str, pa.Table], keys: Mapping[str, str]) -> list[pa.Table]:
    return [
        histories[run_id].add_column(0, CURVES_SCHEMA.field("key"), pa.repeat(pa.scalar(key), len(histories[run_id])))
        for run_id, key in keys.items()
    ]


def unique_rows(tables: Sequence[pa.Table], keys: pa.Array) -> pa.Table:
    """All rows of these keys, by key and epoch; of several for one epoch (a pack that was continued) the first.

    Args:
        tables: With :data:`dashboards.tables.CURVES_SCHEMA`.
        keys: Sorted, each once.
    """
    rows = pa.concat_tables([CURVES_SCHEMA.empty_table(), *tables]).combine_chunks()
    place = pc.index_in(rows["key"], value_set=keys)
    rows, place = rows.filter(pc.is_valid(place)), place.drop_null()
    epochs = rows["epoch"].to_numpy()
    codes = np.asarray(place.to_numpy(), dtype=np.int64)
    # Arrow's own sorting by a string and a number costs ten times as much.
    code = codes * (epochs.max(initial=0) + 1) + epochs
    order = np.argsort(code, kind="stable")
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = np.diff(code[order]) != 0
    return rows.take(pa.array(order[first])).combine_chunks()


def _history_table(client: "MlflowClient", run_id: str) -> pa.Table:
    values = {name: _history(client, run_id, name) for name in tags.EPOCH_METRICS}
    epochs = sorted(set().union(*values.values()))
    return pa.table(
        {"epoch": epochs} | {name: [values[name].get(epoch) for epoch in epochs] for name in tags.EPOCH_METRICS},
        schema=HISTORY_SCHEMA,
    )


def _history(client: "MlflowClient", run_id: str, name: str) -> dict[int, float]:
    """The metric by epoch; of several values for one epoch the latest."""
    points = sorted(client.get_metric_history(run_id, name), key=lambda point: point.timestamp)
    return {point.step: point.value for point in points}
