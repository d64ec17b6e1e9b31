"""Studies read back from a real SQLite MLflow store, written the way the recorder writes them."""

import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from dashboards import quiet_mlflow, tags
from dashboards.tables import CURVES_SCHEMA, TrialRecord, build_trials, result_columns
from dashboards.tracking import search
from dashboards.tracking.study import StudyNotFound, StudyRecord, StudyUnreadable, list_studies, read_study

MakeRecord = Callable[..., StudyRecord]
ARMS = ("vit/adamw", "vit/sgd")


class Recorder:
    """Writes a study to MLflow: one experiment, a study run, an arm run per arm, a trial run per started trial."""

    def __init__(self, tracking_uri: str, folder: Path, study: str) -> None:
        self.client = MlflowClient(tracking_uri=tracking_uri)
        self.folder = folder / "recorder" / str(len(list(folder.glob("recorder/*"))))
        self.folder.mkdir(parents=True)
        self.experiment = self.client.create_experiment(study, artifact_location=(self.folder / "artifacts").as_uri())
        self.study_run = self.run("study", {f"{tags.VERSION}": "0.1.0", f"{tags.VERSION}.torch": "2.13.0"})
        self.arm_runs: dict[str, str] = {}

    def run(self, role: str, run_tags: Mapping[str, str], start_time: int | None = None) -> str:
        run = self.client.create_run(self.experiment, start_time=start_time, tags={tags.ROLE: role, **run_tags})
        return str(run.info.run_id)

    def artifact(self, run_id: str, name: str, content: str | pa.Table, folder: str | None = None) -> None:
        path = self.folder / name
        if isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        else:
            pyarrow.parquet.write_table(content, path)
        self.client.log_artifact(run_id, str(path), folder)

    def arm(self, arm: str) -> str:
        if arm not in self.arm_runs:
            self.arm_runs[arm] = self.run("arm", {tags.ARM: arm})
        return self.arm_runs[arm]

    def trial(self, row: Mapping[str, object], record: TrialRecord, curve: pa.Table) -> str:
        """One trial run with its metrics, tags and params; ``row`` is of the ledger."""
        start = None if record.started is None else round(record.started.timestamp() * 1000)
        run_id = self.run("trial", {tags.KEY: str(row["key"]), tags.STATUS: record.status}, start)
        finals = {
            tags.FINAL_ERROR: record.error,
            tags.BEST_ERROR: record.best_error,
            tags.EPOCHS_DONE: record.epochs_done,
            tags.SECONDS: record.seconds,
        }
        metrics = [Metric(name, value, 1, 0) for name, value in finals.items() if value is not None]
        for point in curve.to_pylist():
            metrics += [Metric(name, point[name], 1, point["epoch"]) for name in tags.EPOCH_METRICS]
        texts = {tags.PACK: record.pack, tags.REASON: record.reason}
        run_tags = [RunTag(name, text) for name, text in texts.items() if text is not None]
        params = [Param(name, repr(row[name])) for name in ("lr", "weight_decay")]
        self.client.log_batch(run_id, metrics=metrics, params=params, tags=run_tags)
        return run_id

    def pack(self, arm: str, name: str, curves: pa.Table) -> None:
        self.artifact(self.arm(arm), f"{name}.parquet", curves, tags.CURVES_FOLDER)


def rows_of(table: pa.Table, key: str) -> pa.Table:
    return table.filter(pa.compute.equal(table["key"], key))


def ledger_of(record: StudyRecord) -> pa.Table:
    """The ledger that the study's trials table was made from."""
    fixed = ["key", "study", "phase", "arm", "model", "optimizer", "draw", "seed", "sampler", "epochs"]
    return record.trials.select([*fixed, "lr", "weight_decay"])


def records_of(trials: pa.Table) -> dict[str, TrialRecord]:
    fields = TrialRecord.__dataclass_fields__
    return {row["key"]: TrialRecord(**{name: row[name] for name in fields}) for row in trials.to_pylist()}


