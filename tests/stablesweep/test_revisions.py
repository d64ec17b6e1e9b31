"""Revisions: whoever has read everything up to the study run's number misses nothing, wherever the writer died.

Every test writes to a real SQLite store; a client around the real one raises before or after one of its calls.
"""

import itertools
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from dashboards import tags
from dashboards.tracking.study import read_study
from stablesweep.errors import StablesweepError, TrackingError
from stablesweep.ledger import to_trials, write_ledger
from stablesweep.publisher import Publisher
from stablesweep.record import Record
from stablesweep.run_tags import RunTags
from stablesweep.trials import Trial
from tests.mlflow_server import forgotten, story
from tests.support import small_study

WRITES = (
    "create_experiment",
    "create_run",
    "log_artifact",
    "log_batch",
    "log_dict",
    "set_tag",
    "set_terminated",
    "update_run",
)


class FaultyClient:
    """A real client whose ``at``-th write fails, before it is done or after; and that tells of every write.

    Args:
        client: The real one.
        at: Counted from 1; 0 for no fault.
        after: Whether the write is done all the same, and only its answer lost.
        told: Called after every write.
    """

    def __init__(self, client: Any, at: int = 0, *, after: bool = False, told: Callable[[], object] = int) -> None:
        self.client, self.at, self.after, self.told = client, at, after, told
        self.writes = 0

    def __getattr__(self, name: str) -> Any:
        real = getattr(self.client, name)
        if name not in WRITES:
            return real

        def write(*arguments: Any, **named: Any) -> Any:
            self.writes += 1
            if self.writes == self.at and not self.after:
                raise OSError("gone before")
            answer = real(*arguments, **named)
            self.told()
            if self.writes == self.at:
                raise OSError("gone after")
            return answer

        return write


class Store:
    """A study of arms with one draw each, of a name of its own in a store that it shares with others."""

    def __init__(self, uri: str, folder: Path, arms: Sequence[str]) -> None:
        folder.mkdir(parents=True)
        self.uri, self.name = uri, folder.name
        phases = {"stability": {"draws": 1, "epochs": 2}}
        space = {"weight_decay": {"around": 1e-4}, "lr": {"around": 4e-3}}
        self.study = small_study(name=self.name, arms=list(arms), space=space, phases=phases)
        self.ledger = folder / "ledger.parquet"
        self.trials: list[Trial] = to_trials(write_ledger(self.ledger, self.study))
        self.record = Record(folder / "record.db")
        self.client = MlflowClient(self.uri)
        self.artifacts = folder / "artifacts"

    def publisher(self, at: int = 0, *, after: bool = False, told: Callable[[], object] = int) -> Publisher:
        publisher = Publisher(self.uri, self.artifacts, self.study, self.trials)
        publisher._open = lambda: FaultyClient(self.client, at, after=after, told=told)  # type: ignore[method-assign]
        return publisher

    def life(self, publisher: Publisher) -> None:
        """All that a run of the study publishes, in one process."""
        publisher.connect(self.record)
        publisher.begin([self.ledger], training=True)
        publisher.tag_later(lambda: RunTags(study={tags.GPUS: "0"}, arms={"vit_c_micro/sgd": {tags.FLOPS: "7"}}))
        self.record.apply([message for trial in self.trials for message in story(trial, 1, None)])
        publisher.publish(self.record)
        self.record.apply(story(self.trials[0], 2, "completed"))
        publisher.publish(self.record)
        self.record.apply(story(self.trials[-1], 1, "diverged"))
        publisher.settled([], self.ledger)
        publisher.publish(self.record)
        publisher.end(finished=True, timing={"total": 1.0})

    def contents(self) -> dict[str, tuple[int, str, Any]]:
        """Of every run: its number, its role, and all that a reader wants of it."""
        experiment = self.client.get_experiment_by_name(self.name)
        if experiment is None:
            return {}
        found = {}
        for run in self.client.search_runs([experiment.experiment_id]):
            own = {name: value for name, value in run.data.tags.items() if name != tags.REVISION}
            path = self.artifacts / self.name / run.info.run_id
            files = {file.name: file.read_bytes() for file in path.rglob("*") if file.is_file()}
            what = own, run.data.params, run.data.metrics, files
            found[run.info.run_id] = int(run.data.tags[tags.REVISION]), own[tags.ROLE], what
        return found


MakeStore = Callable[..., Store]
Contents = dict[str, tuple[int, str, Any]]


def watermark(contents: Contents) -> int:
    """The study run's number; -1 before there is one."""
    return max((number for number, role, _ in contents.values() if role == "study"), default=-1)


def misses(before: Contents, now: Contents) -> list[str]:
    """Runs that changed between two readings and that a reader who keeps the first watermark does not see."""
    known = watermark(before)
    return [
        f"{role} {run_id}: {number} is not above {known}"
        for run_id, (number, role, what) in now.items()
        if number <= known and (run_id not in before or before[run_id][2] != what)
    ]


@pytest.fixture
def stores(tmp_path: Path, empty_mlflow: Path) -> Iterator[MakeStore]:
    made: list[Store] = []
    uri = f"sqlite:///{shutil.copy(empty_mlflow, tmp_path / 'mlflow.db')}"

    def make(*arms: str) -> Store:
        made.append(Store(uri, tmp_path / f"study-{len(made)}", arms or ("vit_c_micro/sgd",)))
        return made[-1]

    yield make
    for store in made:
        store.record.close()


