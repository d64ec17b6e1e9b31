"""Studies as they are found: those that did not change are not read again, and only the last few are held."""

import gc
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dashboards import quiet_mlflow
from dashboards.recent import KEPT
from dashboards.studies import Studies
from dashboards.tracking.snapshot import Snapshot
from dashboards.tracking.study import StudyNotFound, StudyRecord, read_study
from tests.dashboards.rounds import EPOCHS, Rounds, same

WAIT_S = 60.0


class Watched(Snapshot):
    """Tells which copies are in memory; that of the study ``slow`` waits before it reads."""

    made: list[tuple[str, "weakref.ref[Watched]"]]
    slow: str
    entered: threading.Event
    gate: threading.Event

    def __init__(self, tracking_uri: str, study: str, folder: Path) -> None:
        super().__init__(tracking_uri, study, folder)
        self.made.append((study, weakref.ref(self)))

    def refresh(self) -> StudyRecord:
        if self._study == self.slow:
            self.entered.set()
            assert self.gate.wait(WAIT_S)
        return super().refresh()


@pytest.fixture
def in_memory(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """The studies whose copies are in memory, in the order in which they were first read."""
    Watched.made, Watched.slow, Watched.entered, Watched.gate = [], "", threading.Event(), threading.Event()
    monkeypatch.setattr("dashboards.studies.Snapshot", Watched)

    def names() -> list[str]:
        gc.collect()
        return [name for name, copy in Watched.made if copy() is not None]

    return names


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[sqlite3.Connection]:
    """The connections that copies keep; MLflow's are made elsewhere."""
    found: list[sqlite3.Connection] = []
    connect: Callable[..., sqlite3.Connection] = sqlite3.connect

    def recorded(*arguments: Any, **options: Any) -> sqlite3.Connection:
        found.append(connect(*arguments, **options))
        return found[-1]

    monkeypatch.setattr("dashboards.tracking.stamp.sqlite3.connect", recorded)
    return found


@pytest.fixture
def write(tracking_uri: str, tmp_path: Path) -> Iterator[Callable[[int], list[str]]]:
    """Writes so many studies of one draw; returns their names."""

    def written(number: int) -> list[str]:
        names = [f"study {place}" for place in range(number)]
        for place, name in enumerate(names):
            study = Rounds(tracking_uri, tmp_path / f"writer {place}", name, draws=1)
            study.touch(study.keys[place % 2], "completed", EPOCHS)
            study.announce()
        return names

    with quiet_mlflow():
        yield written


@pytest.fixture
def studies(tracking_uri: str, tmp_path: Path) -> Studies:
    return Studies(tracking_uri=tracking_uri, snapshots=tmp_path / "copies")


def is_open(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("PRAGMA data_version").fetchall()
    except sqlite3.ProgrammingError:
        return False
    return True


def test_a_study_is_the_same_object_until_it_changes(rounds: Rounds, tracking_uri: str, studies: Studies) -> None:
    rounds.touch(rounds.keys[0], "completed", EPOCHS)
    rounds.log_pack(rounds.keys[0])
    rounds.announce()
    first = studies.read(["demo"])
    assert studies.read(["demo"]) is first
    rounds.touch(rounds.keys[1], "running", 1)
    rounds.announce()
    second = studies.read(["demo"])
    assert second is not first
    assert second.trials != first.trials
    assert Studies(tracking_uri=tracking_uri, snapshots=studies.snapshots) == studies


def test_the_study_used_longest_ago_is_let_go_and_read_again_when_it_is_asked_for(
    write: Callable[[int], list[str]],
    studies: Studies,
    in_memory: Callable[[], list[str]],
    opened: list[sqlite3.Connection],
) -> None:
    names = write(KEPT + 1)
    records = {name: studies.read([name]) for name in names[:KEPT]}
    assert studies.read([names[0]]) is records[names[0]]
    assert in_memory() == names[:KEPT]
    studies.read([names[KEPT]])
    assert in_memory() == [names[0], *names[2:]]
    assert [is_open(connection) for connection in opened] == [True, False, *[True] * (KEPT - 1)]
    again = studies.read([names[1]])
    same(again, records[names[1]])
    same(again, read_study(studies.tracking_uri, names[1]))
    assert in_memory() == [names[0], *names[3:], names[1]]


def test_a_name_that_is_not_there_is_not_kept_and_pushes_out_nothing(
    write: Callable[[int], list[str]], studies: Studies, in_memory: Callable[[], list[str]]
) -> None:
    names = write(KEPT)
    for name in names:
        studies.read([name])
    for name in ("unknown", "another"):
        with pytest.raises(StudyNotFound, match=name):
            studies.read([name])
    assert in_memory() == names


def test_a_study_that_was_deleted_is_not_kept(
    rounds: Rounds, studies: Studies, in_memory: Callable[[], list[str]], opened: list[sqlite3.Connection]
) -> None:
    studies.read(["demo"])
    assert in_memory() == ["demo"]
    rounds.client.delete_experiment(rounds.experiment)
    with pytest.raises(StudyNotFound, match="demo"):
        studies.read(["demo"])
    assert in_memory() == []
    assert [is_open(connection) for connection in opened] == [False]


def test_a_thread_reads_to_its_end_what_falls_out_meanwhile(
    write: Callable[[int], list[str]],
    studies: Studies,
    in_memory: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dashboards.recent.KEPT", 1)
    first, second = write(2)
    Watched.slow = first
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(studies.read, [first])
        try:
            assert Watched.entered.wait(WAIT_S)
            studies.read([second])
            assert in_memory() == [first, second]
        finally:
            Watched.gate.set()
        same(slow.result(WAIT_S), read_study(studies.tracking_uri, first))
    assert in_memory() == [second]
