"""The whole path on a real Ray and a real SQLite MLflow."""

import os
from pathlib import Path
from typing import Any

import mlflow
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.stats
import torch
from click.testing import CliRunner

import stablesweep as ss
from dashboards import tags
from stablesweep.cli import main
from stablesweep.early_session import EarlySession
from tests.support import SMALL, Ran, result_table, run_here, small_study

pytestmark = pytest.mark.cluster


def test_every_trial_has_a_result(small: Ran) -> None:
    assert small.outcome.trained == 8
    assert small.outcome.unfinished == 0
    rows = small.results.trials.to_pylist()
    assert {row["status"] for row in rows} == {"completed", "diverged"}
    for row in rows:
        done = row["status"] == "completed"
        assert (row["error"] is not None) == done
        assert (row["epochs_done"] == row["epochs"] == 2) == done
        assert row["best_error"] is None or 0 <= row["best_error"] <= 100
        assert row["seconds"] > 0
        assert (row["reason"] is None) == done


def test_the_trials_table_has_the_documented_schema(small: Ran) -> None:
    names = small.results.trials.column_names
    documented = (
        "study phase arm model optimizer draw seed sampler status error best_error epochs epochs_done run_id pack"
    )
    assert names[: len(documented.split()) + 2] == [*documented.split(), "started", "seconds"]
    assert names[-2:] == ["weight_decay", "lr"]
    assert small.results.trials["key"].to_pylist() == sorted(small.results.trials["key"].to_pylist())


def test_the_ledger_was_there_before_the_first_trial(small: Ran) -> None:
    folder = small.home.study("small")
    first = min(row["started"].timestamp() for row in small.results.trials.to_pylist())
    assert folder.ledger.stat().st_mtime < first
    assert pq.read_table(folder.ledger).num_rows == 8


def test_mlflow_has_one_run_a_trial_under_its_arm_under_its_study(small: Ran) -> None:
    client = mlflow.MlflowClient(small.home.tracking_uri)
    experiment = client.get_experiment_by_name("small")
    assert experiment is not None
    runs = {run.info.run_id: run for run in client.search_runs([experiment.experiment_id])}
    by_role: dict[str, list[Any]] = {"study": [], "arm": [], "trial": []}
    for run in runs.values():
        by_role[run.data.tags[tags.ROLE]].append(run)
        assert run.info.status == "FINISHED"
    assert {role: len(found) for role, found in by_role.items()} == {"study": 1, "arm": 2, "trial": 8}
    for run in by_role["trial"]:
        arm = runs[run.data.tags["mlflow.parentRunId"]]
        assert arm.data.tags[tags.ARM] == run.data.tags[tags.ARM]
        assert runs[arm.data.tags["mlflow.parentRunId"]].data.tags[tags.ROLE] == "study"
    assert len({run.data.tags[tags.KEY] for run in by_role["trial"]}) == 8


def test_mlflow_has_every_number_to_the_bit(small: Ran) -> None:
    client = mlflow.MlflowClient(small.home.tracking_uri)
    curves = {(row["key"], row["epoch"]): row for row in small.results.curves.to_pylist()}
    for row in small.results.trials.to_pylist():
        run = client.get_run(row["run_id"])
        assert float(run.data.params["lr"]) == row["lr"]
        assert float(run.data.params["weight_decay"]) == row["weight_decay"]
        assert run.data.metrics.get(tags.FINAL_ERROR) == row["error"]
        history = {metric.step: metric.value for metric in client.get_metric_history(row["run_id"], "error")}
        assert history == {epoch: curve["error"] for (key, epoch), curve in curves.items() if key == row["key"]}
        if row["status"] == "completed":
            assert history[2] == row["error"]
            assert min(history.values()) == row["best_error"]


