"""Publishing to a real MLflow server that goes away and comes back. No Ray."""

import http.client
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import mlflow
import pytest

from dashboards import tags
from dashboards.tracking.study import read_study
from stablesweep.errors import LedgerError, TrackingError
from stablesweep.ledger import to_trials, write_ledger
from stablesweep.publisher import Publisher
from stablesweep.record import Published, Record
from stablesweep.recorder import publish_all
from tests.mlflow_server import Server, forgotten, story
from tests.support import small_study


@pytest.fixture
def server(mlflow_server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    return mlflow_server


def test_a_server_that_goes_away_loses_nothing_and_gets_nothing_twice(tmp_path: Path, server: Server) -> None:
    study = small_study()
    ledger = tmp_path / "ledger.parquet"
    trials = to_trials(write_ledger(ledger, study))
    record = Record(tmp_path / "record.db")
    publisher = Publisher(server.uri, None, study, trials)
    publisher.connect(record)
    publisher.begin([ledger], training=True)

    record.apply([message for trial in trials for message in story(trial, 1, None)])
    assert publish_all(publisher, record, patience_s=0) is None
    server.kill()
    record.apply([message for trial in trials[:5] for message in story(trial, 2, "completed")])
    assert publish_all(publisher, record, patience_s=0) is not None
    record.apply([message for trial in trials[5:] for message in story(trial, 2, "diverged")])
    server.start()
    # As after a crash: a new publisher finds what is there, and a record that forgot what it published says it again.
    again = Publisher(server.uri, None, study, trials)
    again.connect(record)
    record.note_published(forgotten(record))
    assert publish_all(again, record) is None
    again.end(finished=True, timing={"total": 1.0})

    found = read_study(server.uri, study.name)
    assert found.trials["status"].to_pylist() == ["completed"] * 5 + ["diverged"] * 3
    assert found.trials["error"].to_pylist() == [25.0] * 5 + [None] * 3
    assert found.trials["seconds"].to_pylist() == [0.5] * 8
    assert found.curves["error"].to_pylist() == [50.0, 25.0] * 8
    assert found.timing == {"total": 1.0}

    client = mlflow.MlflowClient(server.uri)
    runs = client.search_runs([found.experiment_id], f"tags.`{tags.ROLE}` = 'trial'")
    assert sorted(run.data.tags[tags.KEY] for run in runs) == [trial.key for trial in trials]
    for run in runs:
        history = client.get_metric_history(run.info.run_id, "error")
        assert [(metric.step, metric.value) for metric in history] == [(1, 50.0), (2, 25.0)]


class Dropping(ThreadingHTTPServer):
    """Hands requests on to an MLflow server; drops the connection in place of answers to ``runs/create``, while any are due."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), Passing)
        self.behind, self.due, self.dropped = port, 0, 0
        self.uri = f"http://127.0.0.1:{self.server_address[1]}"


class Passing(BaseHTTPRequestHandler):
    """One connection of :class:`Dropping`."""

    def do_POST(self) -> None:
        proxy = self.server
        assert isinstance(proxy, Dropping)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        behind = http.client.HTTPConnection("127.0.0.1", proxy.behind, timeout=60)
        behind.request(self.command, self.path, body, dict(self.headers))
        answer = behind.getresponse()
        content = answer.read()
        behind.close()
        if self.path.endswith("/runs/create") and proxy.dropped < proxy.due:
            proxy.dropped += 1
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name in ("Content-Type", "Location"):
            if name in answer.headers:
                self.send_header(name, answer.headers[name])
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_PATCH = do_DELETE = do_POST

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: a test's output is no log of requests."""


@contextmanager
def dropping(server: Server) -> Iterator[Dropping]:
    """A proxy before a server."""
    with Dropping(server.port) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, daemon=True)
        thread.start()
        yield proxy
        proxy.shutdown()
        thread.join()


def active_runs(uri: str, experiment: str) -> Counter[tuple[str, ...]]:
    """How many active runs there are of the study, of each arm and of each trial."""
    names = (tags.ROLE, tags.PHASE, tags.ARM, tags.KEY)
    runs = mlflow.MlflowClient(uri).search_runs([experiment])
    return Counter(tuple(run.data.tags.get(name, "") for name in names) for run in runs)


