"""How much each hyperparameter of an arm matters for its error."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dashboards.formats import percent
from dashboards.selection import Floats
from dashboards.space.fanova import shares_of_variance
from dashboards.space.optuna_importance import importances_by_optuna
from dashboards.space.positions import Positions

if TYPE_CHECKING:
    from optuna.importance import BaseImportanceEvaluator

FANOVA, PED_ANOVA, IMPURITY = "fanova", "ped_anova", "mean_decrease_impurity"
EVALUATORS = (FANOVA, PED_ANOVA, IMPURITY)

MIN_COMPLETED = 4
"""Completed trials without which there is no importance."""
MIN_PED_ANOVA = 20
"""Trials with a result that PED-ANOVA needs: it looks at the best tenth of them, which shall be two at least."""
MAX_TRIALS = 1_000
"""Trials that enter, whichever evaluator it is; of more, that many are drawn. Another draw of 1,000 of 12,500 trials moved
fANOVA's shares by 0.002 (their standard deviation), and all 12,500 gave a share 0.005 lower."""
FANOVA_DEPTH = 6
"""Deepest tree of fANOVA's forest; Optuna's own is 64. Where the importances are known (10 a + 7 b: 0.67 and 0.33), both gave
them to 0.01 from 64 trials."""

CAPTION = (
    "Share of each hyperparameter in what decides the error, sum 1, as Optuna's evaluator defines it. It is about the whole "
    "space that was drawn from, says nothing about the direction, and is rough with fewer than some 50 trials. "
    "Diverged trials take part with the highest error of any completed trial of the arm; trials without a result "
    f"are left out; of more than {MAX_TRIALS:,} trials that many, drawn at random, stand for all."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Importances:
    """How much each hyperparameter of one arm matters."""

    arm: str
    evaluator: str
    """One of :data:`EVALUATORS`."""
    values: Mapping[str, float] = field(default_factory=dict)
    """By hyperparameter, highest first, sum 1; empty where there is none, and ``note`` says why."""
    n: int = 0
    """Trials that entered."""
    n_diverged: int = 0
    """How many of them diverged."""
    stand_in: float | None = None
    """The error that these were given, percent; ``None`` where none diverged."""
    note: str = ""
    """What was left out, or why there is nothing, without a full stop."""


def importances(positions: Positions, arm: str, evaluator: str = FANOVA, seed: int = 0) -> dict[str, float]:
    """The importance of each hyperparameter that ``arm`` varies, highest first; empty where there is none.

    Raises:
        ValueError: As :func:`evaluated_importances`, which also says what was left out and why there is none.
    """
    return dict(evaluated_importances(positions, arm, evaluator, seed).values)


def evaluated_importances(positions: Positions, arm: str, evaluator: str = FANOVA, seed: int = 0) -> Importances:
    """The importance of each hyperparameter that ``arm`` varies, with what it is made from.

    The evaluators see coordinates, so that a log scale is one; choices are choices. A diverged trial has no error,
    only the knowledge that it is worse than any: it enters with the highest error of a completed trial, the lowest
    number of which that is true. A higher one (100 %, or chance) would let how far it is above the others decide,
    which nobody knows; leaving diverged trials out would call a learning rate unimportant that half of the trials
    diverge by. PED-ANOVA takes ranks, so there the number does not matter.

    The forests take hyperparameters that every trial has; a conditional one is left out, which ``note`` says.
    PED-ANOVA takes all.

    Args:
        positions: The trials.
        arm: The arm.
        evaluator: One of :data:`EVALUATORS`.
        seed: Of the forest, and of the draw of :data:`MAX_TRIALS` where there are more.

    Raises:
        ValueError: If there is no such arm or evaluator.

    Source: Hutter, Hoos and Leyton-Brown 2014 (fANOVA); Watanabe, Bansal and Hutter, arXiv:2304.10255 (PED-ANOVA);
        Breiman 2001 (mean decrease of impurity). The last two are computed by Optuna; fANOVA gives the numbers of Optuna's
        evaluator with :data:`FANOVA_DEPTH` and :data:`dashboards.space.fanova.NUM_TREES`.
    """
    if evaluator not in EVALUATORS:
        raise ValueError(f"evaluator: got {evaluator!r}, expected one of {', '.join(EVALUATORS)}.")
    names = positions.dimensions(arm)
    own = np.flatnonzero((positions.arms == arm) & positions.known)
    reason = _why_not(positions, own, names, evaluator)
    if reason:
        return Importances(arm=arm, evaluator=evaluator, n=len(own), note=reason)
    notes = []
    if evaluator != PED_ANOVA:
        partial = [name for name in names if np.isnan(positions.units[name][own]).any()]
        names = [name for name in names if name not in partial]
        if partial:
            notes.append(f"{', '.join(partial)} left out: not every trial has a value of it")
    if not names:
        return Importances(
            arm=arm, evaluator=evaluator, n=len(own), note="; ".join([*notes, f"try {PED_ANOVA}, which takes them"])
        )
    stand_in = float(positions.errors[own][np.isfinite(positions.errors[own])].max())
    if len(own) > MAX_TRIALS:
        notes.append(f"{MAX_TRIALS:,} of {len(own):,} trials, drawn at random")
        own = np.sort(np.random.default_rng(seed).choice(own, MAX_TRIALS, replace=False))
    errors = np.minimum(positions.errors[own], stand_in)
    n_diverged = int(np.isposinf(positions.errors[own]).sum())
    # Not before the draw: what differs in one of thousands of trials may not be drawn.
    if reason := _all_alike(positions, own, names, errors):
        return Importances(arm=arm, evaluator=evaluator, n=len(own), note="; ".join([*notes, reason]))
    if n_diverged:
        notes.append(f"{n_diverged} diverged trials count as {percent(stand_in)} %")
    return Importances(
        arm=arm,
        evaluator=evaluator,
        values=_evaluate(positions, arm, names, own, errors, evaluator, seed),
        n=len(own),
        n_diverged=n_diverged,
        stand_in=stand_in if n_diverged else None,
        note="; ".join(notes),
    )


def _why_not(positions: Positions, own: npt.NDArray[np.intp], names: Sequence[str], evaluator: str) -> str:
    errors = positions.errors[own]
    completed = errors[np.isfinite(errors)]
    if not names:
        return "the arm varies no hyperparameter"
    if len(completed) < MIN_COMPLETED:
        return f"{len(completed)} completed trials, at least {MIN_COMPLETED} are needed"
    if completed.min() == completed.max():
        return "all completed trials have the same error"
    if evaluator == PED_ANOVA and len(own) < MIN_PED_ANOVA:
        return f"{len(own)} trials with a result, at least {MIN_PED_ANOVA} are needed for {PED_ANOVA}"
    return ""


def _all_alike(positions: Positions, own: npt.NDArray[np.intp], names: Sequence[str], errors: Floats) -> str:
    """In what the trials that enter are all alike, so that nothing can be said; empty if they are not."""
    if all(np.ptp(positions.units[name][own]) == 0 for name in names):
        return "the trials that enter do not differ in any hyperparameter"
    return "the trials that enter all have the same error" if errors.min() == errors.max() else ""


def _evaluate(
    positions: Positions,
    arm: str,
    names: Sequence[str],
    own: npt.NDArray[np.intp],
    errors: Floats,
    evaluator: str,
    seed: int,
) -> dict[str, float]:
    if len(names) == 1:
        return {names[0]: 1.0}
    if evaluator == FANOVA:
        # Optuna's order: the forest's random numbers go over the columns.
        names = sorted(names)
        inputs = [_forest_columns(positions, arm, name, own) for name in names]
        shares = shares_of_variance(inputs, errors, depth=FANOVA_DEPTH, seed=seed)
        found = dict(zip(names, shares.tolist(), strict=True))
    else:
        found = importances_by_optuna(positions, arm, names, own, errors, _evaluator(evaluator, seed))
    ranked = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return {name: float(value) for name, value in ranked}


def _forest_columns(positions: Positions, arm: str, name: str, own: npt.NDArray[np.intp]) -> Floats:
    """The coordinates as one column, choices as a column of 0 and 1 each; shape ``(trials, columns)``."""
    interval = positions.intervals[arm, name]
    if interval.numeric:
        return positions.units[name][own][:, None]
    return np.eye(len(interval.choices))[positions.choice_numbers(arm, name)[own]]


def _evaluator(name: str, seed: int) -> "BaseImportanceEvaluator":
    from optuna import importance

    if name == IMPURITY:
        return importance.MeanDecreaseImpurityImportanceEvaluator(seed=seed)
    return importance.PedAnovaImportanceEvaluator()
