"""The trials table and the curves table: their schemas, how the trials table is made, and how tables are written."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from dashboards.files import whole_file
from dashboards.tags import STATUSES

HYPERPARAMETERS_METADATA = b"stablesweep.hyperparameters"
"""Schema metadata of the ledger and of the trials table: the JSON list of the hyperparameters' names, in order."""

CURVES_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string()),
        pa.field("epoch", pa.int64()),
        pa.field("train_loss", pa.float64()),
        pa.field("error", pa.float64()),
    ]
)
"""One row a trial and epoch: ``epoch`` from 1, ``train_loss`` in nats, ``error`` top-1 in percent. By key, epoch."""

UNIT_PREFIX = "unit_"
"""Of the ledger's columns that hold a trial's coordinates in the unit cube."""

_FIXED_FIELDS = (
    pa.field("study", pa.string()),
    pa.field("phase", pa.string()),
    pa.field("arm", pa.string()),
    pa.field("model", pa.string()),
    pa.field("optimizer", pa.string()),
    pa.field("draw", pa.int64()),
    pa.field("seed", pa.int64()),
    pa.field("sampler", pa.string()),
    pa.field("status", pa.string()),
    pa.field("error", pa.float64()),
    pa.field("best_error", pa.float64()),
    pa.field("epochs", pa.int64()),
    pa.field("epochs_done", pa.int64()),
    pa.field("run_id", pa.string()),
    pa.field("pack", pa.string()),
    pa.field("started", pa.timestamp("ms", tz="UTC")),
    pa.field("seconds", pa.float64()),
    pa.field("key", pa.string()),
    pa.field("reason", pa.string()),
)
_RECORD_COLUMNS = ("status", "error", "best_error", "epochs_done", "run_id", "pack", "started", "seconds", "reason")
_TYPES = {field.name: field.type for field in _FIXED_FIELDS}
_CIRCUMSTANCES = ("run_id", "pack", "started", "seconds")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialRecord:
    """What was recorded about one trial; the ledger holds everything else."""

    status: str
    """One of :data:`dashboards.tags.STATUSES`."""
    error: float | None = None
    """Top-1 error at the last epoch, percent; only a ``completed`` trial has one."""
    best_error: float | None = None
    """The lowest error of any epoch, percent."""
    epochs_done: int | None = None
    run_id: str | None = None
    """The trial's MLflow run."""
    pack: str | None = None
    started: datetime | None = None
    """Aware of its time zone."""
    seconds: float | None = None
    """The trial's own share of its pack's training and evaluation time."""
    reason: str | None = None
    """Why it is ``diverged``, ``pruned``, ``failed`` or ``lost``: one line."""

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"status: got {self.status!r}, expected one of {', '.join(STATUSES)}.")
        if self.status == "completed" and (self.error is None or not math.isfinite(self.error)):
            raise ValueError(f"error: got {self.error!r} for a completed trial, expected a finite percentage.")
        if self.status != "completed" and self.error is not None:
            raise ValueError(f"error: got {self.error!r} for a {self.status} trial, only a completed one has a result.")


PENDING = TrialRecord(status="pending")


def trials_schema(hyperparameter_fields: Sequence[pa.Field]) -> pa.Schema:
    """The schema of a trials table whose studies have these hyperparameters.

    Raises:
        ValueError: If a hyperparameter has the name of a fixed column.
    """
    names = [field.name for field in hyperparameter_fields]
    taken = sorted({field.name for field in _FIXED_FIELDS} & set(names))
    if taken:
        raise ValueError(f"Hyperparameter {taken[0]!r} has the name of a column of the trials table; rename it.")
    return pa.schema([*_FIXED_FIELDS, *hyperparameter_fields], metadata={HYPERPARAMETERS_METADATA: json.dumps(names)})


