"""Imports of real Optuna studies: states, directions, curves, positions, and what is refused."""

import math
import sqlite3
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna._transform import _SearchSpaceTransform
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial
from scipy.stats import ecdf

from dashboards.imports import UnusableResults, import_results
from dashboards.imports.optuna_storage import unit_position
from dashboards.report.page import render_report
from dashboards.selection import select_draws
from dashboards.statistics.edf import arm_edf
from dashboards.summary import summarize
from dashboards.tables import hyperparameters_of

Objective = Callable[[optuna.Trial], float]


@pytest.fixture
def url(tmp_path: Path) -> str:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return f"sqlite:///{tmp_path / 'optuna.db'}"


def _error(trial: optuna.Trial) -> float:
    lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
    width = trial.suggest_int("width", 8, 64, step=8)
    kind = trial.suggest_categorical("norm", ["batch", 2, None])
    return 20 + 8 * abs(math.log10(lr) + 2.5) + width / 16 + (kind == 2)


def _from(low: float, trial: optuna.Trial) -> float:
    return 30 + trial.suggest_float("lr", low, 100 * low, log=True)


def _study(
    url: str, name: str, objective: Objective, n: int = 25, direction: StudyDirection = StudyDirection.MINIMIZE
) -> optuna.Study:
    sampler = optuna.samplers.RandomSampler(seed=len(name))
    study = optuna.create_study(storage=url, study_name=name, sampler=sampler, direction=direction)
    study.optimize(objective, n_trials=n, catch=(RuntimeError,))
    return study


def test_random_studies_become_arms_with_their_edf(url: str) -> None:
    studies = {name: _study(url, name, _error) for name in ("net/sgd", "net/adamw")}
    before = Path(url.removeprefix("sqlite:///")).read_bytes()
    record = import_results(url, name="swept", sampler="random")
    assert Path(url.removeprefix("sqlite:///")).read_bytes() == before
    assert record.source == f"Optuna, {url}"
    assert hyperparameters_of(record.trials) == ["lr", "width", "norm"]
    for arm, study in studies.items():
        expected = ecdf([trial.value for trial in study.trials]).cdf
        edf = arm_edf(record.trials, arm)
        np.testing.assert_array_equal(edf.x, expected.quantiles)
        np.testing.assert_allclose(edf.lower, expected.probabilities, rtol=1e-12)
    first = record.trials.to_pylist()[3]
    trial = studies["net/adamw"].trials[3]
    assert [first[name] for name in ("arm", "draw", "lr", "width")] == [
        "net/adamw",
        3,
        *list(trial.params.values())[:2],
    ]
    assert first["norm"] == str(trial.params["norm"])
    assert trial.datetime_start is not None
    assert first["started"].timestamp() == pytest.approx(trial.datetime_start.timestamp(), abs=1e-2)
    draws = [set(select_draws(record.trials, arm).draws.to_pylist()) for arm in studies]
    assert not draws[0] & draws[1]
    assert "net/sgd" in render_report(record)


@pytest.mark.parametrize(
    "distribution",
    [
        FloatDistribution(1e-4, 1e-1, log=True),
        FloatDistribution(-2, 5),
        FloatDistribution(0, 1, step=0.25),
        IntDistribution(1, 100),
        IntDistribution(1, 100, log=True),
        IntDistribution(8, 64, step=8),
    ],
)
def test_positions_are_those_of_optunas_own_transform(distribution: BaseDistribution) -> None:
    transform = _SearchSpaceTransform({"x": distribution}, transform_0_1=True)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3))
    values = [study.ask({"x": distribution}).params["x"] for _ in range(20)]
    for value in values:
        assert unit_position(distribution, value) == pytest.approx(
            float(transform.transform({"x": value})[0]), abs=1e-12
        )


def test_positions_of_choices_and_of_one_value() -> None:
    assert unit_position(CategoricalDistribution(["a", 2, None, "d"]), None) == 0.625
    assert unit_position(FloatDistribution(3, 3), 3.0) == 0.5