def test_the_edf_is_scipys_with_diverged_trials_at_infinity(small: Ran) -> None:
    for arm in ("vit_p_micro/adamw", "vit_c_micro/sgd"):
        rows = [row for row in small.results.trials.to_pylist() if row["arm"] == arm]
        # scipy takes no infinities: any error that nothing can reach stands for one.
        errors = [1e9 if row["status"] == "diverged" else row["error"] for row in rows]
        reference = scipy.stats.ecdf(errors).cdf
        edf = small.results.edf(arm)
        assert edf.n == 4
        for error in [*errors, 0.0, 50.0, 100.0]:
            if error <= 100:
                assert edf(error) == pytest.approx(float(reference.evaluate(error)))
    assert small.results.edf("vit_c_micro/sgd")(100.0) < 1


def test_results_answer_the_documented_questions(small: Ran) -> None:
    results = small.results
    assert results.compare("vit_p_micro/adamw", "vit_c_micro/sgd").n_pairs == 4
    assert results.leaderboard().num_rows == 2
    assert results.optimizer_gap().num_rows == 0
    assert set(results.convergence()["arm"].to_pylist()) == {"vit_p_micro/adamw", "vit_c_micro/sgd"}


def test_a_finished_study_trains_nothing_and_says_so(small: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EarlySession, "begin", lambda _: pytest.fail("Ray was asked for"))
    again = run_here(small_study(), small.home.path)
    assert again.outcome.trained == 0
    assert "Nothing to train: all 8 trials of small are finished." in again.output
    assert again.results.trials.equals(small.results.trials)


def test_results_do_not_depend_on_the_pack_size(small: Ran, tmp_path: Path) -> None:
    """Three trials and one alone against all four of an arm together; packs of two are in tests/faults/test_stop_and_continue.py."""
    arm = "vit_c_micro/sgd"
    space = {name: node for name, node in SMALL["space"].items() if name != "adamw"}
    split = run_here(small_study(arms=[arm], space=space, pack={"size": 3}), tmp_path)
    together = small.results.where(f"arm={arm}")
    columns = split.results.trials.column_names
    assert result_table(split.results).equals(result_table(together).select(result_table(split.results).column_names))
    assert set(columns) == set(together.trials.column_names)
    assert split.results.curves.equals(together.curves)
    assert len(set(together.trials["pack"].to_pylist())) == 1
    assert len(set(split.results.trials["pack"].to_pylist())) == 2


def test_a_run_in_a_log_file_is_quiet_and_readable(small: Ran) -> None:
    lines = small.output.splitlines()
    assert lines[0].startswith("Study small: 8 trials")
    assert "8/8 trials done" in lines[-1]
    assert len(lines) < 40
    assert "\x1b" not in small.output


def test_a_run_says_where_the_time_went(small: Ran) -> None:
    timing = small.outcome.timing
    training, evaluation = timing["training (all workers)"], timing["evaluation (all workers)"]
    assert {"pack start, wait and stop (all workers)", "Ray start", "Ray stop", "recording"} <= set(timing)
    assert all(seconds >= 0 for seconds in timing.values())
    # Two packs: together their workers cannot work longer than twice the whole.
    assert 0 < training + evaluation <= 2 * timing["total"]
    assert small.results.record.timing == timing


