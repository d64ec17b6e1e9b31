"""A study in numbers and sentences; ``terminal`` and ``report`` show them."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from dashboards.compare import Comparison, verdicts
from dashboards.edf import Edf, arm_edf
from dashboards.leaderboard import leaderboard
from dashboards.lengths import lengths
from dashboards.optimizer_gap import optimizer_gap
from dashboards.selection import STABILITY, arms_of, stability_trials
from dashboards.tables import hyperparameters_of
from dashboards.terminal import render_summary
from dashboards.tracking import StudyRecord

__all__ = ["ArmSummary", "StudySummary", "render_summary", "summarize"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ArmSummary:
    """One arm's errors in a few numbers; all quantiles are over all ``n`` draws, in percent."""

    arm: str
    edf: Edf
    best: float | None
    """The lowest error; ``None`` if no trial completed."""
    q25: tuple[float, float]
    """The error that a quarter of the draws reach: the lowest and highest value it can have given the missing ones."""
    median: tuple[float, float]
    q75: tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StudySummary:
    """The answers of a study."""

    study: str
    phase: str
    arms: tuple[ArmSummary, ...]
    """Sorted by name; only arms with non-adaptive trials in ``phase``."""
    model_verdicts: tuple[Comparison, ...]
    """Each pair of models under the same optimizer."""
    optimizer_verdicts: tuple[Comparison, ...]
    """Each pair of optimizers on the same model."""
    optimizer_gap: pa.Table
    leaderboard: pa.Table
    hyperparameters: tuple[str, ...]
    lengths: pa.Table
    """Errors by training length of the trials with a given setting; see :func:`dashboards.lengths.lengths`."""
    n_other: int
    """Trials of other phases or of adaptive samplers, which enter none of the distributions and comparisons."""
    timing: Mapping[str, float]
    """Seconds by activity."""


def summarize(record: StudyRecord, phase: str = STABILITY) -> StudySummary:
    """The answers that the study's non-adaptive trials of ``phase`` give; empty of arms if there are none."""
    trials = record.trials
    edfs = [arm_edf(trials, name.arm, phase) for name in arms_of(trials, phase)]
    models, optimizers = verdicts(trials, phase)
    return StudySummary(
        study=record.study,
        phase=phase,
        arms=tuple(_arm_summary(edf) for edf in edfs),
        model_verdicts=tuple(models),
        optimizer_verdicts=tuple(optimizers),
        optimizer_gap=optimizer_gap(trials, phase),
        leaderboard=leaderboard(trials, phase),
        hyperparameters=tuple(hyperparameters_of(trials)),
        lengths=lengths(trials),
        n_other=trials.num_rows - stability_trials(trials, phase).num_rows,
        timing=dict(record.timing),
    )


def _arm_summary(edf: Edf) -> ArmSummary:
    return ArmSummary(
        arm=edf.arm or "",
        edf=edf,
        best=float(edf.errors[0]) if edf.n_completed else None,
        q25=edf.quantile_bounds(0.25),
        median=edf.quantile_bounds(0.5),
        q75=edf.quantile_bounds(0.75),
    )