def write(recorder: Recorder, record: StudyRecord, *, skip: int = 0, packs: bool = True) -> StudyRecord:
    """Writes all trials but the last ``skip``, and returns the study as it must be read back."""
    recorder.artifact(recorder.study_run, tags.LEDGER_ARTIFACT, ledger_of(record))
    recorder.artifact(recorder.study_run, tags.STUDY_ARTIFACT, record.study_yaml)
    recorder.artifact(recorder.study_run, tags.TIMING_ARTIFACT, json.dumps(dict(record.timing)))
    trials = record.trials.slice(0, record.trials.num_rows - skip)
    written = {}
    for row, trial in zip(trials.to_pylist(), records_of(trials).values(), strict=True):
        run_id = recorder.trial(row, trial, rows_of(record.curves, row["key"]))
        fields = TrialRecord.__dataclass_fields__
        written[row["key"]] = TrialRecord(**{name: getattr(trial, name) for name in fields} | {"run_id": run_id})
    curves = record.curves.filter(
        pa.compute.is_in(record.curves["key"], value_set=pa.array(list(written), pa.string()))
    )
    if packs:
        for arm in ARMS:
            mine = curves.filter(pa.compute.match_substring(curves["key"], f"/{arm}/"))
            # Two packs, and the first one's last rows once more: a pack that was continued.
            recorder.pack(arm, "pack-0", mine.slice(0, 25))
            recorder.pack(arm, "pack-1", mine.slice(20))
    return StudyRecord(
        study=record.study,
        trials=build_trials(ledger_of(record), written),
        curves=curves,
        timing=record.timing,
        study_yaml=record.study_yaml,
        experiment_id=recorder.experiment,
        study_run_id=recorder.study_run,
        tracking_uri="",
    )


@pytest.fixture
def recorder(tracking_uri: str, tmp_path: Path) -> Recorder:
    with quiet_mlflow():
        return Recorder(tracking_uri, tmp_path, "demo <study>")


@pytest.fixture
def study(make_record: MakeRecord) -> StudyRecord:
    return make_record(ARMS, 8, study="demo <study>", study_yaml="name: 'demo <study>' # ü\n")


