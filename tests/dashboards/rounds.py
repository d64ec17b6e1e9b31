"""Studies written into MLflow round by round, and a local copy compared with what is read in full."""

import tempfile
import warnings
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from mlflow import MlflowClient
from mlflow.entities import Metric, RunTag

from dashboards import quiet_mlflow, tags
from dashboards.tables import CURVES_SCHEMA
from dashboards.tracking.snapshot import Snapshot
from dashboards.tracking.study import StudyRecord, read_study

ARMS = ("vit/adamw", "vit/sgd")
EPOCHS = 4
MEMBERS = 3
"""Trials of a pack."""
HARDWARE = "2 <b>cores</b>"


class Rounds:
    """Writes a study in numbered rounds, as the publisher does."""

    def __init__(self, uri: str, folder: Path, study: str, draws: int = 6, *, numbered: bool = True) -> None:
        self.client = MlflowClient(tracking_uri=uri)
        self.folder, self.study, self.numbered = folder, study, numbered
        folder.mkdir(parents=True, exist_ok=True)
        # A server decides itself; MLflow alone would put them into the working directory.
        place = None if uri.startswith("http") else (folder / "artifacts").as_uri()
        self.experiment = self.client.create_experiment(study, artifact_location=place)
        self.number = self.highest = self.announced = 0
        self.study_run = self._run("study", {tags.VERSION: "0.1.0"})
        self.arm_runs = {arm: self._run("arm", {tags.ARM: arm, tags.PHASE: "stability"}) for arm in ARMS}
        self.runs: dict[str, str] = {}
        """Run by key; the newest."""
        self.state: dict[str, tuple[str, int]] = {}
        """Status and epochs by key."""
        self.deleted: dict[str, str] = {}
        """Key by run id."""
        self.draws = 0
        self.extend(draws)
        self.announce()

    def _run(self, role: str, run_tags: dict[str, str]) -> str:
        run = self.client.create_run(self.experiment, tags={tags.ROLE: role, **run_tags, **self._stamp()})
        return str(run.info.run_id)

    def _stamp(self) -> dict[str, str]:
        return {tags.REVISION: f"{self.number:010d}"} if self.numbered else {}

    def announce(self) -> None:
        """The end of a round; without it the publisher died."""
        for name, value in self._stamp().items():
            self.client.set_tag(self.study_run, name, value)
        self.highest = self.announced = self.number
        self.number += 1

    def extend(self, draws: int) -> None:
        """More draws in the ledger."""
        self.draws += draws
        generator = np.random.default_rng(3)
        units = generator.random((self.draws, 2))
        rows = [
            {
                "key": f"stability/{arm}/{draw:06d}/0",
                "study": self.study,
                "phase": "stability",
                "arm": arm,
                "model": arm.split("/")[0],
                "optimizer": arm.split("/")[1],
                "draw": draw,
                "seed": draw,
                "sampler": "random",
                "epochs": EPOCHS,
                "lr": float(units[draw, 0]),
                "unit_lr": float(units[draw, 0]),
            }
            for arm in ARMS
            for draw in range(self.draws)
        ]
        self.keys = [str(row["key"]) for row in rows]
        ledger = pa.Table.from_pylist(rows).replace_schema_metadata({"stablesweep.hyperparameters": '["lr"]'})
        self._artifact(self.study_run, tags.LEDGER_ARTIFACT, ledger)

    def _artifact(self, run_id: str, name: str, table: pa.Table, folder: str | None = None) -> None:
        path = self.folder / name
        pyarrow.parquet.write_table(table, path)
        self.client.log_artifact(run_id, str(path), folder)

    def pack_of(self, key: str) -> str:
        arm, draw = key.split("/")[1:3], int(key.split("/")[3])
        return f"{'-'.join(arm)}-{draw // MEMBERS}"

    def touch(self, key: str, status: str, epochs: int) -> None:
        """One trial with its metrics, then its tags in one write."""
        if key not in self.runs:
            stamp = {tags.KEY: key, tags.STATUS: status, tags.PACK: self.pack_of(key)}
            self.runs[key] = self._run("trial", stamp)
        run_id = self.runs[key]
        self.highest = self.number
        # The epoch's time is of the training: a restarted trial repeats it.
        metrics = [
            Metric(name, value, 1_000 + epoch, epoch)
            for epoch in range(1, epochs + 1)
            for name, value in zip(tags.EPOCH_METRICS, self.values(key, epoch), strict=True)
        ]
        if status not in ("running", "pending"):
            metrics += [Metric(tags.EPOCHS_DONE, float(epochs), 9_000 + self.number, 0)]
            metrics += [Metric(tags.SECONDS, 1.5 * epochs, 9_000 + self.number, 0)]
        if status == "completed":
            metrics += [Metric(tags.FINAL_ERROR, self.values(key, epochs)[1], 9_000 + self.number, 0)]
        if metrics:
            self.client.log_batch(run_id, metrics=metrics)
        reason = f"because {status}" if status in ("failed", "lost", "diverged") else ""
        texts = {tags.STATUS: status, tags.REASON: reason, **self._stamp()}
        self.client.log_batch(run_id, tags=[RunTag(name, text) for name, text in texts.items()])
        self.state[key] = status, epochs

    def values(self, key: str, epoch: int) -> tuple[float, float]:
        error = 20.0 + len(key) + self.keys.index(key) / epoch
        return error / 40, error

    def log_pack(self, key: str) -> None:
        """The file of curves of the trial's pack, with what its members have."""
        members = [other for other in self.state if self.pack_of(other) == self.pack_of(key)]
        rows = [
            {"key": member, "epoch": epoch, "train_loss": self.values(member, epoch)[0]}
            | {"error": self.values(member, epoch)[1]}
            for member in members
            for epoch in range(1, self.state[member][1] + 1)
        ]
        table = pa.Table.from_pylist(rows, schema=CURVES_SCHEMA)
        arm = "/".join(key.split("/")[1:3])
        self._artifact(self.arm_runs[arm], f"{self.pack_of(key)}.parquet", table, tags.CURVES_FOLDER)

    def damage_pack(self, key: str) -> None:
        """The file of curves of the trial's pack, half written."""
        path = self.folder / f"{self.pack_of(key)}.parquet"
        path.write_text("PAR1 half written", encoding="utf-8")
        self.client.log_artifact(self.arm_runs["/".join(key.split("/")[1:3])], str(path), tags.CURVES_FOLDER)

    def another_run(self, key: str) -> None:
        """A run that failed, of a trial that has one already or that the ledger does not have."""
        self._run("trial", {tags.KEY: key, tags.STATUS: "failed"})

    def delete(self, key: str) -> str:
        run_id = self.runs.pop(key)
        self.client.delete_run(run_id)
        self.deleted[run_id] = key
        self.state.pop(key)
        return run_id


