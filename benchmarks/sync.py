"""How long it takes to copy a study from MLflow: the first time, with nothing new, and after some trials changed.

``python benchmarks/sync.py [--trials 10000] [--epochs 50] [--folder DIR]`` writes a synthetic study straight into the tables
of an SQLite tracking store (through MLflow's own API it would take an hour), reads it from there and through a real
``mlflow server``, and prints seconds. Needs the extra ``dev``, whose test helpers start the server.
"""

import argparse
import json
import sqlite3
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from hardware import machine
from own_use import in_words, timed
from stores import mlflow_server

from dashboards import quiet_mlflow, tags
from dashboards.tables import CURVES_SCHEMA
from dashboards.tracking.snapshot import Snapshot

STUDY = "synthetic"
ARMS = tuple(f"{model}/{optimizer}" for model in ("vit_c", "vit_p", "cnn") for optimizer in ("adamw", "sgd"))
MEMBERS = 16
"""Trials of one pack."""
CHANGED, CHANGED_EACH = 100, 37
"""So many trials change, at most; of so many one."""
START_MS = 1_790_000_000_000


def build(folder: Path, trials: int, epochs: int) -> str:
    """Makes a finished study of ``trials`` trials in ``folder``; returns its tracking URI."""
    from mlflow import MlflowClient

    uri = f"sqlite:///{folder / 'mlflow.db'}"
    with quiet_mlflow():
        client = MlflowClient(tracking_uri=uri)
        experiment = client.create_experiment(STUDY, artifact_location=(folder / "artifacts").as_uri())
    common = {tags.STUDY: STUDY, tags.REVISION: f"{rounds(trials):010d}"}
    study_run = client.create_run(experiment, tags={**common, tags.ROLE: "study"}).info.run_id
    arm_runs = {
        arm: client.create_run(
            experiment, tags={**common, tags.ROLE: "arm", tags.ARM: arm, tags.PHASE: "stability"}
        ).info.run_id
        for arm in ARMS
    }
    generator = np.random.default_rng(0)
    rows = _ledger_rows(trials, epochs, generator)
    curves = _curves(rows, epochs, generator)
    _insert(folder / "mlflow.db", int(experiment), rows, curves, arm_runs, study_run)
    ledger = pa.Table.from_pylist(rows).drop_columns(["pack"])
    ledger = ledger.replace_schema_metadata({"stablesweep.hyperparameters": json.dumps(["lr", "weight_decay"])})
    path = folder / tags.LEDGER_ARTIFACT
    pyarrow.parquet.write_table(ledger, path)
    client.log_artifact(study_run, str(path))
    _write_packs(folder, experiment, rows, curves, arm_runs, client.get_run)
    return uri


