"""The MLflow server, or the database under it, goes away while a study runs: training goes on and nothing is lost."""

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.harness import (
    EPOCHS,
    FaultyStudy,
    Results,
    States,
    assert_same_results,
    assert_trained_once,
    some_epochs,
)
from tests.mlflow_server import Server

pytestmark = [pytest.mark.faults, pytest.mark.cluster]

BUSY_S = 20
"""So long MLflow waits for a database that is locked."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """An MLflow server of its own, where the study is recorded."""
    folder = tmp_path / "server"
    folder.mkdir()
    own = Server(folder)
    own.start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", own.uri)
    yield own
    own.kill()


@contextlib.contextmanager
def locked(database: Path) -> Iterator[None]:
    """Another writer holds an SQLite file."""
    with contextlib.closing(sqlite3.connect(database, isolation_level=None, timeout=60)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


def epochs_of(states: States) -> int:
    return max(state.last_epoch for state in states.values())


def further(states: States, epochs: int) -> bool:
    """Whether the record has grown by some epochs, or to its end."""
    return epochs_of(states) >= min(epochs, EPOCHS)


def test_a_server_that_is_killed_and_comes_back(study: FaultyStudy, reference: Results, server: Server) -> None:
    running = study.start()
    before = epochs_of(study.wait(running, some_epochs))
    server.kill()
    study.wait(running, lambda states: further(states, before + 3))
    server.start()
    study.set_pause(0)
    study.ends(running, 0)
    assert_same_results(study, reference)
    assert_trained_once(study, repeated=0)


def test_a_server_that_stays_away_until_after_the_end(study: FaultyStudy, reference: Results, server: Server) -> None:
    running = study.start()
    study.wait(running, some_epochs)
    server.kill()
    study.set_pause(0)
    said = study.ends(running, 2)
    assert f"all results are safe in {study.home.study('faults').record}, run again when it is back" in said
    assert said.count("Error: ") == 1
    assert study.statuses() == {"completed": 3, "diverged": 1}

    assert "cannot be reached" in study.run(code=2)
    server.start()
    assert "Nothing to train: all 4 trials" in study.run()
    assert_same_results(study, reference)
    assert_trained_once(study, repeated=0)


def test_databases_that_another_writer_locks(study: FaultyStudy, reference: Results) -> None:
    running = study.start()
    study.wait(running, some_epochs)
    # Both locks must fall into the training.
    study.set_pause(0.5)
    before = study.epochs_trained().total()
    with locked(study.home.study("faults").record):
        time.sleep(3)
        assert study.epochs_trained().total() > before
    with locked(study.home.path / "mlflow.db"):
        began = time.monotonic()
        # Not what the record has, which is behind: what was trained before this lock would be taken for growth under it.
        trained = max(study.epochs_trained().values())
        assert trained + 3 <= EPOCHS
        study.wait(running, lambda states: further(states, trained + 3))
        study.set_pause(0)
        time.sleep(max(BUSY_S + 10 - (time.monotonic() - began), 0))
    study.ends(running, 0)
    assert_same_results(study, reference)
    assert_trained_once(study, repeated=0)


def test_a_database_that_is_locked_at_the_start(study: FaultyStudy, reference: Results) -> None:
    # A finished study: what is shown is how a run begins, and that needs no Ray.
    study.run()
    with locked(study.home.path / "mlflow.db"):
        said = study.run(code=2).splitlines()[-1]
    assert said.startswith(f"Error: the tracking store sqlite:///{study.home.path}/mlflow.db cannot be used")
    assert "database is locked" in said
    study.run()
    assert_same_results(study, reference)