def test_units_are_uniform_where_the_sampler_was_random(url: str) -> None:
    _study(url, "a", _error, n=60)
    record = import_results(url, name="x", sampler="random")
    lr = np.sort(record.units["lr"].to_numpy())
    values = np.sort(record.trials["lr"].to_numpy())
    np.testing.assert_allclose(1e-4 * 1000**lr, values, rtol=1e-9)
    assert record.units["key"].to_pylist() == record.trials["key"].to_pylist()


def test_every_state_and_nothing_is_known_of_a_failure(url: str) -> None:
    def objective(trial: optuna.Trial) -> float:
        trial.suggest_float("lr", 0, 1)
        for step in range(4):
            trial.report(80 - 10 * step, step)
            if trial.number == 1 and step == 1:
                raise optuna.TrialPruned
        if trial.number == 2:
            raise RuntimeError("out of memory")
        if trial.number == 3:
            return math.nan
        if trial.number == 4:
            trial.report(math.nan, 4)
            return math.nan
        if trial.number == 5:
            trial.set_user_attr("diverged", True)
            raise RuntimeError("loss exploded")
        return math.inf if trial.number == 6 else 40.0

    study = _study(url, "a/sgd", objective, n=7)
    study.enqueue_trial({"lr": 0.5})
    study.ask({"lr": FloatDistribution(0, 1)})
    study.enqueue_trial({"lr": 0.25})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        record = import_results(url, name="x", sampler="random")
    said = " ".join(str(warning.message) for warning in caught)
    assert "2 of 9 trials failed, and Optuna does not say" in said
    assert "1 of 9 trials have no number as their result and count as failed" in said
    assert "2 enqueued" in said
    statuses = record.trials["status"].to_pylist()
    assert statuses[:7] == ["completed", "pruned", "failed", "failed", "failed", "diverged", "diverged"]
    assert statuses[7:] == ["running", "pending"]
    assert record.trials["epochs"].to_pylist() == [4] * 9
    assert record.trials["epochs_done"].to_pylist()[:5] == [4, 2, 4, 4, 5]
    curve = record.curves.to_pylist()[:4]
    assert [(row["epoch"], row["error"]) for row in curve] == [(1, 80.0), (2, 70.0), (3, 60.0), (4, 50.0)]
    assert record.trials["best_error"].to_pylist()[:2] == [50.0, 70.0]
    assert record.units["lr"].to_pylist()[7:] == [None, None]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        record = import_results(url, name="x", sampler="random", missing="diverged")
    assert any("count as diverged" in str(warning.message) for warning in caught)
    assert record.trials["status"].to_pylist()[2:5] == ["failed", "failed", "diverged"]


def test_tpe_trials_enter_no_distribution(url: str) -> None:
    study = optuna.create_study(storage=url, study_name="t", sampler=optuna.samplers.TPESampler(seed=1))
    study.optimize(_error, n_trials=12)
    with pytest.warns(UserWarning, match=r"12 of 12 trials enter no distribution"):
        record = import_results(url, name="x")
    assert summarize(record).arms == ()


def test_accuracies_in_a_journal_with_attributes(tmp_path: Path) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = tmp_path / "optuna.log"
    storage = JournalStorage(JournalFileBackend(str(path)))
    study = optuna.create_study(storage=storage, study_name="s", direction="maximize")

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_float("lr", 0, 1)
        trial.suggest_categorical("optimizer", ["sgd", "lion"])
        trial.set_user_attr("seed", 100 + trial.number)
        trial.set_user_attr("test_error", 10.0 + trial.number)
        return -math.inf if trial.number == 2 else 0.5 + 0.1 * trial.number

    study.optimize(objective, n_trials=4)
    options = {"error_scale": "fraction", "sampler": "random"}
    columns = {"seed": "seed", "optimizer": "optimizer"}
    trials = import_results(path, name="x", columns=columns, arm="net", **options).trials.sort_by("seed")
    assert trials["error"].to_pylist() == [
        pytest.approx(value) if value else None for value in (50.0, 40.0, None, 20.0)
    ]
    assert trials["status"].to_pylist()[2] == "diverged"
    assert trials["arm"].to_pylist() == [f"net/{trial.params['optimizer']}" for trial in study.trials]
    assert hyperparameters_of(trials) == ["lr"]
    with pytest.warns(UserWarning, match="'optimizer' .* is called 'param_optimizer'"):
        trials = import_results(path, name="x", columns={"error": "test_error"}, sampler="random").trials
    assert trials["error"].to_pylist() == [10.0, 11.0, 12.0, 13.0]