def check_whole(store: Store) -> None:
    found = read_study(store.uri, store.name)
    statuses = ["completed", "diverged"][: len(store.trials)]
    assert found.trials["status"].to_pylist() == statuses
    assert found.curves["epoch"].to_pylist() == [1, 2, 1][: len(statuses) + 1]
    contents = store.contents()
    roles = sorted(role for _, role, _ in contents.values())
    assert roles == sorted(["study", *["arm", "trial"] * len(store.trials)])
    highest = max(number for number, _, _ in contents.values())
    assert [number for number, role, _ in contents.values() if role == "study"] == [highest]


def test_a_reader_between_any_two_writes_misses_nothing(stores: MakeStore) -> None:
    store = stores("vit_c_micro/sgd", "vit_p_micro/sgd")
    readings: list[Contents] = []
    store.life(store.publisher(told=lambda: readings.append(store.contents())))
    check_whole(store)
    assert len(readings) > 20
    # What a reader finds when the study's number has just changed: only then need all of a round be there.
    announced = [later for earlier, later in itertools.pairwise(readings) if watermark(later) > watermark(earlier)]
    assert [watermark(reading) for reading in announced] == [0, 1, 2, 3, 4, 5]
    assert misses(announced[-1], store.contents()) == []
    for place, earlier in enumerate(readings):
        for later in readings[place:]:
            if any(later is reading for reading in announced):
                assert misses(earlier, later) == []


def test_a_record_that_cannot_be_used_is_not_blamed_on_the_tracking_store(stores: MakeStore) -> None:
    store = stores()
    with sqlite3.connect(store.record.path) as connection:
        connection.execute("DROP TABLE target")
    with pytest.raises(StablesweepError, match=r"record\.db: cannot be read or written \(no such table") as error:
        store.publisher().connect(store.record)
    assert "tracking store" not in str(error.value)


@pytest.mark.parametrize("after", [False, True], ids=["not done", "done but not answered"])
def test_wherever_the_writer_dies_the_next_one_finishes(stores: MakeStore, after: bool) -> None:
    for at in itertools.count(1):
        store, died = stores(), False
        try:
            store.life(store.publisher(at, after=after))
        except (OSError, TrackingError):
            died = True
        before = store.contents()
        if not died:
            break
        store.record.apply(story(store.trials[0], 2, "completed"))
        again = store.publisher()
        again.connect(store.record)
        again.begin([store.ledger], training=False)
        again.publish(store.record)
        check_whole(store)
        assert misses(before, store.contents()) == []
    assert at > 20


@pytest.mark.parametrize("after", [False, True], ids=["not done", "done but not answered"])
def test_an_outage_in_any_round_is_made_good_by_the_next(stores: MakeStore, after: bool) -> None:
    store = stores("vit_c_micro/sgd", "vit_p_micro/sgd")
    first = store.publisher()
    first.connect(store.record)
    first.begin([store.ledger], training=True)
    store.record.apply([message for trial in store.trials for message in story(trial, 1, None)])
    for at in itertools.count(1):
        # A fresh round for each place: everything but the runs themselves is published once more.
        store.record.note_published(forgotten(store.record))
        publisher = store.publisher(at, after=after)
        publisher.connect(store.record)
        before, died = store.contents(), False
        try:
            publisher.publish(store.record)
        except OSError:
            died = True
        between = store.contents()
        publisher.publish(store.record)
        now = store.contents()
        assert misses(before, now) == []
        assert misses(between, now) == []
        study = [number for number, role, _ in now.values() if role == "study"]
        assert study == [max(number for number, _, _ in now.values())]
        if not died:
            break
    assert at > 3


def test_a_round_with_nothing_to_write_writes_nothing(stores: MakeStore) -> None:
    store = stores()
    store.life(store.publisher())
    before = store.contents()
    idle = store.publisher(told=lambda: pytest.fail("something was written"))
    idle.connect(store.record)
    idle.publish(store.record)
    idle.tag_later(lambda: RunTags(study={tags.GPUS: "0"}, arms={"vit_c_micro/sgd": {tags.FLOPS: "7"}}))
    idle.publish(store.record)
    assert store.contents() == before


def test_tags_that_cannot_be_made_are_left_out(stores: MakeStore) -> None:
    store = stores()
    publisher = store.publisher()
    publisher.connect(store.record)
    publisher.tag_later(lambda: RunTags(study={tags.GPUS: str(1 // 0)}))
    publisher.tag_later(lambda: RunTags(study={tags.HARDWARE: "2 CPUs"}))
    publisher.publish(store.record)
    elsewhere = store.publisher()
    elsewhere.connect(store.record)
    elsewhere.tag_later(lambda: RunTags(study={tags.HARDWARE: "8 CPUs"}))
    elsewhere.publish(store.record)
    found = store.client.get_run(publisher.study_run).data.tags
    assert tags.GPUS not in found
    assert found[tags.HARDWARE] == "2 CPUs; then 8 CPUs"


def test_a_study_of_an_earlier_version_gets_numbers(stores: MakeStore) -> None:
    store = stores()
    first = store.publisher()
    first.connect(store.record)
    for run_id in (first.study_run, *first._runs.arm_runs.values()):
        store.client.delete_tag(run_id, tags.REVISION)
    again = store.publisher()
    again.connect(store.record)
    again.begin([store.ledger], training=False)
    assert store.client.get_run(again.study_run).data.tags[tags.REVISION] == "0000000001"
