"""Importances are Optuna's, on the same trials; what is left out is said."""

from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.importance import (
    BaseImportanceEvaluator,
    FanovaImportanceEvaluator,
    MeanDecreaseImpurityImportanceEvaluator,
    PedAnovaImportanceEvaluator,
    get_param_importances,
)

from dashboards.space.fanova import NUM_TREES
from dashboards.space.importance import EVALUATORS, FANOVA_DEPTH, MAX_TRIALS, evaluated_importances, importances
from dashboards.space.positions import positions
from dashboards.tracking.study import StudyRecord

MakeRecord = Callable[..., StudyRecord]

UNIT = FloatDistribution(0, 1)
UNITS: dict[str, BaseDistribution] = {"lr": UNIT, "weight_decay": UNIT}


def _optuna_evaluator(name: str, seed: int = 0) -> BaseImportanceEvaluator:
    if name == "fanova":
        return FanovaImportanceEvaluator(n_trees=NUM_TREES, max_depth=FANOVA_DEPTH, seed=seed)
    if name == "ped_anova":
        return PedAnovaImportanceEvaluator()
    return MeanDecreaseImpurityImportanceEvaluator(seed=seed)


def _optuna_study(
    rows: list[dict[str, Any]], errors: list[float], distributions: dict[str, BaseDistribution]
) -> optuna.Study:
    study = optuna.create_study()
    for row, error in zip(rows, errors, strict=True):
        own = {name: distributions[name] for name in row}
        study.add_trial(optuna.trial.create_trial(params=row, distributions=own, value=error))
    return study


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_they_are_those_of_optuna(make_drawn: MakeRecord, evaluator: str) -> None:
    generator = np.random.default_rng(1)
    units = generator.random((80, 2))
    solver = generator.choice(["adam", "lars", "sgd"], 80)
    errors = 20 + 30 * np.abs(units[:, 0] - 0.6) + 5 * units[:, 1] + 4 * (solver == "lars") + generator.random(80)
    diverged, failed = units[:, 0] > 0.9, units[:, 1] < 0.05
    outcomes = np.where(failed, np.nan, np.where(diverged, np.inf, errors))
    record = make_drawn(
        outcomes.tolist(),
        {"lr": 1e-4 * 10 ** (4 * units[:, 0]), "weight_decay": 3 * units[:, 1], "solver": solver},
        {"lr": units[:, 0], "weight_decay": units[:, 1]},
    )
    highest = errors[~failed & ~diverged].max()
    study = _optuna_study(
        [
            {"lr": lr, "solver": place, "weight_decay": decay}
            for (lr, decay), place in zip(
                units[~failed].tolist(), np.searchsorted(["adam", "lars", "sgd"], solver)[~failed].tolist(), strict=True
            )
        ],
        np.where(diverged, highest, errors)[~failed].tolist(),
        {"lr": UNIT, "weight_decay": UNIT, "solver": CategoricalDistribution(range(3))},
    )
    expected = get_param_importances(study, evaluator=_optuna_evaluator(evaluator))
    found = evaluated_importances(positions(record), "m/sgd", evaluator)
    assert dict(found.values) == pytest.approx(expected, rel=1e-9)
    assert list(found.values.values()) == sorted(found.values.values(), reverse=True)
    assert sum(found.values.values()) == pytest.approx(1)
    assert (found.n, found.n_diverged, found.stand_in) == ((~failed).sum(), (diverged & ~failed).sum(), highest)
    assert f"{found.n_diverged} diverged trials count as {highest:.1f} %" in found.note
    assert importances(positions(record), "m/sgd", evaluator) == dict(found.values)


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_what_matters_comes_first(make_drawn: MakeRecord, evaluator: str) -> None:
    units = np.random.default_rng(0).random((120, 3))
    names = ["lr", "weight_decay", "momentum"]
    columns = dict(zip(names, units.T, strict=True))
    found = importances(positions(make_drawn((90 * units[:, 1]).tolist(), columns, columns)), "m/sgd", evaluator)
    assert next(iter(found)) == "weight_decay"
    assert found["weight_decay"] > 0.8


def test_shares_of_variance_that_are_known(make_drawn: MakeRecord) -> None:
    """Of 10 a + 7 b the variance is 100 to 49 of a and b."""
    units = np.random.default_rng(0).random((300, 2))
    columns = {"lr": units[:, 0], "weight_decay": units[:, 1]}
    errors = 10 * units[:, 0] + 7 * units[:, 1]
    found = importances(positions(make_drawn(errors.tolist(), columns, columns)), "m/sgd")
    assert found["lr"] == pytest.approx(100 / 149, abs=0.03)