def rounds(trials: int) -> int:
    """Rounds of publishing that the study took: one a pack."""
    return -(-trials // MEMBERS)


def _ledger_rows(trials: int, epochs: int, generator: np.random.Generator) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for number in range(trials):
        draw, place = divmod(number, len(ARMS))
        arm = ARMS[place]
        units = generator.random(2)
        rows.append(
            {
                "key": f"stability/{arm}/{draw:06d}/0",
                "study": STUDY,
                "phase": "stability",
                "arm": arm,
                "model": arm.split("/")[0],
                "optimizer": arm.split("/")[1],
                "draw": draw,
                "seed": number,
                "sampler": "random",
                "epochs": epochs,
                "lr": float(1e-4 * 32 ** units[0]),
                "weight_decay": float(1e-2 * 32 ** units[1]),
                "unit_lr": float(units[0]),
                "unit_weight_decay": float(units[1]),
                "pack": f"{arm.replace('/', '-')}-{draw // MEMBERS:04d}",
            }
        )
    return rows


def _curves(rows: list[dict[str, object]], epochs: int, generator: np.random.Generator) -> np.ndarray:
    """Errors in percent, shape (trials, epochs)."""
    final = 5 + 60 * generator.random((len(rows), 1))
    return np.asarray(final + (90 - final) * np.exp(-0.2 * np.arange(1, epochs + 1)))


def _insert(
    database: Path,
    experiment: int,
    rows: list[dict[str, object]],
    curves: np.ndarray,
    arm_runs: dict[str, str],
    study_run: str,
) -> None:
    connection = sqlite3.connect(database)
    location = connection.execute("SELECT artifact_location FROM experiments WHERE experiment_id = ?", (experiment,))
    root = location.fetchone()[0]
    runs, all_tags, params, metrics, latest = [], [], [], [], []
    for number, (row, curve) in enumerate(zip(rows, curves.tolist(), strict=True)):
        run_id, start = uuid.UUID(int=number).hex, START_MS + 1000 * number
        runs.append((run_id, str(row["key"]), "me", "FINISHED", start, start + 500, experiment, f"{root}/{run_id}"))
        own = {getattr(tags, name.upper()): str(row[name]) for name in ("key", "phase", "arm", "model", "optimizer")}
        own |= {getattr(tags, name.upper()): str(row[name]) for name in ("draw", "seed", "sampler", "epochs", "pack")}
        own |= {tags.ROLE: "trial", tags.STUDY: STUDY, tags.STATUS: "completed", tags.REASON: ""}
        own |= {tags.VERSION: "0.1.0", tags.REVISION: f"{1 + number // MEMBERS:010d}"}
        own |= {"mlflow.parentRunId": arm_runs[str(row["arm"])], "mlflow.runName": str(row["key"])}
        all_tags += [(name, value, run_id) for name, value in own.items()]
        params += [(name, repr(row[name]), run_id) for name in ("lr", "weight_decay")]
        for epoch, error in enumerate(curve, start=1):
            metrics += [
                (tags.ERROR, error, start, run_id, epoch),
                (tags.TRAIN_LOSS, error / 40, start, run_id, epoch),
            ]
        finals = {
            tags.FINAL_ERROR: curve[-1],
            tags.BEST_ERROR: min(curve),
            tags.EPOCHS_DONE: float(len(curve)),
            tags.SECONDS: 60.0,
        }
        metrics += [(name, value, start, run_id, 0) for name, value in finals.items()]
        latest += [(name, value, start, run_id, 0) for name, value in finals.items()]
        latest += [
            (tags.ERROR, curve[-1], start, run_id, len(curve)),
            (tags.TRAIN_LOSS, curve[-1] / 40, start, run_id, len(curve)),
        ]
    with connection:
        connection.executemany(
            "INSERT INTO runs (run_uuid, name, user_id, status, start_time, end_time, experiment_id, artifact_uri, "
            "lifecycle_stage, source_type) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'active', 'LOCAL')",
            runs,
        )
        connection.executemany("INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)", all_tags)
        connection.executemany("INSERT INTO params (key, value, run_uuid) VALUES (?, ?, ?)", params)
        for table, values in (("metrics", metrics), ("latest_metrics", latest)):
            connection.executemany(
                f"INSERT INTO {table} (key, value, timestamp, run_uuid, step, is_nan) VALUES (?, ?, ?, ?, ?, 0)",
                values,
            )
        connection.execute("UPDATE runs SET start_time = ? WHERE run_uuid = ?", (START_MS, study_run))
    connection.close()


def _write_packs(
    folder: Path,
    experiment: str,
    rows: list[dict[str, object]],
    curves: np.ndarray,
    arm_runs: dict[str, str],
    get_run: Callable[[str], object],
) -> None:
    members: dict[tuple[str, str], list[int]] = {}
    for number, row in enumerate(rows):
        members.setdefault((str(row["arm"]), str(row["pack"])), []).append(number)
    epochs = curves.shape[1]
    for (arm, pack), numbers in members.items():
        target = folder / "artifacts" / arm_runs[arm] / "artifacts" / tags.CURVES_FOLDER
        target.mkdir(parents=True, exist_ok=True)
        table = pa.table(
            {
                "key": [rows[number]["key"] for number in numbers for _ in range(epochs)],
                "epoch": np.tile(np.arange(1, epochs + 1), len(numbers)),
                "train_loss": curves[numbers].ravel() / 40,
                "error": curves[numbers].ravel(),
            },
            schema=CURVES_SCHEMA,
        )
        pyarrow.parquet.write_table(table, target / f"{pack}.parquet")


def change(uri: str, number_of_trials: int, revision: int) -> None:
    """One round of publishing: trials that were restarted and have a new result."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric, RunTag

    client = MlflowClient(tracking_uri=uri)
    stamp = RunTag(tags.REVISION, f"{revision:010d}")
    for number in range(number_of_trials):
        client.log_batch(
            uuid.UUID(int=CHANGED_EACH * number).hex,
            metrics=[Metric(tags.FINAL_ERROR, float(revision % 50), revision, 0)],
            tags=[RunTag(tags.STATUS, "completed"), stamp],
        )
    client.set_tag(_study_run(client).info.run_id, stamp.key, stamp.value)


def _last_round(uri: str) -> int:
    from mlflow import MlflowClient

    return int(_study_run(MlflowClient(tracking_uri=uri)).data.tags[tags.REVISION])


def _study_run(client: Any) -> Any:
    experiment = client.get_experiment_by_name(STUDY).experiment_id
    return client.search_runs([experiment], f"tags.`{tags.ROLE}` = 'study'")[0]


def print_time(what: str, work: Callable[[], object]) -> None:
    """Prints how long ``work`` takes."""
    print(f"{what}: {in_words(timed(work).wall_s)}", flush=True)


def measure(name: str, uri: str, copies: Path, store: str, trials: int, revision: int) -> None:
    """First copy, nothing new, some changed trials, and a fresh process's view of the copy."""
    snapshot = Snapshot(uri, STUDY, copies)
    print_time(f"{name}: first sync of {trials} trials", snapshot.refresh)
    for again in range(3):
        print_time(f"{name}: refresh with nothing new ({again + 1})", snapshot.refresh)
    print_time(f"{name}: the same from disk", Snapshot(uri, STUDY, copies).refresh)
    changed = min(CHANGED, -(-trials // CHANGED_EACH))
    change(store, changed, revision)
    print_time(f"{name}: refresh after {changed} changed trials", snapshot.refresh)
    size = sum(path.stat().st_size for path in copies.rglob("*") if path.is_file())
    print(f"{name}: copy on disk: {size / 2**20:.1f} MiB", flush=True)


def main() -> None:
    """Builds the study and prints all times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--folder", type=Path, help="keep everything here; a study that is there already is used again")
    options = parser.parse_args()
    print(machine("mlflow"))
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        uri = f"sqlite:///{folder / 'mlflow.db'}"
        if not (folder / "mlflow.db").exists():
            print_time("building the study", lambda: build(folder, options.trials, options.epochs))
        with tempfile.TemporaryDirectory() as copies:
            revision = _last_round(uri) + 1
            measure("SQLite", uri, Path(copies) / "sqlite", uri, options.trials, revision)
            with mlflow_server(folder, uri) as address:
                measure("mlflow server", address, Path(copies) / "http", uri, options.trials, revision + 1)


if __name__ == "__main__":
    main()
