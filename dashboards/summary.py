"""A study in numbers and sentences; ``terminal`` and ``report`` show them."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from dashboards.centres import centres
from dashboards.compare import Comparison, verdicts
from dashboards.delta import DeltaEdf, delta_edf
from dashboards.edf import Edf, arm_edf
from dashboards.formats import counts
from dashboards.leaderboard import leaderboard
from dashboards.lengths import lengths
from dashboards.optimizer_gap import optimizer_gap
from dashboards.peak import peak
from dashboards.selection import PEAK, STABILITY, ArmName, arms_of, other_trials
from dashboards.tables import hyperparameters_of
from dashboards.terminal import render_summary
from dashboards.tracking import StudyRecord

__all__ = ["ArmSummary", "StudySummary", "render_summary", "summarize"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ArmSummary:
    """One arm's errors in a few numbers; all quantiles are over all ``n`` draws, in percent."""

    arm: str
    edf: Edf
    delta: DeltaEdf
    """Error minus the arm's reference, points."""
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
    """Errors by training length of the trials with a given setting, but those of phase ``peak``; see
    :func:`dashboards.lengths.lengths`."""
    peak: pa.Table
    """The leaderboard of phase ``peak``; see :func:`dashboards.peak.peak`."""
    centres: pa.Table
    """The best setting of each arm that phase ``search`` found; see :func:`dashboards.centres.centres`."""
    others: Mapping[str, int]
    """Trials that enter none of the distributions and comparisons; see :func:`dashboards.selection.other_trials`."""
    timing: Mapping[str, float]
    """Seconds by activity."""

    @property
    def n_other(self) -> int:
        """Trials of other phases or of adaptive samplers, which enter none of the distributions and comparisons."""
        return sum(self.others.values())

    @property
    def others_in_words(self) -> str:
        """``others`` in one clause, without a full stop."""
        trials = "1 more trial enters" if self.n_other == 1 else f"{self.n_other} more trials enter"
        return f"{trials} no distribution ({counts(self.others)})"

    @property
    def has_results(self) -> bool:
        """Whether there is anything to show: a distribution, given settings or a search."""
        return bool(self.arms or self.lengths.num_rows or self.peak.num_rows or self.centres.num_rows)


def summarize(record: StudyRecord, phase: str = STABILITY) -> StudySummary:
    """The answers that the study's non-adaptive trials of ``phase`` give; empty of arms if there are none."""
    trials = record.trials
    models, optimizers = verdicts(trials, phase)
    return StudySummary(
        study=record.study,
        phase=phase,
        arms=tuple(_arm_summary(trials, name, phase) for name in arms_of(trials, phase)),
        model_verdicts=tuple(models),
        optimizer_verdicts=tuple(optimizers),
        optimizer_gap=optimizer_gap(trials, phase),
        leaderboard=leaderboard(trials, phase),
        hyperparameters=tuple(hyperparameters_of(trials)),
        lengths=lengths(trials.filter(pc.not_equal(trials["phase"], PEAK))),
        peak=peak(trials),
        centres=centres(trials),
        others=other_trials(trials, phase),
        timing=dict(record.timing),
    )


def _arm_summary(trials: pa.Table, name: ArmName, phase: str) -> ArmSummary:
    edf = arm_edf(trials, name.arm, phase)
    return ArmSummary(
        arm=name.arm,
        edf=edf,
        delta=delta_edf(trials, name.arm, phase),
        best=float(edf.errors[0]) if edf.n_completed else None,
        q25=edf.quantile_bounds(0.25),
        median=edf.quantile_bounds(0.5),
        q75=edf.quantile_bounds(0.75),
    )
