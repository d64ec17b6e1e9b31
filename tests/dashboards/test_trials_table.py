"""The trials table: the join, its schema, the files it is written to."""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from dashboards.tables import (
    TrialRecord,
    build_trials,
    hyperparameters_of,
    result_columns,
    trials_schema,
    write_table,
)
from dashboards.tracking.study import StudyRecord

MakeLedger = Callable[..., pa.Table]
MakeRecord = Callable[..., StudyRecord]

COLUMNS = [
    *("study", "phase", "arm", "model", "optimizer", "draw", "seed", "sampler", "status", "error", "best_error"),
    *("epochs", "epochs_done", "run_id", "pack", "started", "seconds", "key", "reason", "lr", "weight_decay"),
]


def test_every_ledger_row_is_there_in_key_order(make_ledger: MakeLedger) -> None:
    ledger = make_ledger(["b/sgd", "a/sgd"], 2)
    started = datetime(2026, 11, 20, 8, 30, tzinfo=UTC)
    record = TrialRecord(
        status="completed",
        error=12.5,
        best_error=12.0,
        epochs_done=10,
        run_id="r",
        pack="p",
        started=started,
        seconds=3.5,
    )
    trials = build_trials(ledger, {"stability/a/sgd/000001/0": record, "stability/x/sgd/000000/0": record})
    assert trials.column_names == COLUMNS
    assert trials["key"].to_pylist() == [
        f"stability/{arm}/{draw:06d}/0" for arm in ("a/sgd", "b/sgd") for draw in (0, 1)
    ]
    assert trials["status"].to_pylist() == ["pending", "completed", "pending", "pending"]
    row = trials.to_pylist()[1]
    source = {item["key"]: item for item in ledger.to_pylist()}[row["key"]]
    assert row["started"] == started
    assert (row["error"], row["best_error"], row["seconds"], row["seed"]) == (12.5, 12.0, 3.5, 1001)
    assert (row["lr"], row["weight_decay"]) == (source["lr"], source["weight_decay"])
    pending = trials.to_pylist()[0]
    assert [name for name in COLUMNS if pending[name] is None] == [
        *("error", "best_error", "epochs_done", "run_id", "pack", "started", "seconds", "reason")
    ]
    assert hyperparameters_of(trials) == ["lr", "weight_decay"]
    assert trials.schema.field("started").type == pa.timestamp("ms", tz="UTC")


def test_result_columns_leave_out_what_differs_between_runs(make_record: MakeRecord) -> None:
    trials = make_record().trials
    left = set(trials.column_names) - set(result_columns(trials).column_names)
    assert left == {"run_id", "pack", "started", "seconds"}


def test_hyperparameters_of_any_type(make_ledger: MakeLedger) -> None:
    fields = [pa.field("lr", pa.float64()), pa.field("layers", pa.int64()), pa.field("norm", pa.string())]
    schema = trials_schema([*fields, pa.field("nesterov", pa.bool_())])
    assert schema.names[-4:] == ["lr", "layers", "norm", "nesterov"]
    with pytest.raises(ValueError, match="'status'"):
        trials_schema([pa.field("status", pa.string())])
    with pytest.raises(ValueError, match=r"stablesweep\.hyperparameters"):
        hyperparameters_of(make_ledger(["a/sgd"], 1).replace_schema_metadata(None))


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        ("done", None, "status: got 'done'"),
        ("completed", None, "error: got None"),
        ("completed", math.inf, "error: got inf"),
        ("diverged", 90.0, "only a completed"),
    ],
)
def test_a_record_cannot_contradict_itself(status: str, error: float | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrialRecord(status=status, error=error)


def test_written_tables_come_back_equal(make_record: MakeRecord, tmp_path: Path) -> None:
    trials = make_record().trials
    for suffix in (".parquet", ".arrow", ".csv"):
        write_table(trials, tmp_path / f"t{suffix}")
    parquet = pyarrow.parquet.read_table(tmp_path / "t.parquet")
    with pa.OSFile(str(tmp_path / "t.arrow")) as source:
        arrow = pa.ipc.open_file(source).read_all()
    assert parquet.equals(trials)
    assert arrow.equals(trials)
    assert hyperparameters_of(parquet) == hyperparameters_of(arrow) == ["lr", "weight_decay"]
    types = pyarrow.csv.ConvertOptions(column_types=trials.schema, strings_can_be_null=True)
    csv = pyarrow.csv.read_csv(tmp_path / "t.csv", convert_options=types)
    assert csv.equals(trials.replace_schema_metadata(None))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.arrow", "t.csv", "t.parquet"]


def test_nothing_is_left_of_a_write_that_fails(make_record: MakeRecord, tmp_path: Path) -> None:
    trials = make_record().trials
    with pytest.raises(ValueError, match=r"cannot write \.xlsx; use \.parquet, \.arrow or \.csv"):
        write_table(trials, tmp_path / "t.xlsx")
    with pytest.raises(ValueError, match="does not exist"):
        write_table(trials, tmp_path / "nowhere" / "t.csv")
    (tmp_path / "t.csv").write_text("before")
    nested = pa.table({"values": [[1, 2]]})
    with pytest.raises(pa.ArrowException):
        write_table(nested, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]