def hyperparameters_of(table: pa.Table) -> list[str]:
    """Names of the hyperparameters of a ledger or a trials table, in the order of the search space.

    Raises:
        ValueError: If the table does not say (it is neither a ledger nor a trials table, or came through CSV).
    """
    metadata = table.schema.metadata or {}
    if HYPERPARAMETERS_METADATA not in metadata:
        raise ValueError("The table's schema has no 'stablesweep.hyperparameters'; read it from Parquet or Arrow.")
    return [str(name) for name in json.loads(metadata[HYPERPARAMETERS_METADATA])]


def build_trials(ledger: pa.Table, records: Mapping[str, TrialRecord]) -> pa.Table:
    """The trials table: every row of the ledger beside what was recorded about it, by key.

    Args:
        ledger: All trials that the study will ever run.
        records: What is known, by key. A ledger row without a record is ``pending``, its other record columns null; a
            record without a ledger row is no trial of this study and is left out.

    Returns:
        One row per ledger row, sorted by key, with :func:`trials_schema`'s columns.
    """
    keys = pa.array(list(records), pa.string())
    found = [pa.array([getattr(record, name) for record in records.values()], _TYPES[name]) for name in _RECORD_COLUMNS]
    return join_records(ledger, pa.Table.from_arrays([keys, *found], names=["key", *_RECORD_COLUMNS]))


def join_records(ledger: pa.Table, records: pa.Table) -> pa.Table:
    """:func:`build_trials` of a table of records: ``key``, each once, and the fields of :class:`TrialRecord`."""
    ledger = ledger.sort_by("key").combine_chunks()
    place = pc.index_in(ledger["key"], value_set=records["key"].combine_chunks()).combine_chunks()
    found = records.select(_RECORD_COLUMNS).take(place)
    schema = trials_schema([ledger.schema.field(name) for name in hyperparameters_of(ledger)])
    columns = [
        (found if field.name in _RECORD_COLUMNS else ledger)[field.name].cast(field.type).combine_chunks()
        for field in schema
    ]
    table = pa.Table.from_arrays(columns, schema=schema)
    status = schema.get_field_index("status")
    return table.set_column(status, schema.field("status"), pc.fill_null(table["status"], PENDING.status))


def unit_positions(ledger: pa.Table) -> pa.Table:
    """Where each trial stands within the interval that each of its hyperparameters was drawn from.

    Returns:
        ``key`` and one column per hyperparameter that has coordinates, 0 (lower end) to 1 (upper end) on the scale of its
        distribution; null where the trial's setting was given, or the arm does not have the hyperparameter. By key.
    """
    names = [name for name in hyperparameters_of(ledger) if UNIT_PREFIX + name in ledger.column_names]
    ordered = ledger.sort_by("key").select(["key", *(UNIT_PREFIX + name for name in names)])
    return ordered.rename_columns(["key", *names]).replace_schema_metadata(None)


NO_UNITS = pa.Table.from_batches([], schema=pa.schema([pa.field("key", pa.string())]))
"""What :func:`unit_positions` gives where nothing is known."""


def result_columns(table: pa.Table) -> pa.Table:
    """The trials table without run ids, packs and times: what two runs of one study must have equal to the bit."""
    return table.drop_columns([name for name in _CIRCUMSTANCES if name in table.column_names])


def write_table(table: pa.Table, path: str | Path) -> None:
    """Writes a table whole or not at all, in the format that the suffix names: .parquet, .arrow (IPC file) or .csv.

    Raises:
        ValueError: If the suffix is another one, or the folder does not exist.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (".parquet", ".arrow", ".csv"):
        raise ValueError(
            f"{path}: cannot write {path.suffix or 'a file without a suffix'}; use .parquet, .arrow or .csv."
        )
    with whole_file(path) as temporary:
        if suffix == ".parquet":
            import pyarrow.parquet

            pyarrow.parquet.write_table(table, temporary)
        elif suffix == ".csv":
            import pyarrow.csv

            pyarrow.csv.write_csv(table, temporary)
        else:
            with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table)
