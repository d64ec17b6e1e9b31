"""All phases on real data and a real Ray; the process is killed in the middle of the search, and the study continued."""

import math
import os
import signal
from pathlib import Path
from typing import Any

import mlflow
import pyarrow.parquet as pq
import pytest
import yaml

from dashboards import tags
from stablesweep.home import Home
from stablesweep.ledger import read_ledger, to_trials
from stablesweep.study_file import load_study
from stablesweep.trials import Trial
from tests.support import Ran, run_here, start_command, wait_for_results

pytestmark = [pytest.mark.cluster, pytest.mark.faults]

# One arm: each pack costs some 10 s of process starts. Arms side by side are in test_schedule.py, without Ray.
ARMS = ["vit_c_micro/sgd"]
STUDY: dict[str, Any] = {
    "name": "four",
    "dataset": {"name": "digits", "image_size": 16},
    "arms": ARMS,
    "space": {
        "sgd": {
            "lr": {"log_uniform": [1e-3, 1.0]},
            "weight_decay": {"around": 1e-4},
            "momentum": {"uniform": [0.5, 0.95]},
        },
        "label_smoothing": {"uniform": [0.0, 0.2]},
    },
    "phases": {
        "search": {
            "draws": 8,
            "epochs": 2,
            "at_once": 4,
            "sampler": {"name": "tpe", "n_startup_trials": 2},
            "pruning": {"rule": "halving", "reduction": 2},
        },
        "stability": {"draws": 3, "epochs": 2, "sampler": "sobol"},
        "length": {"epochs": [1]},
        "peak": {"epochs": 2, "seeds": 2},
    },
}


def searched(ledger: list[Trial]) -> dict[str, dict[str, Any]]:
    return {trial.key: dict(trial.hyperparameters) for trial in ledger if trial.phase == "search" and trial.settled}


@pytest.fixture(scope="module")
def four(ray_here: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Ran, dict[str, dict[str, Any]]]:
    """The study, killed once in its search and continued; and the suggestions that stood in the ledger then."""
    folder = tmp_path_factory.mktemp("four")
    file, log, home = folder / "four.yaml", folder / "log", Home.at(folder / "home")
    file.write_text(yaml.safe_dump(STUDY))
    process = start_command("run", str(file), "--home", str(home.path), folder=folder, log=log)
    wait_for_results(process, home, "four", log, lambda statuses: any(s in ("completed", "pruned") for s in statuses))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = searched(to_trials(read_ledger(home.study("four").ledger)))
    return run_here(load_study(file), home.path), before


def rows(ran: Ran, phase: str, arm: str) -> list[dict[str, Any]]:
    return [row for row in ran.results.trials.to_pylist() if (row["phase"], row["arm"]) == (phase, arm)]


def values(row: dict[str, Any]) -> dict[str, Any]:
    names = ("lr", "weight_decay", "momentum", "label_smoothing")
    return {name: row[name] for name in names if row[name] is not None}


def test_every_phase_ran_and_every_trial_has_a_result(four: tuple[Ran, Any]) -> None:
    ran, _ = four
    assert ran.outcome.unfinished == ran.outcome.lost == 0
    for arm in ARMS:
        counts = {phase: len(rows(ran, phase, arm)) for phase in ("search", "reference", "stability", "length", "peak")}
        assert counts == {"search": 8, "reference": 1, "stability": 3, "length": 1, "peak": 2}
    assert {row["status"] for row in ran.results.trials.to_pylist()} <= {"completed", "diverged", "pruned"}


def test_a_killed_search_repeats_no_suggestion(four: tuple[Ran, dict[str, dict[str, Any]]]) -> None:
    ran, before = four
    assert 0 < len(before) < 8, "the kill came too early or too late to test anything"
    for arm in ARMS:
        now = {row["key"]: values(row) for row in rows(ran, "search", arm)}
        assert len({tuple(one.items()) for one in now.values()}) == 8
        assert {key: one for key, one in before.items() if key in now}.items() <= now.items()


