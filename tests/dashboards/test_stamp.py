"""The stamp of a tracking store changes with every kind of write of a real MLflow, and looking at it is in nobody's way."""

import gc
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from dashboards.tracking.snapshot import Snapshot
from dashboards.tracking.stamp import Watch
from tests.dashboards.rounds import Rounds

WRITE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)
try:
    connection.execute("PRAGMA user_version = 1")
except sqlite3.OperationalError as error:
    print(error)
"""


def written_elsewhere(store: Path) -> str:
    """Another process writes, at once; what SQLite tells it if it must not."""
    done = subprocess.run([sys.executable, "-c", WRITE, str(store)], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()


@contextmanager
def statements() -> Iterator[list[str]]:
    """What anybody asks a database in the block, through SQLAlchemy as MLflow does."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    found: list[str] = []

    def note(connection: object, cursor: object, statement: str, *rest: Any) -> None:
        found.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", note)


@pytest.fixture
def store(tracking_uri: str) -> Path:
    return Path(tracking_uri.removeprefix("sqlite:///"))


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_every_write_changes_it_and_no_reading(tracking_uri: str, store: Path, journal: str) -> None:
    connection = sqlite3.connect(store)
    assert connection.execute(f"PRAGMA journal_mode={journal}").fetchall() == [(journal,)]
    connection.close()
    client = MlflowClient(tracking_uri=tracking_uri)
    experiment = client.create_experiment("x")
    run = client.create_run(experiment).info.run_id
    writes: list[Callable[[], object]] = [
        lambda: client.create_run(experiment),
        lambda: client.set_tag(run, "a", "1"),
        lambda: client.set_tag(run, "a", "2"),
        lambda: client.log_metric(run, "m", 1.0),
        lambda: client.log_param(run, "p", "1"),
        lambda: client.set_terminated(run),
        lambda: client.delete_run(run),
        lambda: client.restore_run(run),
        lambda: client.delete_experiment(experiment),
        lambda: written_elsewhere(store),
    ]
    watch = Watch(tracking_uri)
    stamps = [watch.stamp()]
    for write in writes:
        write()
        stamps.append(watch.stamp())
        # Readers of another process would come with a client of their own.
        MlflowClient(tracking_uri=tracking_uri).search_runs([experiment])
        assert watch.stamp() == stamps[-1]
    assert None not in stamps
    assert len({stamp[:2] for stamp in stamps if stamp}) == len(writes) + 1


def test_who_writes_keeps_its_lock_when_somebody_looks(
    rounds: Rounds, snapshot: Snapshot, tracking_uri: str, store: Path
) -> None:
    rounds.touch(rounds.keys[0], "running", 2)
    rounds.announce()
    writer = sqlite3.connect(store, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("DELETE FROM tags WHERE key = 'by'")
    assert written_elsewhere(store) == "database is locked"
    watch = Watch(tracking_uri)
    assert watch.stamp() == watch.stamp() is not None
    snapshot.refresh()
    assert written_elsewhere(store) == "database is locked"
    # Its connection is closed.
    del watch
    gc.collect()
    assert written_elsewhere(store) == "database is locked"
    writer.execute("COMMIT")
    writer.close()
    assert written_elsewhere(store) == ""


def test_an_unchanged_store_is_not_asked(rounds: Rounds, snapshot: Snapshot, store: Path) -> None:
    rounds.touch(rounds.keys[0], "running", 2)
    rounds.announce()
    # The first look finds something, the second one nothing.
    record = snapshot.refresh()
    assert snapshot.refresh() is record
    before = store.stat().st_mtime_ns
    with statements() as asked:
        assert snapshot.refresh() is record
    assert asked == []
    assert store.stat().st_mtime_ns == before
    rounds.touch(rounds.keys[0], "running", 3)
    with statements() as asked:
        assert snapshot.refresh() is not record
    assert asked


def test_another_file_in_its_place_is_seen(tracking_uri: str, store: Path, tmp_path: Path) -> None:
    other = Path(shutil.copy(store, tmp_path / "other.db"))
    watch = Watch(tracking_uri)
    stamps = [watch.stamp()]
    # Moved there: another file of the same name. Copied over it: the same file, of which SQLite sees no change.
    other.replace(store)
    stamps.append(watch.stamp())
    shutil.copy(store, other)
    shutil.copyfile(other, store)
    stamps.append(watch.stamp())
    assert watch.stamp() == stamps[-1]
    assert None not in stamps
    assert len(set(stamps)) == len(stamps)
    MlflowClient(tracking_uri=tracking_uri).create_experiment("x")
    assert watch.stamp() not in (None, *stamps)


def test_there_is_none_while_somebody_writes_to_the_file(tracking_uri: str, store: Path) -> None:
    watch = Watch(tracking_uri)
    before = watch.stamp()
    writer = sqlite3.connect(store, isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    assert watch.stamp() is None
    writer.execute("ROLLBACK")
    writer.close()
    assert watch.stamp() == before


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1:5000",
        "postgresql://me@host/mlflow",
        "sqlite://",
        "sqlite:///",
        "sqlite:///{}",
        "sqlite:///{}/no.db",
    ],
)
def test_what_has_none(uri: str, tmp_path: Path) -> None:
    assert Watch(uri.format(tmp_path)).stamp() is None
    assert not any(tmp_path.iterdir())


def test_neither_has_what_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_bytes(b"these are notes " * 1_000)
    assert Watch(f"sqlite:///{tmp_path / 'notes.db'}").stamp() is None


def test_a_path_with_the_signs_of_an_address(store: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(store, tmp_path / "50%3f of #1.db"))
    watch = Watch(f"sqlite:///{path}")
    before = watch.stamp()
    assert before is not None
    assert written_elsewhere(path) == ""
    assert watch.stamp() != before