def test_divergence_counts(make_drawn: MakeRecord) -> None:
    """A learning rate that decides nothing but whether trials diverge matters."""
    units = np.random.default_rng(0).random((100, 2))
    columns = {"lr": units[:, 0], "weight_decay": units[:, 1]}
    errors = np.where(units[:, 0] > 0.6, np.inf, 10 + 2 * units[:, 1])
    found = importances(positions(make_drawn(errors.tolist(), columns, columns)), "m/sgd")
    assert found["lr"] > 0.5


def test_a_scale_is_that_of_the_coordinates(make_drawn: MakeRecord) -> None:
    units = np.random.default_rng(0).random((60, 2))
    errors = (50 * np.abs(units[:, 0] - 0.3) + 10 * units[:, 1]).tolist()
    recorded = {"lr": units[:, 0], "weight_decay": units[:, 1]}
    logarithmic = make_drawn(errors, {"lr": 1e-4 * 10 ** (4 * units[:, 0]), "weight_decay": units[:, 1]}, recorded)
    linear = make_drawn(errors, recorded, recorded)
    assert importances(positions(logarithmic), "m/sgd") == importances(positions(linear), "m/sgd")


def test_conditions(make_drawn: MakeRecord) -> None:
    units = np.random.default_rng(0).random((100, 3))
    sgd = units[:, 0] < 0.5
    values = {
        "solver": np.where(sgd, "sgd", "adam"),
        "lr": units[:, 1],
        "momentum": [float(unit) if one else None for unit, one in zip(units[:, 2], sgd, strict=True)],
    }
    errors = (30 * units[:, 1] + np.where(sgd, 40 * units[:, 2], 10)).tolist()
    found = positions(make_drawn(errors, values, {"lr": units[:, 1], "momentum": units[:, 2]}))
    for evaluator in ("fanova", "mean_decrease_impurity"):
        result = evaluated_importances(found, "m/sgd", evaluator)
        assert set(result.values) == {"solver", "lr"}
        assert result.note == "momentum left out: not every trial has a value of it"
    every = evaluated_importances(found, "m/sgd", "ped_anova")
    assert set(every.values) == {"solver", "lr", "momentum"}
    assert every.note == ""
    rows = [
        {"lr": lr, "solver": int(one)} | ({"momentum": momentum} if one else {})
        for lr, momentum, one in zip(units[:, 1].tolist(), units[:, 2].tolist(), sgd.tolist(), strict=True)
    ]
    study = _optuna_study(rows, errors, {"lr": UNIT, "momentum": UNIT, "solver": CategoricalDistribution([0, 1])})
    expected = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    assert dict(every.values) == pytest.approx(expected)


def test_nothing_that_every_trial_has(make_drawn: MakeRecord) -> None:
    values = {"a": [1.0, 2.0, 3.0, None, None, None], "b": [None, None, None, 1.0, 2.0, 3.0]}
    found = evaluated_importances(positions(make_drawn([1, 2, 3, 4, 5, 6], values)), "m/sgd")
    assert dict(found.values) == {}
    assert found.note == "a, b left out: not every trial has a value of it; try ped_anova, which takes them"


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_a_single_dimension_is_everything(make_drawn: MakeRecord, evaluator: str) -> None:
    lr = np.linspace(0.1, 0.9, 30)
    assert importances(positions(make_drawn(lr.tolist(), {"lr": lr})), "m/sgd", evaluator) == {"lr": 1.0}


@pytest.mark.parametrize(
    ("errors", "evaluator", "note"),
    [
        ([1.0, 2.0, 3.0, np.inf, np.nan], "fanova", "3 completed trials, at least 4 are needed"),
        ([np.inf] * 5, "fanova", "0 completed trials, at least 4 are needed"),
        ([2.0] * 5, "fanova", "all completed trials have the same error"),
        ([1.0, 2.0, 3.0, 4.0, 5.0], "ped_anova", "5 trials with a result, at least 20 are needed for ped_anova"),
    ],
)
def test_why_there_is_none(make_drawn: MakeRecord, errors: list[float], evaluator: str, note: str) -> None:
    values = {"lr": [1.0, 2.0, 3.0, 4.0, 5.0], "weight_decay": [5.0, 4.0, 3.0, 2.0, 2.5]}
    found = evaluated_importances(positions(make_drawn(errors, values)), "m/sgd", evaluator)
    assert (dict(found.values), found.note) == ({}, note)


def test_an_arm_without_dimensions(make_drawn: MakeRecord) -> None:
    found = evaluated_importances(positions(make_drawn([1.0, 2.0], {"lr": [0.1, 0.1]})), "m/sgd")
    assert found.note == "the arm varies no hyperparameter"