@pytest.mark.parametrize("suffix", ["parquet", "arrow", "csv"])
def test_export_writes_the_trials_table(small: Ran, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"t.{suffix}"
    result = CliRunner().invoke(main, ["export", "small", "--home", str(small.home.path), "--out", str(out)])
    assert result.exit_code == 0, result.output
    if suffix == "parquet":
        assert pq.read_table(out).equals(small.results.trials)
    elif suffix == "arrow":
        with pa.ipc.open_file(out) as file:
            assert file.read_all().equals(small.results.trials)
    else:
        assert len(out.read_text().splitlines()) == 9


def test_the_report_is_one_file_and_an_artifact(small: Ran) -> None:
    result = CliRunner().invoke(main, ["report", "small", "--home", str(small.home.path)])
    assert result.exit_code == 0, result.output
    path = small.home.study("small").report
    assert str(path) in result.output
    client = mlflow.MlflowClient(small.home.tracking_uri)
    artifacts = {item.path: item.file_size for item in client.list_artifacts(small.results.record.study_run_id)}
    assert artifacts[tags.REPORT_ARTIFACT] == path.stat().st_size
    text = path.read_text(encoding="utf-8")
    assert "vit_c_micro/sgd" in text


def test_status_list_and_plan_need_no_tracking_server(small: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    home = ["--home", str(small.home.path)]
    status = CliRunner().invoke(main, ["status", "small", *home])
    assert status.exit_code == 0, status.output
    assert "all" in status.output.splitlines()[-1]
    assert status.output.splitlines()[-1].split()[1] == "8"
    assert "small" in CliRunner().invoke(main, ["list", *home]).output
    plan = CliRunner().invoke(main, ["plan", str(small.home.study("small").study_file), *home])
    assert "8 trials, 0 to train in 0 packs" in plan.output


def test_an_unreachable_tracking_server_stops_a_run_before_any_compute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setattr("stablesweep.driver.train_packs", lambda *_, **__: pytest.fail("packs were trained"))
    result = CliRunner().invoke(main, ["run", "--home", str(tmp_path)])
    assert result.exit_code == 2
    assert "http://127.0.0.1:9" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


class DiesOnce(torch.nn.Module):
    """Kills its process the first time it is trained, as a machine that goes away would."""

    def __init__(self, marker: str, num_classes: int, size: int) -> None:
        super().__init__()
        self.marker = marker
        self.linear = torch.nn.Linear(size, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if not os.path.exists(self.marker):
            open(self.marker, "w").close()
            os._exit(1)
        output: torch.Tensor = self.linear(images.flatten(1))
        return output


@pytest.mark.faults
def test_a_users_model_failures_and_losses(ray_here: None, tmp_path: Path) -> None:
    """A member that raises is failed, a worker that dies is lost, and ``retry_lost`` takes up the lost alone."""
    marker = str(tmp_path / "died")

    @ss.register_model("fails_on_odd_seeds")
    def fails_on_odd_seeds(*, num_classes: int, image_size: int, in_channels: int) -> torch.nn.Module:
        if torch.initial_seed() % 2:
            raise RuntimeError("an odd seed")
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(in_channels * image_size**2, num_classes))

    @ss.register_model("dies_once")
    def dies_once(*, num_classes: int, image_size: int, in_channels: int) -> torch.nn.Module:
        return DiesOnce(marker, num_classes, in_channels * image_size**2)

    study = small_study(
        arms=["fails_on_odd_seeds/sgd", "dies_once/sgd"],
        space={"lr": {"around": 0.01}, "weight_decay": {"around": 1e-4}},
        phases={"stability": {"draws": 6, "epochs": 1}},
        pack={"size": 24, "max_failures": 0},
    )
    first = run_here(study, tmp_path / "home")
    rows = {row["key"]: row for row in first.results.trials.to_pylist()}
    for row in rows.values():
        if row["model"] == "dies_once":
            assert row["status"] == "lost"
            assert row["reason"]
        elif row["seed"] % 2:
            assert (row["status"], row["reason"]) == ("failed", "RuntimeError: an odd seed")
        else:
            assert row["status"] == "completed"
    assert {row["status"] for row in rows.values()} == {"lost", "failed", "completed"}

    again = run_here(study, tmp_path / "home")
    assert "Nothing to train" in again.output
    retried = run_here(study, tmp_path / "home", retry_lost=True)
    assert retried.outcome.trained == 6
    for row in retried.results.trials.to_pylist():
        before = rows[row["key"]]
        assert row["run_id"] == before["run_id"]
        assert row["status"] == ("completed" if row["model"] == "dies_once" else before["status"])