def test_a_run_that_was_created_without_an_answer_is_there_once(
    tmp_path: Path, mlflow_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As they are for users: MLflow's client sends a request up to three times.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    study = small_study(name="dropped")
    ledger = tmp_path / "ledger.parquet"
    trials = to_trials(write_ledger(ledger, study))
    record = Record(tmp_path / "record.db")
    with dropping(mlflow_server) as proxy:
        publisher = Publisher(proxy.uri, None, study, trials)
        proxy.due = 2
        publisher.connect(record)
        assert proxy.dropped == 2
        publisher.begin([ledger], training=True)
        record.apply([message for trial in trials for message in story(trial, 1, "completed")])
        proxy.due = 3
        assert publish_all(publisher, record) is None
        assert proxy.dropped == 3
        publisher.end(finished=True, timing=None)
    arms = {(trial.phase, trial.arm) for trial in trials}
    runs = active_runs(mlflow_server.uri, publisher.experiment_id)
    assert set(runs.values()) == {1}
    assert len(runs) == 1 + len(arms) + len(trials)
    assert read_study(mlflow_server.uri, "dropped").trials["status"].to_pylist() == ["completed"] * len(trials)


def test_of_runs_that_are_there_twice_one_is_kept(tmp_path: Path) -> None:
    study, uri = small_study(), f"sqlite:///{tmp_path}/mlflow.db"
    ledger = tmp_path / "ledger.parquet"
    trials = to_trials(write_ledger(ledger, study))
    record = Record(tmp_path / "record.db")
    first = Publisher(uri, tmp_path / "artifacts", study, trials)
    first.connect(record)
    first.begin([ledger], training=True)
    record.apply([message for trial in trials[:2] for message in story(trial, 2, "completed")])
    assert publish_all(first, record) is None
    first.close()
    client = mlflow.MlflowClient(uri)
    experiment = first.experiment_id
    before = {run.info.run_id: run for run in client.search_runs([experiment])}
    # As a request leaves them whose answer was lost: the tags that they were created with, some older and some newer.
    for number, run in enumerate(before.values()):
        own = {
            name: run.data.tags[name] for name in (tags.ROLE, tags.PHASE, tags.ARM, tags.KEY) if name in run.data.tags
        }
        at = run.info.start_time + (1000 if number % 2 else -1000)
        client.create_run(experiment, start_time=at, tags={**own, tags.REVISION: "0" * 10})
    again = Publisher(uri, tmp_path / "artifacts", study, trials)
    again.connect(record)
    assert publish_all(again, record) is None
    again.end(finished=False, timing=None)
    assert {run.info.run_id for run in client.search_runs([experiment])} == before.keys()
    assert read_study(uri, "small").trials["status"].to_pylist()[:2] == ["completed"] * 2


def test_an_unused_port_is_refused_within_seconds(tmp_path: Path) -> None:
    study = small_study()
    record = Record(tmp_path / "record.db")
    with pytest.raises(TrackingError, match=r"127\.0\.0\.1:9 cannot be reached.*MLFLOW_TRACKING_URI"):
        Publisher("http://127.0.0.1:9", None, study, []).connect(record)


def test_a_password_in_the_uri_is_not_shown(tmp_path: Path) -> None:
    record = Record(tmp_path / "record.db")
    with pytest.raises(TrackingError) as error:
        Publisher("http://me:secret@127.0.0.1:9", None, small_study(), []).connect(record)
    assert "secret" not in str(error.value)


def test_a_deleted_experiment_is_named(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = mlflow.MlflowClient(uri)
    client.delete_experiment(client.create_experiment("small", artifact_location=str(tmp_path / "artifacts")))
    record = Record(tmp_path / "record.db")
    with pytest.raises(TrackingError, match="'small' was deleted"):
        Publisher(uri, tmp_path, small_study(), []).connect(record)


def test_another_study_of_the_same_name_is_not_written_over(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/shared.db"

    def publisher(seed: int) -> tuple[Publisher, Record, Path]:
        study = small_study(seed=seed)
        ledger = tmp_path / str(seed) / "ledger.parquet"
        trials = to_trials(write_ledger(ledger, study))
        return Publisher(uri, tmp_path / "artifacts", study, trials), Record(tmp_path / str(seed) / "record.db"), ledger

    mine, record, ledger = publisher(0)
    mine.connect(record)
    mine.begin([ledger], training=True)
    other, other_record, _ = publisher(1)
    with pytest.raises(LedgerError, match="another seed"):
        other.connect(other_record)
    again, _, _ = publisher(0)
    again.connect(record)
    assert again.study_run == mine.study_run


def test_hyperparameters_are_published_even_if_the_first_attempt_died(tmp_path: Path) -> None:
    study = small_study()
    trials = to_trials(write_ledger(tmp_path / "ledger.parquet", study))
    record = Record(tmp_path / "record.db")
    publisher = Publisher(f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "artifacts", study, trials)
    publisher.connect(record)
    publisher.begin([tmp_path / "ledger.parquet"], training=True)
    record.apply(story(trials[0], 2, "completed"))
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    run = client.create_run(publisher.experiment_id, tags={tags.ROLE: "trial", tags.KEY: trials[0].key})
    record.note_published([Published(key=trials[0].key, run_id=run.info.run_id, status="", epoch=0)])
    assert publish_all(publisher, record) is None
    params = client.get_run(run.info.run_id).data.params
    assert {name: float(value) for name, value in params.items()} == trials[0].hyperparameters


def test_a_run_that_somebody_deleted_holds_up_no_other(tmp_path: Path) -> None:
    study = small_study()
    trials = to_trials(write_ledger(tmp_path / "ledger.parquet", study))
    record = Record(tmp_path / "record.db")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    publisher = Publisher(uri, tmp_path / "artifacts", study, trials)
    publisher.connect(record)
    publisher.begin([tmp_path / "ledger.parquet"], training=True)
    for trial in trials[:3]:
        record.apply(story(trial, 1, None))
    assert publish_all(publisher, record) is None
    first = next(state for state in record.trials() if state.key == trials[0].key)
    assert first.run_id is not None
    mlflow.MlflowClient(uri).delete_run(first.run_id)
    for trial in trials[:3]:
        record.apply(story(trial, 2, "completed"))
    assert publish_all(publisher, record, patience_s=0.0) is None
    statuses = read_study(uri, "small").trials.to_pylist()
    assert {row["key"]: row["status"] for row in statuses if row["status"] != "pending"} == {
        trial.key: "completed" for trial in trials[1:3]
    }