def test_of_many_trials_some_are_drawn(make_drawn: MakeRecord) -> None:
    units = np.random.default_rng(0).random((MAX_TRIALS + 500, 2))
    columns = {"lr": units[:, 0], "weight_decay": units[:, 1]}
    found = positions(make_drawn((20 * units[:, 0] + 4 * units[:, 1]).tolist(), columns, columns))
    first = evaluated_importances(found, "m/sgd", "mean_decrease_impurity")
    assert (first.n, first.note) == (1_000, "1,000 of 1,500 trials, drawn at random")
    assert first == evaluated_importances(found, "m/sgd", "mean_decrease_impurity")
    assert first.values["lr"] == pytest.approx(400 / 416, abs=0.02)


def test_a_draw_of_many_trials_says_what_all_of_them_say(make_drawn: MakeRecord) -> None:
    generator = np.random.default_rng(0)
    units = generator.random((12_000, 2))
    columns = {"lr": units[:, 0], "weight_decay": units[:, 1]}
    errors = 8 + 40 * np.abs(units[:, 0] - 0.6) + 20 * units[:, 1] + np.abs(generator.normal(0, 2, len(units)))
    study = _optuna_study([{"lr": lr, "weight_decay": decay} for lr, decay in units.tolist()], errors.tolist(), UNITS)
    every = get_param_importances(study, evaluator=_optuna_evaluator("fanova"))
    found = evaluated_importances(positions(make_drawn(errors.tolist(), columns, columns)), "m/sgd")
    assert found.note == "1,000 of 12,000 trials, drawn at random"
    assert dict(found.values) == pytest.approx(every, abs=0.03)


def test_no_hyperparameter_differs_where_there_are_results(make_drawn: MakeRecord) -> None:
    nan = float("nan")
    columns = {"lr": [0.5] * 6 + [0.1, 0.9], "weight_decay": [0.5] * 6 + [0.2, 0.3]}
    found = evaluated_importances(positions(make_drawn([1, 2, 3, 4, 5, 6, nan, nan], columns, columns)), "m/sgd")
    assert (dict(found.values), found.note) == ({}, "the trials that enter do not differ in any hyperparameter")


@pytest.mark.parametrize("evaluator", EVALUATORS)
@pytest.mark.parametrize(
    ("settings", "errors", "alike"),
    [
        ([0.9] + [0.5] * 2_999, list(range(1, 3_001)), "do not differ in any hyperparameter"),
        (np.linspace(0, 1, 3_000).tolist(), [9.0] + [10.0] * 2_999, "all have the same error"),
    ],
)
def test_only_one_of_many_trials_is_different(
    make_drawn: MakeRecord, evaluator: str, settings: list[float], errors: list[float], alike: str
) -> None:
    """It is drawn by some seeds and not by others: the shares sum to 1, or a note says why there are none."""
    columns = {"lr": settings, "weight_decay": settings}
    found = positions(make_drawn(errors, columns, columns))
    results = [evaluated_importances(found, "m/sgd", evaluator, seed) for seed in range(5)]
    drawn = "1,000 of 3,000 trials, drawn at random"
    assert {result.note for result in results} == {drawn, f"{drawn}; the trials that enter {alike}"}
    for result in results:
        assert sum(result.values.values()) == pytest.approx(1 if result.note == drawn else 0)


def test_the_same_seed_gives_the_same_numbers(make_drawn: MakeRecord) -> None:
    units = np.random.default_rng(0).random((50, 2))
    columns = {"lr": units[:, 0], "weight_decay": units[:, 1]}
    found = positions(make_drawn((20 * units[:, 0] + 14 * units[:, 1]).tolist(), columns, columns))
    assert importances(found, "m/sgd", seed=3) == importances(found, "m/sgd", seed=3)
    assert importances(found, "m/sgd", seed=3) != importances(found, "m/sgd", seed=4)


def test_optuna_stays_as_talkative_as_it_was(make_drawn: MakeRecord, capfd: pytest.CaptureFixture[str]) -> None:
    units = np.random.default_rng(0).random((30, 2))
    columns = {"lr": units[:, 0], "weight_decay": units[:, 1]}
    found = positions(make_drawn(units[:, 0].tolist(), columns, columns))
    before = optuna.logging.get_verbosity()
    importances(found, "m/sgd", "mean_decrease_impurity")
    assert optuna.logging.get_verbosity() == before
    assert capfd.readouterr().err == ""


def test_names_that_there_are_not(make_drawn: MakeRecord) -> None:
    found = positions(make_drawn([1.0, 2.0], {"lr": [0.1, 0.2]}))
    with pytest.raises(ValueError, match="evaluator: got 'shap', expected one of fanova, ped_anova"):
        importances(found, "m/sgd", "shap")
    with pytest.raises(ValueError, match="No arm 'x'"):
        importances(found, "x")
