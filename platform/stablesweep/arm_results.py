"""What each arm has come to in each phase, in the few numbers that MLflow's table of runs can show."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from dashboards.selection import arms_of
from dashboards.statistics.edf import arm_edf

NO_RESULT = ("pending", "running", "failed", "lost")
ARM_METRICS = (
    "trials",
    "completed",
    "diverged",
    "pruned",
    "missing",
    "best_final_error",
    "median_final_error",
    "diverged_percent",
)
"""What is logged to an arm's run where it is known: counts of trials, errors in percent."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmResult:
    """One arm in one phase."""

    phase: str
    arm: str
    statuses: Mapping[str, int]
    """Trials by status; a status that none has is missing."""
    best: float | None
    """The lowest final error of its completed trials, percent; ``None`` if none is."""
    drawn: bool
    """Whether no trial's setting depends on results: only then do the next two say something about the space."""
    median: float
    """The median final error over all draws, percent: infinite where most diverged, ``nan`` where trials that have no
    result could move it, and where the setting was not drawn."""

    @property
    def trials(self) -> int:
        """All trials of the ledger."""
        return sum(self.statuses.values())

    @property
    def missing(self) -> int:
        """Trials without a result: pending, running, failed or lost."""
        return sum(self.statuses.get(status, 0) for status in NO_RESULT)

    @property
    def metrics(self) -> dict[str, float]:
        """As they are logged to the arm's run: counts, and errors in percent; ``nan`` is left out."""
        values = {
            "trials": float(self.trials),
            "completed": float(self.statuses.get("completed", 0)),
            "diverged": float(self.statuses.get("diverged", 0)),
            "missing": float(self.missing),
            "best_final_error": math.nan if self.best is None else self.best,
            "median_final_error": self.median,
        }
        if self.drawn:
            values["diverged_percent"] = 100 * self.statuses.get("diverged", 0) / self.trials
        if "pruned" in self.statuses:
            values["pruned"] = float(self.statuses["pruned"])
        # A database need not take an infinite number, and MLflow shows the largest one in its place.
        return {name: value for name, value in values.items() if math.isfinite(value)}


def arm_results(trials: pa.Table) -> list[ArmResult]:
    """The results of every arm in every phase, sorted by phase and arm."""
    counts: dict[tuple[str, str], dict[str, int]] = {}
    grouped = trials.group_by(["phase", "arm", "status"]).aggregate([([], "count_all")])
    for row in grouped.to_pylist():
        counts.setdefault((row["phase"], row["arm"]), {})[row["status"]] = row["count_all"]
    bests = {
        (row["phase"], row["arm"]): row["error_min"]
        for row in trials.group_by(["phase", "arm"]).aggregate([("error", "min")]).to_pylist()
    }
    drawn = {(phase, name.arm) for phase in pc.unique(trials["phase"]).to_pylist() for name in arms_of(trials, phase)}
    return [
        ArmResult(
            phase=phase,
            arm=arm,
            statuses=dict(sorted(statuses.items())),
            best=bests[phase, arm],
            drawn=(phase, arm) in drawn,
            median=_median(trials, phase, arm) if (phase, arm) in drawn else math.nan,
        )
        for (phase, arm), statuses in sorted(counts.items())
    ]


def study_metrics(trials: pa.Table) -> dict[str, float]:
    """All trials of a study, those without a result, and some by their status."""
    statuses = Counter(trials["status"].to_pylist())
    counts = {"trials": trials.num_rows, "missing": sum(statuses[status] for status in NO_RESULT)}
    counts |= {status: statuses[status] for status in ("completed", "diverged", "failed", "lost")}
    return {name: float(count) for name, count in counts.items()}


def _median(trials: pa.Table, phase: str, arm: str) -> float:
    low, high = arm_edf(trials, arm, phase).quantile_bounds(0.5)
    return high if low == high else math.nan
