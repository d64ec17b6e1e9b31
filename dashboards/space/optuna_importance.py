"""The trials of an arm handed to an importance evaluator of Optuna."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dashboards.selection import Floats
from dashboards.space.positions import Positions

if TYPE_CHECKING:
    from optuna import Study
    from optuna.importance import BaseImportanceEvaluator


def importances_by_optuna(
    positions: Positions,
    arm: str,
    names: Sequence[str],
    own: npt.NDArray[np.intp],
    errors: Floats,
    evaluator: "BaseImportanceEvaluator",
) -> dict[str, float]:
    """The importance of each hyperparameter, by one of Optuna's evaluators, in no order.

    Args:
        positions: The trials.
        arm: The arm.
        names: The hyperparameters.
        own: The places of the trials that enter, shape ``(trials,)``.
        errors: Of these, percent, finite.
        evaluator: Of Optuna.
    """
    from optuna.importance import get_param_importances

    with _quiet():
        study = _study(positions, arm, names, own, errors)
        # Named and sorted, because PED-ANOVA goes through a set otherwise, whose order changes from run to run.
        params = sorted({name for trial in study.get_trials(deepcopy=False) for name in trial.params})
        return get_param_importances(study, evaluator=evaluator, params=params)


def _study(
    positions: Positions,
    arm: str,
    names: Sequence[str],
    own: npt.NDArray[np.intp],
    errors: Floats,
) -> "Study":
    """The trials as a study in memory: coordinates as floats of [0, 1], choices as numbers of their places."""
    import optuna
    from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

    columns: dict[str, list[float] | list[int]] = {}
    distributions: dict[str, BaseDistribution] = {}
    for name in names:
        interval, units = positions.intervals[arm, name], positions.units[name][own]
        if interval.numeric:
            columns[name], distributions[name] = units.tolist(), FloatDistribution(0.0, 1.0)
        else:
            columns[name] = positions.choice_numbers(arm, name)[own].tolist()
            distributions[name] = CategoricalDistribution(range(len(interval.choices)))
    present = {name: (~np.isnan(positions.units[name][own])).tolist() for name in names}
    study = optuna.create_study(direction="minimize")
    trials = []
    for place, error in enumerate(errors.tolist()):
        has = [name for name in names if present[name][place]]
        trials.append(
            optuna.trial.create_trial(
                params={name: columns[name][place] for name in has},
                distributions={name: distributions[name] for name in has},
                value=error,
            )
        )
    study.add_trials(trials)
    return study


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's line about a new study, and its warnings about rare conditions, which notes speak of."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(verbosity, optuna.logging.ERROR))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", category=UserWarning)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)
