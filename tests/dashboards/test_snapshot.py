"""The local copy equals what is read in full, after whatever happened in MLflow: SQLite, a server, PostgreSQL."""

import json
import multiprocessing
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, RunTag

from dashboards import quiet_mlflow, tags
from dashboards.statistics.costs import ArmCost
from dashboards.tables import CURVES_SCHEMA
from dashboards.tracking import search
from dashboards.tracking.changes import prefixes
from dashboards.tracking.snapshot import Snapshot, default_folder
from dashboards.tracking.study import StudyNotFound, StudyRecord, read_study
from tests.mlflow_server import server_environment

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
    assert told == told_in_full
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
    assert {one.filename for one in ours} <= {__file__}
    return found, [str(one.message) for one in ours]


def purge(store: str, run_id: str) -> None:
    """What ``mlflow gc`` does to a run that was deleted."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    with quiet_mlflow():
        opened: Any = SqlAlchemyStore
        opened(store, tempfile.gettempdir())._hard_delete_run(run_id)


def random_step(rounds: Rounds, store: str, choice: random.Random) -> str:
    """One thing that happens to a study; returns what."""
    pick = choice.choice
    waiting = [key for key in rounds.keys if key not in rounds.state]
    running = [key for key, (status, _) in rounds.state.items() if status == "running"]
    ended = [key for key, (status, _) in rounds.state.items() if status != "running"]
    lost = [key for key in ended if rounds.state[key][0] in ("lost", "failed")]
    what = pick(
        ["start", "start", "epoch", "epoch", "end", "end", "restart", "delete", "restore", "purge", "other", "warn"]
    )
    if what == "start" and waiting:
        for key in choice.sample(waiting, min(len(waiting), choice.randint(1, 3))):
            rounds.touch(key, "running", 0)
    elif what == "epoch" and running:
        for key in running:
            rounds.touch(key, "running", min(rounds.state[key][1] + 1, EPOCHS))
    elif what == "end" and running:
        key = pick(running)
        status = pick(["completed", "completed", "diverged", "failed", "lost", "pruned"])
        rounds.touch(key, status, EPOCHS if status == "completed" else rounds.state[key][1])
        if choice.random() < 0.6:
            rounds.log_pack(key)
    elif what == "restart" and lost:
        rounds.touch(pick(lost), "running", 0)
    elif what == "delete" and ended:
        run_id = rounds.delete(pick(ended))
        if choice.random() < 0.3:
            del rounds.deleted[run_id]
            purge(store, run_id)
    elif what == "restore" and rounds.deleted:
        run_id = pick(sorted(rounds.deleted))
        rounds.client.restore_run(run_id)
        key = rounds.deleted.pop(run_id)
        if key not in rounds.runs:
            data = rounds.client.get_run(run_id).data
            rounds.runs[key] = run_id
            rounds.state[key] = data.tags[tags.STATUS], int(data.metrics.get(tags.EPOCHS_DONE, 0))
    elif what == "purge" and rounds.deleted:
        run_id = pick(sorted(rounds.deleted))
        del rounds.deleted[run_id]
        purge(store, run_id)
    elif what == "other":
        rounds.client.set_tag(rounds.study_run, tags.HARDWARE, HARDWARE)
        if rounds.draws < 12:
            rounds.extend(1)
    elif what == "warn" and rounds.state:
        key = pick(sorted(rounds.state))
        if choice.random() < 0.4:
            rounds.damage_pack(key)
        else:
            # The ledger has none of the second kind.
            rounds.another_run(pick([key, f"{key}/0"]))
    # Not twice in a row: a run that was touched by two dying publishers is seen when a third one ends its round.
    if what in ("other", "warn") or rounds.number > rounds.announced + 1 or choice.random() < 0.7:
        rounds.announce()
        return what
    # The publisher dies; the next one takes the next number that nobody had.
    rounds.number = rounds.highest + 1
    return f"{what}, cut off"


def random_history(uri: str, store: str, folder: Path, study: str, steps: int, *, numbered: bool = True) -> None:
    choice = random.Random(study)
    with quiet_mlflow():
        rounds = Rounds(uri, folder / "writer", study, numbered=numbered)
        snapshot = Snapshot(uri, study, folder / "copies")
        done = []
        for step in range(steps):
            done += [random_step(rounds, store, choice) for _ in range(choice.randint(1, 3))]
            if step % 5 == 4:
                # A new process with what is on the disk.
                snapshot = Snapshot(uri, study, folder / "copies")
            try:
                check(snapshot, uri, study)
            except AssertionError as error:
                raise AssertionError(f"after {done}") from error
    assert len({what.split(",")[0] for what in done}) >= min(8, steps // 3)


@pytest.fixture
def rounds(tracking_uri: str, tmp_path: Path) -> Iterator[Rounds]:
    with quiet_mlflow():
        yield Rounds(tracking_uri, tmp_path / "writer", "demo", draws=6)


@pytest.fixture
def snapshot(tracking_uri: str, tmp_path: Path) -> Snapshot:
    return Snapshot(tracking_uri, "demo", tmp_path / "copies")


@pytest.mark.parametrize("study", ["one", "a/b <i>three</i>"])
def test_equal_to_a_full_read_after_every_step(tracking_uri: str, tmp_path: Path, study: str) -> None:
    random_history(tracking_uri, tracking_uri, tmp_path, study, steps=20)


def test_a_study_without_numbers_is_read_in_full(tracking_uri: str, tmp_path: Path) -> None:
    random_history(tracking_uri, tracking_uri, tmp_path, "older version", steps=8, numbered=False)


def test_small_pages(tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "PAGE", 2)
    random_history(tracking_uri, tracking_uri, tmp_path, "pages", steps=10)


@contextmanager
def running(command: list[str], ready: Callable[[], bool], log: Path) -> Iterator[None]:
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=server_environment())
        try:
            for _ in range(240):
                if process.poll() is not None or ready():
                    break
                time.sleep(0.25)
            assert process.poll() is None, log.read_text()
            assert ready(), log.read_text()
            yield
        finally:
            process.terminate()
            process.wait(30)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address, timeout=5).close()
    except (urllib.error.URLError, OSError):
        return False
    return True


def test_equal_through_a_server(tracking_uri: str, tmp_path: Path) -> None:
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", tracking_uri, "--workers", "1"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--artifacts-destination", str(tmp_path / "artifacts")]
    with running(command, lambda: answers(f"{address}/health"), tmp_path / "server.log"):
        random_history(address, tracking_uri, tmp_path, "served", steps=7)


def postgres_programs() -> Path | None:
    found = shutil.which("initdb")
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return debian[-1].parent if debian else None if found is None else Path(found).parent


def _fails(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode != 0


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[str]:
    """The URI of an empty database of a PostgreSQL server of our own."""
    programs = postgres_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt install postgresql)")
    as_user: list[str] = []
    with tempfile.TemporaryDirectory() as home:
        if os.getuid() == 0:
            # PostgreSQL refuses to run as root.
            if shutil.which("runuser") is None or _fails(["id", "postgres"]):
                pytest.skip("tests run as root and there is no user postgres to run PostgreSQL as")
            as_user = ["runuser", "-u", "postgres", "--"]
            shutil.chown(home, "postgres")
        data, port = Path(home) / "data", free_port()
        setup = [str(programs / "initdb"), "-D", str(data), "-U", "mlflow", "--auth=trust", "--no-sync"]
        subprocess.run([*as_user, *setup], check=True, capture_output=True, cwd=home)
        options = ["-k", home, "-p", str(port), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
        ready = [str(programs / "pg_isready"), "-h", "127.0.0.1", "-p", str(port), "-U", "mlflow"]
        command = [*as_user, str(programs / "postgres"), "-D", str(data), *options]
        with running(
            command,
            lambda: not _fails(ready),
            tmp_path / "postgres.log",
        ):
            yield f"postgresql+psycopg2://mlflow:secret@127.0.0.1:{port}/postgres"


def test_equal_on_postgres(postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # MLflow puts artifacts under the working folder unless a server says otherwise.
    monkeypatch.chdir(tmp_path)
    random_history(postgres, postgres, tmp_path, "postgres", steps=8)
    on_disk = b"".join(path.read_bytes() for path in (tmp_path / "copies").rglob("*") if path.is_file())
    assert b"secret" not in on_disk


def test_each_change_is_seen(rounds: Rounds, snapshot: Snapshot, tracking_uri: str) -> None:
    """Restarted, deleted, restored, purged: numbers worked out by hand."""

    def row(key: str) -> dict[str, object]:
        found = check(snapshot, tracking_uri, "demo").trials.to_pylist()
        return next(row for row in found if row["key"] == key)

    key, other = rounds.keys[0], rounds.keys[1]
    assert row(key)["status"] == "pending"
    rounds.touch(key, "running", 2)
    rounds.announce()
    assert (row(key)["status"], row(key)["epochs_done"]) == ("running", None)
    assert snapshot.refresh().curves["epoch"].to_pylist() == [1, 2]
    rounds.touch(key, "lost", 2)
    rounds.log_pack(key)
    rounds.announce()
    assert (row(key)["status"], row(key)["reason"], row(key)["epochs_done"]) == ("lost", "because lost", 2)
    rounds.touch(key, "running", 0)
    rounds.announce()
    found = row(key)
    assert (found["status"], found["reason"], found["epochs_done"], found["seconds"]) == ("running", None, None, None)
    assert snapshot.refresh().curves["epoch"].to_pylist() == [1, 2]
    rounds.touch(key, "running", 3)
    rounds.announce()
    assert row(key)["epochs_done"] is None
    assert snapshot.refresh().curves["epoch"].to_pylist() == [1, 2, 3]
    rounds.touch(key, "completed", EPOCHS)
    rounds.log_pack(key)
    rounds.touch(other, "completed", EPOCHS)
    rounds.announce()
    before = snapshot.generation
    completed = row(key)
    assert (completed["status"], completed["error"]) == ("completed", rounds.values(key, EPOCHS)[1])
    assert snapshot.refresh().curves["epoch"].to_pylist() == [1, 2, 3, 4] * 2
    whole = snapshot.generation
    assert whole != before
    run_id = rounds.delete(key)
    assert row(key)["status"] == "pending"
    assert snapshot.generation != whole
    rounds.client.restore_run(run_id)
    assert row(key) == completed
    assert snapshot.generation == whole
    rounds.client.delete_run(run_id)
    assert row(key)["status"] == "pending"
    purge(tracking_uri, run_id)
    assert row(key)["status"] == "pending"
    assert row(other)["status"] == "completed"


def test_what_a_dying_publisher_left_is_completed(rounds: Rounds, snapshot: Snapshot, tracking_uri: str) -> None:
    key = rounds.keys[0]
    rounds.touch(key, "running", 1)
    rounds.announce()
    check(snapshot, tracking_uri, "demo")
    # It died between the metrics of the second epoch and the tags: nothing says yet that there is news.
    rounds.client.log_batch(rounds.runs[key], metrics=[Metric(tags.ERROR, rounds.values(key, 2)[1], 1_002, 2)])
    assert snapshot.refresh().curves["epoch"].to_pylist() == [1]
    rounds.number += 1
    rounds.touch(key, "running", 3)
    check(snapshot, tracking_uri, "demo")
    # In the same round again, and then the round is over.
    rounds.touch(key, "running", 4)
    check(snapshot, tracking_uri, "demo")
    rounds.announce()
    assert check(snapshot, tracking_uri, "demo").curves["epoch"].to_pylist() == [1, 2, 3, 4]


def test_a_run_deleted_and_purged_while_nobody_looked(
    rounds: Rounds, snapshot: Snapshot, tracking_uri: str, tmp_path: Path
) -> None:
    for key in rounds.keys[:4]:
        rounds.touch(key, "completed", EPOCHS)
    rounds.announce()
    check(snapshot, tracking_uri, "demo")
    purge(tracking_uri, rounds.delete(rounds.keys[2]))
    check(Snapshot(tracking_uri, "demo", tmp_path / "copies"), tracking_uri, "demo")


def test_a_run_deleted_before_the_first_look_is_restored(rounds: Rounds, snapshot: Snapshot, tracking_uri: str) -> None:
    rounds.touch(rounds.keys[0], "completed", EPOCHS)
    rounds.announce()
    run_id = rounds.delete(rounds.keys[0])
    check(snapshot, tracking_uri, "demo")
    rounds.client.restore_run(run_id)
    assert check(snapshot, tracking_uri, "demo").trials["status"].to_pylist().count("completed") == 1


def test_costs_hardware_and_files_follow(rounds: Rounds, snapshot: Snapshot, tracking_uri: str) -> None:
    assert check(snapshot, tracking_uri, "demo").costs == {}
    client = rounds.client
    for name, value in ((tags.TRAIN_IMAGES, "50000"), (tags.GPUS, "0.5"), (tags.HARDWARE, HARDWARE)):
        client.set_tag(rounds.study_run, name, value)
    for name, value in ((tags.PARAMETERS, "123"), (tags.FLOPS, "456"), (tags.ACTIVATIONS, "odd")):
        client.set_tag(rounds.arm_runs["vit/sgd"], name, value)
    client.log_text(rounds.study_run, json.dumps({"training": 3}), tags.TIMING_ARTIFACT)
    rounds.announce()
    with pytest.warns(UserWarning, match=r"activations of MLflow run .* is no whole number \('odd'\)"):
        found = read_study(tracking_uri, "demo")
    common: dict[str, Any] = {"images_per_epoch": 50_000, "gpus": 0.5}
    assert found.costs == {
        "vit/adamw": ArmCost(**common),
        "vit/sgd": ArmCost(parameters=123, flops=456, **common),
    }
    assert (found.hardware, found.timing) == (HARDWARE, {"training": 3.0})
    check(snapshot, tracking_uri, "demo")


def test_a_warning_is_repeated_as_long_as_it_holds(
    rounds: Rounds, snapshot: Snapshot, tracking_uri: str, tmp_path: Path
) -> None:
    key, other = rounds.keys[0], rounds.keys[6]
    for one in (key, other):
        rounds.touch(one, "completed", EPOCHS)
    rounds.log_pack(key)
    rounds.damage_pack(other)
    rounds.another_run(key)
    rounds.another_run("stability/vit/sgd/999999/0")
    rounds.client.set_tag(rounds.arm_runs["vit/sgd"], tags.ACTIVATIONS, "odd")
    rounds.announce()
    parts = ("cannot be read", "several MLflow runs", "not in its ledger", "no whole number")

    def told(reader: Snapshot) -> list[str]:
        texts = with_warnings(reader.refresh)[1]
        return [next(part for part in parts if part in text) for text in texts]

    check(snapshot, tracking_uri, "demo")
    assert told(snapshot) == list(parts)
    for _ in range(2):
        from_disk = Snapshot(tracking_uri, "demo", tmp_path / "copies")
        assert told(from_disk) == list(parts)
        check(from_disk, tracking_uri, "demo")
    # A round that has to do with nothing of it.
    rounds.touch(rounds.keys[1], "running", 1)
    rounds.announce()
    check(from_disk, tracking_uri, "demo")
    assert told(from_disk) == list(parts)
    rounds.log_pack(other)
    rounds.announce()
    check(from_disk, tracking_uri, "demo")
    assert told(from_disk) == list(parts[1:])
    assert told(Snapshot(tracking_uri, "demo", tmp_path / "copies")) == list(parts[1:])


def test_a_deleted_arm_run_takes_its_files_along(rounds: Rounds, snapshot: Snapshot, tracking_uri: str) -> None:
    rounds.touch(rounds.keys[0], "completed", EPOCHS)
    rounds.log_pack(rounds.keys[0])
    rounds.announce()
    check(snapshot, tracking_uri, "demo")
    rounds.client.delete_run(rounds.arm_runs[ARMS[0]])
    check(snapshot, tracking_uri, "demo")
    rounds.client.restore_run(rounds.arm_runs[ARMS[0]])
    check(snapshot, tracking_uri, "demo")


def test_a_deleted_study_is_not_found_and_comes_back(rounds: Rounds, snapshot: Snapshot, tracking_uri: str) -> None:
    before = check(snapshot, tracking_uri, "demo")
    rounds.client.delete_experiment(rounds.experiment)
    with pytest.raises(StudyNotFound, match="No study 'demo'"):
        snapshot.refresh()
    rounds.client.restore_experiment(rounds.experiment)
    assert snapshot.refresh() is before
    rounds.client.delete_run(rounds.study_run)
    with pytest.raises(StudyNotFound, match="No study 'demo'"):
        snapshot.refresh()


def test_another_study_of_the_name_is_read_anew(
    rounds: Rounds, snapshot: Snapshot, tracking_uri: str, tmp_path: Path
) -> None:
    rounds.touch(rounds.keys[0], "completed", EPOCHS)
    rounds.announce()
    check(snapshot, tracking_uri, "demo")
    rounds.client.rename_experiment(rounds.experiment, "old demo")
    Rounds(tracking_uri, tmp_path / "other", "demo", draws=2)
    with pytest.warns(UserWarning, match="is of another study named 'demo'"):
        found = snapshot.refresh()
    same(found, read_study(tracking_uri, "demo"))
    assert found.trials.num_rows == 4


@pytest.mark.parametrize("part", ["state.json", "runs", "ledger", "packs", "histories", "trials", "curves"])
@pytest.mark.parametrize("damage", ["empty", "flipped", "missing"])
def test_a_damaged_copy_is_thrown_away(
    rounds: Rounds, snapshot: Snapshot, tracking_uri: str, tmp_path: Path, part: str, damage: str
) -> None:
    for key in rounds.keys[:4]:
        rounds.touch(key, "completed", EPOCHS)
    rounds.log_pack(rounds.keys[0])
    rounds.announce()
    check(snapshot, tracking_uri, "demo")
    folder = next((tmp_path / "copies").iterdir())
    path = next(folder.glob(f"{part}*"))
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        middle = len(content) // 2 if part == "state.json" else 20
        flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        path.write_bytes(b"" if damage == "empty" else flipped)
    fresh = Snapshot(tracking_uri, "demo", tmp_path / "copies")
    if (part, damage) == ("state.json", "missing"):
        found = fresh.refresh()
    else:
        with pytest.warns(UserWarning, match="this copy of study 'demo' cannot be used") as caught:
            found = fresh.refresh()
        assert caught[0].filename == __file__
    same(found, read_study(tracking_uri, "demo"))
    assert fresh.generation == snapshot.generation
    same(Snapshot(tracking_uri, "demo", tmp_path / "copies").refresh(), found)


def test_a_copy_of_another_server_or_version_is_thrown_away(
    rounds: Rounds, snapshot: Snapshot, tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(snapshot, tracking_uri, "demo")
    elsewhere = tmp_path / "elsewhere.db"
    shutil.copy(tmp_path / "mlflow.db", elsewhere)
    with pytest.warns(UserWarning, match="its tracking is 'sqlite:"):
        Snapshot(f"sqlite:///{elsewhere}", "demo", tmp_path / "copies").refresh()
    monkeypatch.setattr("dashboards.tracking.snapshot_files.FORMAT", 3)
    with pytest.warns(UserWarning, match="its format is 2, not 3"):
        Snapshot(f"sqlite:///{elsewhere}", "demo", tmp_path / "copies").refresh()


def test_a_copy_that_cannot_be_written_is_said(rounds: Rounds, tracking_uri: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    snapshot = Snapshot(tracking_uri, "demo", tmp_path / "file")
    with pytest.warns(UserWarning, match="cannot be written"):
        found = snapshot.refresh()
    same(found, read_study(tracking_uri, "demo"))
    assert snapshot.refresh() is found


def test_only_what_changed_is_written(rounds: Rounds, snapshot: Snapshot, tracking_uri: str, tmp_path: Path) -> None:
    rounds.touch(rounds.keys[0], "completed", EPOCHS)
    rounds.log_pack(rounds.keys[0])
    rounds.announce()
    check(snapshot, tracking_uri, "demo")
    folder = next((tmp_path / "copies").iterdir())
    before = {path.name.split("-")[0]: path.name for path in folder.glob("*.parquet")}
    assert set(before) == {"runs", "ledger", "packs", "histories", "trials", "curves"}
    rounds.touch(rounds.keys[1], "running", 0)
    rounds.announce()
    check(snapshot, tracking_uri, "demo")
    after = {path.name.split("-")[0]: path.name for path in folder.glob("*.parquet")}
    assert {part for part in before if before[part] != after[part]} == {"runs", "trials", "histories"}
    assert {path.name for path in folder.iterdir()} == {*after.values(), "state.json", ".lock"}


def _refresh_often(uri: str, folder: str, times: int) -> None:
    warnings.simplefilter("error", UserWarning)
    for _ in range(times):
        Snapshot(uri, "demo", Path(folder)).refresh()


def test_two_processes_at_once(rounds: Rounds, snapshot: Snapshot, tracking_uri: str, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    others = [
        context.Process(target=_refresh_often, args=(tracking_uri, str(tmp_path / "copies"), 4)) for _ in range(2)
    ]
    for process in others:
        process.start()
    number = 0
    while any(process.is_alive() for process in others):
        key = rounds.keys[number % len(rounds.keys)]
        rounds.touch(key, "completed" if number % 3 else "running", 1 + number % EPOCHS)
        rounds.announce()
        number += 1
    for process in others:
        process.join()
    assert [process.exitcode for process in others] == [0, 0]
    check(snapshot, tracking_uri, "demo")
    check(Snapshot(tracking_uri, "demo", tmp_path / "copies"), tracking_uri, "demo")


def test_the_default_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    uri = "postgresql://me:secret@db.example/mlflow"
    assert default_folder(uri).parent == tmp_path / "stablesweep" / "snapshots"
    assert default_folder(uri) == default_folder(uri.replace("secret", "changed"))
    assert default_folder(uri) != default_folder(uri.replace("mlflow", "other"))
    monkeypatch.chdir(tmp_path)
    assert default_folder("sqlite:///mlflow.db") == default_folder(f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert default_folder(uri).parent == Path("/home/somebody/.cache/stablesweep/snapshots")


@pytest.mark.parametrize(("low", "high"), [(0, 0), (1, 9), (123, 145), (7, 1_234), (999, 1_001), (5, 4), (0, 9_999)])
def test_prefixes_cover_a_range_once(low: int, high: int) -> None:
    numbers = [f"{number:010d}" for number in range(max(0, low - 50), high + 50)]
    hits = [number for number in numbers for prefix in prefixes(low, high) if number.startswith(prefix)]
    assert hits == [f"{number:010d}" for number in range(low, high + 1)]
    assert len(prefixes(low, high)) <= 18 * len(str(high))
