"""A study in numbers and sentences; ``terminal`` and ``report`` show them."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from dashboards.formats import counts
from dashboards.selection import PEAK, STABILITY, ArmName, arms_of, other_trials, stability_trials
from dashboards.space.diagnostics import SpaceDiagnostics, diagnose
from dashboards.statistics.best_of_n import best_of_n
from dashboards.statistics.centres import centres
from dashboards.statistics.compare import Verdict, verdicts
from dashboards.statistics.delta import DeltaEdf, delta_edf
from dashboards.statistics.edf import Edf, arm_edf
from dashboards.statistics.leaderboard import leaderboard
from dashboards.statistics.lengths import lengths
from dashboards.statistics.optimizer_gap import optimizer_gap, optimizer_gap_by_length
from dashboards.statistics.peak import peak
from dashboards.statistics.steepness import Steepness, steepness
from dashboards.tables import hyperparameters_of
from dashboards.terminal import render_summary
from dashboards.tracking.study import StudyRecord

__all__ = ["ArmSummary", "StudySummary", "render_summary", "summarize"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ArmSummary:
    """One arm's errors in a few numbers; all quantiles are over all ``n`` draws, in percent."""

    arm: str
    model: str
    optimizer: str
    edf: Edf
    delta: DeltaEdf
    """Error minus the arm's reference, points."""
    n_pruned: int
    """Draws that stopped early on purpose; they are among ``edf.n_missing``, as nobody knows how they would have ended."""
    epochs: tuple[int, ...]
    """The training lengths that its draws were asked for, ascending; several are not one distribution."""
    steepness: Steepness
    """How many draws end close to that reference."""
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
    conditions: tuple[str, ...]
    """What its trials were selected by; empty: they are all that there are."""
    phase: str
    arms: tuple[ArmSummary, ...]
    """Sorted by name; only arms with non-adaptive trials in ``phase``."""
    samplers: tuple[str, ...]
    """Of those trials, sorted."""
    model_verdicts: tuple[Verdict, ...]
    """Each pair of models under the same optimizer."""
    optimizer_verdicts: tuple[Verdict, ...]
    """Each pair of optimizers on the same model. The p-values of both kinds are corrected together."""
    optimizer_gap: pa.Table
    optimizer_gap_by_length: pa.Table
    """Of given settings; see :func:`dashboards.statistics.optimizer_gap.optimizer_gap_by_length`."""
    leaderboard: pa.Table
    hyperparameters: tuple[str, ...]
    lengths: pa.Table
    """Errors by training length of the trials with a given setting, but those of phase ``peak``; see
    :func:`dashboards.statistics.lengths.lengths`."""
    peak: pa.Table
    """The leaderboard of phase ``peak``; see :func:`dashboards.statistics.peak.peak`."""
    centres: pa.Table
    """The best setting of each arm that phase ``search`` found; see :func:`dashboards.statistics.centres.centres`."""
    best_of_n: pa.Table
    """The lowest error of n draws; see :func:`dashboards.statistics.best_of_n.best_of_n`."""
    space: SpaceDiagnostics
    """Where in the space good settings lie, and where training diverges."""
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

    @property
    def n_pairs(self) -> int:
        """How many comparisons were corrected together."""
        return sum(verdict.holm_p is not None for verdict in (*self.model_verdicts, *self.optimizer_verdicts))


def summarize(record: StudyRecord, phase: str = STABILITY) -> StudySummary:
    """The answers that the study's non-adaptive trials of ``phase`` give; empty of arms if there are none."""
    trials = record.trials
    models, optimizers = verdicts(trials, phase)
    return StudySummary(
        study=record.study,
        conditions=record.conditions,
        phase=phase,
        arms=tuple(_arm_summary(trials, name, phase) for name in arms_of(trials, phase)),
        samplers=tuple(
            sorted(pc.unique(stability_trials(trials.select(["phase", "sampler"]), phase)["sampler"]).to_pylist())
        ),
        model_verdicts=tuple(models),
        optimizer_verdicts=tuple(optimizers),
        optimizer_gap=optimizer_gap(trials, phase),
        optimizer_gap_by_length=optimizer_gap_by_length(trials),
        leaderboard=leaderboard(trials, phase, record.costs),
        hyperparameters=tuple(hyperparameters_of(trials)),
        lengths=lengths(trials.filter(pc.not_equal(trials["phase"], PEAK))),
        peak=peak(trials, record.costs),
        centres=centres(trials),
        best_of_n=best_of_n(trials, phase),
        space=diagnose(record, phase),
        others=other_trials(trials, phase),
        timing=dict(record.timing),
    )


def _arm_summary(trials: pa.Table, name: ArmName, phase: str) -> ArmSummary:
    edf = arm_edf(trials, name.arm, phase)
    delta = delta_edf(trials, name.arm, phase)
    rows = stability_trials(trials.select(["arm", "phase", "sampler", "status", "epochs"]), phase)
    rows = rows.filter(pc.equal(rows["arm"], name.arm))
    return ArmSummary(
        arm=name.arm,
        model=name.model,
        optimizer=name.optimizer,
        edf=edf,
        delta=delta,
        n_pruned=pc.sum(pc.equal(rows["status"], "pruned")).as_py() or 0,
        epochs=tuple(sorted(pc.unique(rows["epochs"]).drop_null().to_pylist())),
        steepness=steepness(delta),
        best=float(edf.errors[0]) if edf.n_completed else None,
        q25=edf.quantile_bounds(0.25),
        median=edf.quantile_bounds(0.5),
        q75=edf.quantile_bounds(0.75),
    )
