"""What is sent to MLflow for a trial: how many requests, and what a record that is held makes of them. A real SQLite store."""

import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from dashboards import tags
from dashboards.tracking.study import read_study
from stablesweep.errors import RecordUnavailable
from stablesweep.ledger import to_trials, write_ledger
from stablesweep.outage import Outage
from stablesweep.publisher import Publisher
from stablesweep.record import Published, Record
from stablesweep.recorder import publish_all, publish_once
from tests.mlflow_server import story
from tests.support import small_study

REQUESTS = ("create_run", "log_batch", "set_tag", "set_terminated", "update_run", "get_run", "log_artifact")


class Counting:
    """A real client that counts requests, and tells when one was answered."""

    def __init__(self, client: Any) -> None:
        self.client, self.sent = client, Counter[str]()
        self.answered: Callable[[str], object] = len

    def __getattr__(self, name: str) -> Any:
        real = getattr(self.client, name)
        if name not in REQUESTS:
            return real

        def request(*arguments: Any, **named: Any) -> Any:
            self.sent[name] += 1
            answer = real(*arguments, **named)
            self.answered(name)
            return answer

        return request


class Publishing:
    """A connected publisher of a small study, and what it sends."""

    def __init__(self, folder: Path, store: Path) -> None:
        self.uri, study = f"sqlite:///{store}", small_study()
        ledger = folder / "ledger.parquet"
        self.trials = to_trials(write_ledger(ledger, study))
        self.record = Record(folder / "record.db")
        self.client = Counting(MlflowClient(self.uri))
        self.publisher = Publisher(self.uri, folder / "artifacts", study, self.trials)
        self.publisher._open = lambda: self.client  # type: ignore[method-assign]
        self.publisher.connect(self.record)
        self.publisher.begin([ledger], training=True)

    def sent(self) -> dict[str, int]:
        """What was sent since the last call, without the number that ends a round."""
        sent, self.client.sent = self.client.sent, Counter()
        sent.pop("set_tag", None)
        return dict(sent)

    def trial_runs(self) -> int:
        """How many runs of trials there are."""
        runs = MlflowClient(self.uri).search_runs([self.publisher.experiment_id], f"tags.`{tags.ROLE}` = 'trial'")
        return len(runs)


@pytest.fixture
def publishing(tmp_path: Path, empty_mlflow: Path) -> Iterator[Publishing]:
    made = Publishing(tmp_path, Path(shutil.copy(empty_mlflow, tmp_path / "mlflow.db")))
    yield made
    made.publisher.close()
    made.record.close()


def test_a_round_sends_one_request_for_a_trial_that_trains_and_two_for_one_that_ends(publishing: Publishing) -> None:
    first, second = publishing.trials[:2]
    publishing.sent()
    publishing.record.apply(story(first, 1, None))
    publishing.publisher.publish(publishing.record)
    assert publishing.sent() == {"create_run": 1, "log_batch": 1}
    publishing.record.apply(story(first, 2, None))
    publishing.publisher.publish(publishing.record)
    assert publishing.sent() == {"log_batch": 1}
    publishing.record.apply([*story(first, 3, "completed"), *story(second, 3, "diverged")])
    publishing.publisher.publish(publishing.record)
    # The second one's curves are in the file of their pack, which both have ended, and so is its number on their arm's run.
    assert publishing.sent() == {"create_run": 1, "log_batch": 3, "set_terminated": 2, "log_artifact": 1}
    publishing.publisher.publish(publishing.record)
    assert publishing.sent() == {}
    found = read_study(publishing.uri, "small").trials.to_pylist()
    assert [row["status"] for row in found[:2]] == ["completed", "diverged"]
    run = publishing.client.client.get_run(found[1]["run_id"])
    assert run.data.tags[tags.REASON] == "why"
    assert {name: float(value) for name, value in run.data.params.items()} == second.hyperparameters


def test_a_run_that_is_made_of_a_trial_that_has_ended_is_never_without_its_numbers(publishing: Publishing) -> None:
    """The server may go away between the two requests, and a reader may come."""
    seen: list[str] = []

    def look(name: str) -> None:
        if name in ("create_run", "log_batch"):
            row = read_study(publishing.uri, "small").trials.to_pylist()[0]
            seen.append(f"{name} {row['status']} {row['error']}")

    publishing.client.answered = look
    publishing.record.apply(story(publishing.trials[0], 2, "completed"))
    publishing.publisher.publish(publishing.record)
    assert seen[:2] == ["create_run running None", "log_batch completed 25.0"]


def test_of_more_numbers_than_one_request_takes_the_status_comes_last(publishing: Publishing) -> None:
    trial = publishing.trials[0]
    publishing.record.apply(story(trial, 1, None))
    publishing.publisher.publish(publishing.record)
    publishing.sent()
    seen: list[str] = []
    run_id = publishing.record.trials()[0].run_id

    def look(name: str) -> None:
        run = publishing.client.client.get_run(run_id)
        seen.append(f"{name} {run.data.tags[tags.STATUS]} {tags.FINAL_ERROR in run.data.metrics}")

    publishing.client.answered = look
    publishing.record.apply(story(trial, 1100, "completed"))
    publishing.publisher.publish(publishing.record)
    assert seen[:4] == [
        "log_batch running False",
        "log_batch running False",
        "log_batch completed True",
        "set_terminated completed True",
    ]
    history = publishing.client.client.get_metric_history(run_id, "error")
    assert sorted(metric.step for metric in history) == list(range(1, 1101))


def test_a_run_that_the_record_could_not_note_is_not_created_twice(
    publishing: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stablesweep.record.BUSY_S", 0.1)
    record = Record(publishing.record.path)
    other = sqlite3.connect(record.path, isolation_level=None)
    record.apply(story(publishing.trials[0], 1, None))

    def hold(name: str) -> None:
        if name == "create_run":
            other.execute("BEGIN EXCLUSIVE")

    publishing.client.answered = hold
    outage = Outage()
    publish_once(publishing.publisher, record, outage)
    assert publishing.trial_runs() == 1
    # The server is well: the next round need not wait for it.
    assert outage.over()
    with pytest.raises((RecordUnavailable, sqlite3.OperationalError), match="locked"):
        publish_all(publishing.publisher, record, patience_s=0)
    other.execute("COMMIT")
    assert publish_all(publishing.publisher, record) is None
    assert publishing.trial_runs() == 1
    other.close()
    record.close()


def test_what_was_published_before_an_outage_is_noted(publishing: Publishing) -> None:
    for trial in publishing.trials[:3]:
        publishing.record.apply(story(trial, 1, None))

    def fail_at_third(name: str) -> None:
        if publishing.client.sent["create_run"] == 3:
            raise OSError("gone")

    publishing.sent()
    publishing.client.answered = fail_at_third
    with pytest.raises(OSError, match="gone"):
        publishing.publisher.publish(publishing.record)
    assert [state.published for state in publishing.record.trials()] == ["running", "running", ""]


def test_thousands_of_trials_are_noted_as_they_are_published(
    publishing: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stablesweep.trial_runs.NOTED_TOGETHER", 2)
    noted: list[int] = []
    record, note = publishing.record, publishing.record.note_published

    def counted(published: Sequence[Published]) -> None:
        noted.append(len(published))
        note(published)

    monkeypatch.setattr(record, "note_published", counted)
    for trial in publishing.trials[:5]:
        record.apply(story(trial, 1, None))
    publishing.publisher.publish(record)
    assert noted == [2, 2, 1]