def test_mlflow_has_one_run_a_trial_with_its_setting(four: tuple[Ran, Any]) -> None:
    ran, _ = four
    client = mlflow.MlflowClient(ran.home.tracking_uri)
    runs = client.search_runs([ran.results.record.experiment_id], f"tags.`{tags.ROLE}` = 'trial'")
    assert sorted(run.data.tags[tags.KEY] for run in runs) == ran.results.trials["key"].to_pylist()
    for run in runs:
        (row,) = [row for row in ran.results.trials.to_pylist() if row["run_id"] == run.info.run_id]
        assert {name: float(text) for name, text in run.data.params.items()} == values(row)
        assert run.data.tags[tags.STATUS] == row["status"]


@pytest.mark.parametrize("arm", ARMS)
def test_the_best_of_the_search_is_the_centre_of_what_follows(four: tuple[Ran, Any], arm: str) -> None:
    ran, _ = four
    completed = [row for row in rows(ran, "search", arm) if row["status"] == "completed"]
    centre = values(min(completed, key=lambda row: (row["error"], row["draw"])))
    for row in [*rows(ran, "reference", arm), *rows(ran, "length", arm)]:
        assert values(row) == centre
    for row in rows(ran, "stability", arm):
        assert centre["lr"] / 8 <= row["lr"] <= centre["lr"] * 4
        assert row["sampler"] == "sobol"
    candidates = [*rows(ran, "stability", arm), *rows(ran, "reference", arm), *completed]
    best = min((row for row in candidates if row["error"] is not None), key=lambda row: (row["error"], row["key"]))
    assert all(values(row) == values(best) for row in rows(ran, "peak", arm))
    (found,) = [row for row in ran.results.centres().to_pylist() if row["arm"] == arm]
    assert {name: found[name] for name in centre} == centre


@pytest.mark.parametrize("arm", ARMS)
def test_halving_ends_the_worse_half_of_a_round_after_its_first_epoch(four: tuple[Ran, Any], arm: str) -> None:
    ran, _ = four
    first = {row["key"]: row for row in rows(ran, "search", arm) if row["draw"] < 4}
    curves = [row for row in ran.results.curves.to_pylist() if row["key"] in first and row["epoch"] == 1]
    errors = {row["key"]: row["error"] for row in curves}
    # A trial that diverged in its first epoch has no error, and is as bad as can be.
    ranked = sorted(errors.get(key, math.inf) for key in first)
    for key, row in first.items():
        kept = errors.get(key, math.inf) <= ranked[1]
        assert (row["status"] == "completed") == kept or row["status"] == "diverged"
        if row["status"] == "pruned":
            assert row["epochs_done"] == 1
            assert row["error"] is None
            assert row["best_error"] == errors[key]


@pytest.mark.parametrize("arm", ARMS)
def test_the_search_enters_no_distribution(four: tuple[Ran, Any], arm: str) -> None:
    ran, _ = four
    assert ran.results.edf(arm).n == 3
    (reference,) = rows(ran, "reference", arm)
    delta = ran.results.delta_edf(arm)
    assert delta.reference.value == reference["error"]
    done = [row["error"] for row in rows(ran, "stability", arm) if row["error"] is not None]
    assert sorted(delta.errors) == pytest.approx(sorted(error - reference["error"] for error in done))


def test_mlflow_has_the_ledger_with_all_settings(four: tuple[Ran, Any], tmp_path: Path) -> None:
    ran, _ = four
    client = mlflow.MlflowClient(ran.home.tracking_uri)
    path = client.download_artifacts(ran.results.record.study_run_id, tags.LEDGER_ARTIFACT, str(tmp_path))
    assert pq.read_table(path).equals(pq.read_table(ran.home.study("four").ledger))
    assert all(trial.settled for trial in to_trials(read_ledger(Path(path))))