def test_a_finished_study_comes_back_equal_to_the_bit(
    recorder: Recorder, study: StudyRecord, tracking_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = write(recorder, study)
    monkeypatch.setattr(search, "PAGE", 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        found = read_study(tracking_uri, "demo <study>")
    assert found.trials.equals(expected.trials, check_metadata=True)
    assert result_columns(found.trials).equals(result_columns(study.trials))
    assert found.curves.equals(study.curves)
    assert found.timing == study.timing
    assert found.study_yaml == study.study_yaml
    assert found.versions == {"stablesweep": "0.1.0", "torch": "2.13.0"}
    assert (found.experiment_id, found.study_run_id) == (recorder.experiment, recorder.study_run)
    assert (found.study, found.tracking_uri) == ("demo <study>", tracking_uri)


def test_metric_histories_stand_in_where_no_artifact_is(
    recorder: Recorder, study: StudyRecord, tracking_uri: str
) -> None:
    write(recorder, study, packs=False)
    assert read_study(tracking_uri, study.study).curves.equals(study.curves)


def test_trials_that_have_not_started_are_pending(recorder: Recorder, study: StudyRecord, tracking_uri: str) -> None:
    expected = write(recorder, study, skip=5)
    found = read_study(tracking_uri, study.study)
    assert found.trials.equals(expected.trials)
    assert found.trials["status"].to_pylist()[-5:] == ["pending"] * 5
    assert found.curves.equals(expected.curves)


def test_a_damaged_file_of_curves_is_replaced_by_histories(
    recorder: Recorder, study: StudyRecord, tracking_uri: str
) -> None:
    write(recorder, study)
    recorder.artifact(recorder.arm(ARMS[0]), "pack-0.parquet", "PAR1 half written", tags.CURVES_FOLDER)
    with pytest.warns(UserWarning, match=r"curves/pack-0\.parquet cannot be read"):
        found = read_study(tracking_uri, study.study)
    assert found.curves.equals(study.curves)


def test_the_newest_finished_run_of_a_trial_counts(recorder: Recorder, study: StudyRecord, tracking_uri: str) -> None:
    write(recorder, study)
    row = study.trials.to_pylist()[0]
    late = row["started"].replace(year=2027)
    newest = TrialRecord(status="completed", error=1.25, best_error=1.0, epochs_done=10, started=late)
    empty = CURVES_SCHEMA.empty_table()
    run_id = recorder.trial(row, newest, empty)
    for status, year in (("running", 2028), ("failed", 2029), ("diverged", 2020)):
        recorder.trial(row, TrialRecord(status=status, started=late.replace(year=year)), empty)
    with pytest.warns(UserWarning, match=f"Trial '{row['key']}' has several MLflow runs") as caught:
        found = read_study(tracking_uri, study.study).trials
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert found.num_rows == study.trials.num_rows
    assert found.to_pylist()[0]["run_id"] == run_id
    assert found.to_pylist()[0]["error"] == 1.25
    assert result_columns(found.slice(1)).equals(result_columns(study.trials.slice(1)))


def test_a_pruned_trial_is_a_result_without_a_final_error(
    recorder: Recorder, study: StudyRecord, tracking_uri: str
) -> None:
    write(recorder, study, skip=1)
    row = study.trials.to_pylist()[-1]
    pruned = TrialRecord(status="pruned", best_error=30.0, epochs_done=2, reason="behind the median at epoch 2")
    recorder.trial(row, pruned, rows_of(study.curves, row["key"]).slice(0, 2))
    # A run of the same trial that failed, whenever it began, says less.
    recorder.trial(
        row, TrialRecord(status="failed", started=row["started"].replace(year=2029)), study.curves.slice(0, 0)
    )
    with pytest.warns(UserWarning, match="has several MLflow runs"):
        found = read_study(tracking_uri, study.study)
    last = found.trials.to_pylist()[-1]
    assert (last["status"], last["error"], last["best_error"], last["epochs_done"]) == ("pruned", None, 30.0, 2)
    assert last["reason"] == "behind the median at epoch 2"
    assert rows_of(found.curves, row["key"])["epoch"].to_pylist() == [1, 2]


def test_a_lost_trial_that_runs_again_shows_nothing_of_its_first_end(
    recorder: Recorder, study: StudyRecord, tracking_uri: str
) -> None:
    write(recorder, study, skip=1)
    row = study.trials.to_pylist()[-1]
    points = rows_of(study.curves, row["key"])
    lost = TrialRecord(status="lost", best_error=30.0, epochs_done=2, seconds=5.0, reason="its process died")
    run_id = recorder.trial(row, lost, points.slice(1, 1))
    recorder.pack(row["arm"], "pack-2", points.slice(0, 2))
    found = read_study(tracking_uri, study.study)
    last = found.trials.to_pylist()[-1]
    assert (last["status"], last["reason"], last["epochs_done"]) == ("lost", "its process died", 2)
    assert rows_of(found.curves, row["key"]).equals(points.slice(0, 2))
    # In the same run, with another value for the second epoch; the first is in the pack's file alone.
    again = [Metric(name, value, 2, epoch) for name in tags.EPOCH_METRICS for epoch, value in ((2, 61.5), (3, 60.5))]
    recorder.client.log_batch(run_id, metrics=again, tags=[RunTag(tags.STATUS, "running")])
    found = read_study(tracking_uri, study.study)
    last = found.trials.to_pylist()[-1]
    assert (last["run_id"], last["status"]) == (run_id, "running")
    assert [last[name] for name in ("error", "best_error", "epochs_done", "seconds", "reason")] == [None] * 5
    curve = rows_of(found.curves, row["key"])
    assert curve["epoch"].to_pylist() == [1, 2, 3]
    assert curve["error"].to_pylist() == [points["error"][0].as_py(), 61.5, 60.5]


def test_runs_that_are_no_trial_of_the_study_are_left_out(
    recorder: Recorder, study: StudyRecord, tracking_uri: str
) -> None:
    write(recorder, study)
    row = study.trials.to_pylist()[0] | {"key": "stability/vit/sgd/999999/0"}
    recorder.trial(row, TrialRecord(status="diverged"), CURVES_SCHEMA.empty_table())
    nameless = recorder.run("trial", {tags.STATUS: "running"})
    with pytest.warns(UserWarning, match="not in its ledger"), pytest.warns(UserWarning, match=nameless):
        found = read_study(tracking_uri, study.study).trials
    assert result_columns(found).equals(result_columns(study.trials))


@pytest.mark.parametrize(
    ("status", "reason"), [("completed", "no finite final_error"), ("odd", "unknown status 'odd'")]
)
def test_a_run_that_contradicts_itself_is_lost(
    recorder: Recorder, study: StudyRecord, tracking_uri: str, status: str, reason: str
) -> None:
    write(recorder, study, skip=1)
    key = study.trials.to_pylist()[-1]["key"]
    recorder.run("trial", {tags.KEY: key, tags.STATUS: status})
    row = read_study(tracking_uri, study.study).trials.to_pylist()[-1]
    assert (row["key"], row["status"], row["error"]) == (key, "lost", None)
    assert reason in row["reason"]


def test_studies_are_listed_and_a_missing_one_names_them(recorder: Recorder, tracking_uri: str, tmp_path: Path) -> None:
    with quiet_mlflow():
        Recorder(tracking_uri, tmp_path, "another")
        recorder.client.create_experiment("no study run")
    assert list_studies(tracking_uri) == ["another", "demo <study>"]
    with pytest.raises(StudyNotFound, match=r"No study 'demo' in MLflow at sqlite:///.*: another, demo <study>\.$"):
        read_study(tracking_uri, "demo")
    with pytest.raises(StudyNotFound, match="No study 'no study run'"):
        read_study(tracking_uri, "no study run")


def test_an_empty_server_has_no_studies(tracking_uri: str) -> None:
    assert list_studies(tracking_uri) == []
    with pytest.raises(StudyNotFound, match="studies there: none"):
        read_study(tracking_uri, "demo")


def test_a_study_without_a_readable_ledger_says_so(recorder: Recorder, tracking_uri: str) -> None:
    with pytest.raises(StudyUnreadable, match=r"has no ledger\.parquet; run the study again"):
        read_study(tracking_uri, "demo <study>")
    recorder.artifact(recorder.study_run, tags.LEDGER_ARTIFACT, "not parquet at all")
    with pytest.raises(StudyUnreadable, match=r"ledger\.parquet .* is damaged"):
        read_study(tracking_uri, "demo <study>")


def test_odd_timing_is_left_out(recorder: Recorder, study: StudyRecord, tracking_uri: str) -> None:
    write(recorder, study, skip=study.trials.num_rows)
    recorder.artifact(recorder.study_run, tags.TIMING_ARTIFACT, '["training", 3]')
    with pytest.warns(UserWarning, match=r"timing\.json"):
        assert read_study(tracking_uri, study.study).timing == {}


def test_reading_is_silent_and_loads_neither_torch_nor_ray(
    recorder: Recorder, study: StudyRecord, tracking_uri: str
) -> None:
    write(recorder, study)
    code = (
        "import sys; from dashboards import read_study, render_report, summarize, render_summary\n"
        f"record = read_study({tracking_uri!r}, 'demo <study>'); render_report(record)\n"
        "render_summary(summarize(record)); assert not {'torch', 'ray'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