def test_retried_trials_count_once(url: str) -> None:
    study = optuna.create_study(storage=url, study_name="r")
    space: dict[str, BaseDistribution] = {"lr": FloatDistribution(0, 1)}
    study.add_trial(create_trial(state=TrialState.FAIL, params={"lr": 0.5}, distributions=space))
    retry = {"failed_trial": 0, "retry_history": [0]}
    study.add_trial(create_trial(value=30.0, params={"lr": 0.5}, distributions=space, system_attrs=retry))
    with pytest.warns(UserWarning, match="1 failed trials were tried again"):
        trials = import_results(url, name="x", sampler="random").trials
    assert trials["error"].to_pylist() == [30.0]


def test_a_draw_attribute_pairs_enqueued_points(url: str) -> None:
    generator = np.random.default_rng(0)
    units = generator.random(8)
    for name, low in (("n/sgd", 0.01), ("n/adamw", 0.0001)):
        study = optuna.create_study(storage=url, study_name=name)
        for draw, unit in enumerate(units):
            study.enqueue_trial({"lr": low * 100**unit}, user_attrs={"draw": draw})
        study.optimize(partial(_from, low), n_trials=8)
    # The distributions say where each setting stands, and that it is the same place in both: no word is needed.
    record = import_results(url, name="x", columns={"draw": "draw"}, enqueued="random")
    first, second = (select_draws(record.trials, arm).draws.to_pylist() for arm in ("n/sgd", "n/adamw"))
    assert first == second
    assert len(first) == 8
    np.testing.assert_allclose(record.units["lr"].to_numpy(), [*units, *units], atol=1e-9)
    with pytest.warns(UserWarning, match=r"16 of 16 trials enter no distribution .*16 enqueued"):
        record = import_results(url, name="x", sampler="random")
    assert record.units["lr"].null_count == 16


def test_what_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(UnusableResults, match="no such file"):
        import_results(url, name="x")
    assert not (tmp_path / "optuna.db").exists()
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE t (x)").connection.close()
    with pytest.raises(UnusableResults, match="cannot be read as an Optuna storage"):
        import_results(tmp_path / "other.db", name="x")
    (tmp_path / "no.log").write_text("hello\n")
    with pytest.raises(UnusableResults, match="it holds no Optuna study"):
        import_results(tmp_path / "no.log", name="x")
    _study(url, "one", _error, n=1)
    with pytest.raises(UnusableResults, match="it has no study 'two'; studies there: one"):
        import_results(url, name="x", studies=["two"])
    with pytest.raises(UnusableResults, match="no trial has a user attribute or parameter 'model'"):
        import_results(url, name="x", columns={"model": "model"})
    _study(url, "up", _error, n=1, direction=StudyDirection.MAXIMIZE)
    with pytest.raises(UnusableResults, match="study 'up' maximizes and 'one' minimizes"):
        import_results(url, name="x")
    optuna.create_study(storage=url, study_name="both", directions=["minimize", "maximize"])
    with pytest.raises(UnusableResults, match="study 'both' has 2 objectives"):
        import_results(url, name="x", studies=["both"])


def test_no_password_is_shown() -> None:
    with pytest.raises(UnusableResults) as caught:
        import_results("postgresql+nodriver://me:secret@host/db", name="x")
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(caught.value.__cause__)