def same(found: StudyRecord, expected: StudyRecord) -> None:
    for field in fields(StudyRecord):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        if isinstance(one, pa.Table):
            assert one.equals(other, check_metadata=True), f"{field.name}\n{one.to_pylist()}\n{other.to_pylist()}"
        else:
            assert one == other, field.name


def check(snapshot: Snapshot, uri: str, study: str) -> StudyRecord:
    """The refreshed copy and its warnings, equal to the study read in full, now and when nothing happened in between."""
    found, told = with_warnings(snapshot.refresh)
    expected, told_in_full = with_warnings(lambda: read_study(uri, study))
    same(found, expected)
    assert told == told_in_full, f"{told}\n{told_in_full}"
    generation = snapshot.generation
    again, told_again = with_warnings(snapshot.refresh)
    assert again is found
    assert told_again == told
    assert snapshot.generation == generation != ""
    return found


def with_warnings(read: Callable[[], StudyRecord]) -> tuple[StudyRecord, list[str]]:
    """What was read, and what it warned of, all in the name of this file."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        found = read()
    ours = [one for one in caught if issubclass(one.category, UserWarning)]
    assert {one.filename for one in ours} <= {__file__}, ours
    return found, [str(one.message) for one in ours]


def purge(store: str, run_id: str) -> None:
    """What ``mlflow gc`` does to a run that was deleted."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    with quiet_mlflow():
        opened: Any = SqlAlchemyStore
        opened(store, tempfile.gettempdir())._hard_delete_run(run_id)
