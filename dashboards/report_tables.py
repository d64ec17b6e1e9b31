"""The tables of the report, formatted: each a header and rows of text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from dashboards import centres, lengths, peak
from dashboards.formats import bounded, duration, percent, setting, share, without_password
from dashboards.leaderboard import MARGINS
from dashboards.summary import StudySummary
from dashboards.tags import SKIPPED_ARTIFACT
from dashboards.tracking import StudyRecord

MAX_UNFINISHED = 50


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table ready to be shown; the first ``text_columns`` columns are text, the others numbers."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: int = 1
    note: str = ""


def arm_table(summary: StudySummary) -> Table:
    """Counts and quartiles per arm."""
    rows = [
        (
            arm.arm,
            str(arm.edf.n),
            str(arm.edf.n_completed),
            str(arm.edf.n_diverged),
            str(arm.edf.n_missing),
            percent(arm.best),
            bounded(*arm.q25),
            bounded(*arm.median),
            bounded(*arm.q75),
        )
        for arm in summary.arms
    ]
    return Table(
        header=("arm", "n", "completed", "diverged", "missing", "best", "25 % of draws", "median", "75 % of draws"),
        rows=tuple(rows),
        note="Error in percent that this share of all draws reaches. ∞: reached only if diverged draws are counted in; "
        "≤, ≥, unknown: as far as it is certain while trials are missing.",
    )


def share_table(summary: StudySummary) -> Table:
    """Shares of each arm's draws within some points of the best error of any arm, and of its own best."""
    bests = [arm.best for arm in summary.arms if arm.best is not None]
    overall = min(bests, default=None)
    rows = []
    for arm in summary.arms:
        within = ["–" if overall is None else share(arm.edf(overall + margin)) for margin in MARGINS]
        own = ["–" if arm.best is None else share(arm.edf(arm.best + margin)) for margin in MARGINS]
        rows.append((arm.arm, *within, *own))
    study_best = "the best of all" if overall is None else f"{percent(overall)} %, the best of all"
    return Table(
        header=(
            "arm",
            *(f"best of all + {margin}" for margin in MARGINS),
            *(f"own best + {margin}" for margin in MARGINS),
        ),
        rows=tuple(rows),
        note=f"Share of all draws of the arm whose error is within so many points of {study_best}, and of its own best.",
    )


def delta_table(summary: StudySummary) -> Table:
    """How far each arm's draws end above its reference."""
    rows = [
        (
            arm.arm,
            percent(arm.delta.reference.value),
            bounded(*arm.delta.quantile_bounds(0.5)),
            *(share(arm.delta.share_within(margin)) for margin in MARGINS),
        )
        for arm in summary.arms
    ]
    return Table(
        header=("arm", "reference", "median", *(f"reference + {margin}" for margin in MARGINS)),
        rows=tuple(rows),
        note="Reference: an error in percent of the same arm after as many epochs; under the figure of the distributions "
        "stands which. Median: of the draws' errors minus the reference, points. The last columns: share of all draws at "
        "most so many points above it.",
    )


def peak_table(summary: StudySummary) -> Table:
    """Arms by mean error over the seeds of their setting in phase ``peak``."""
    rows = [
        (
            row["arm"],
            *(str(row[name]) for name in ("epochs", "n", "completed", "diverged", "missing")),
            *(percent(row[name]) for name in ("mean_error", "lowest_error", "highest_error")),
            *(setting(row[name]) for name in summary.hyperparameters),
        )
        for row in summary.peak.to_pylist()
    ]
    header = ("arm", "epochs", "seeds", "completed", "diverged", "missing", "mean", "lowest", "highest")
    return Table(header=(*header, *_names(summary.hyperparameters)), rows=tuple(rows), note=peak.CAPTION)


def centre_table(summary: StudySummary) -> Table:
    """The best setting of each arm that the search found."""
    rows = [
        (
            row["arm"],
            percent(row["best_error"]),
            *(setting(row[name]) for name in summary.hyperparameters),
            setting(row["best_draw"]),
            *(str(row[name]) for name in ("n", "completed", "diverged", "pruned", "failed_or_lost", "pending")),
        )
        for row in summary.centres.to_pylist()
    ]
    counts = ("best draw", "n", "completed", "diverged", "pruned", "failed or lost", "pending")
    header = ("arm", "best error", *_names(summary.hyperparameters), *counts)
    return Table(header=header, rows=tuple(rows), note=centres.CAPTION)


def length_table(summary: StudySummary) -> Table:
    """Errors by training length of the trials with a given setting."""
    rows = [
        (
            row["arm"],
            row["phase"],
            *(str(row[name]) for name in ("epochs", "n", "completed", "diverged", "missing")),
            *(percent(row[name]) for name in ("mean_error", "lowest_error", "highest_error", "gap")),
        )
        for row in summary.lengths.to_pylist()
    ]
    header = ("arm", "phase", "epochs", "n", "completed", "diverged", "missing", "mean", "lowest", "highest", "gap")
    return Table(header=header, rows=tuple(rows), text_columns=2, note=lengths.CAPTION)


def gap_table(summary: StudySummary) -> Table:
    """The optimizer gap of each model."""
    rows = [
        (
            row["model"],
            row["optimizer_a"],
            row["optimizer_b"],
            *(percent(row[name]) for name in ("best_a", "best_b", "best_gap", "median_a", "median_b", "median_gap")),
            str(row["n"]),
        )
        for row in summary.optimizer_gap.to_pylist()
    ]
    header = ("model", "optimizer a", "optimizer b", "best a", "best b", "best gap", "median a", "median b")
    return Table(header=(*header, "median gap", "n pairs"), rows=tuple(rows), text_columns=3)


def leaderboard_table(summary: StudySummary) -> Table:
    """Arms by best error, with the hyperparameters of the best draw."""
    rows = [
        (
            row["arm"],
            "–" if row["rank"] is None else str(row["rank"]),
            percent(row["best_error"]),
            str(row["draws"]),
            "–" if row["best_draw"] is None else str(row["best_draw"]),
            *(setting(row[name]) for name in summary.hyperparameters),
        )
        for row in summary.leaderboard.to_pylist()
    ]
    header = ("arm", "rank", "best error", "n", "best draw")
    return Table(header=(*header, *_names(summary.hyperparameters)), rows=tuple(rows))


def unfinished_table(trials: pa.Table) -> Table:
    """Trials of any phase that failed or were lost, and why."""
    rows = trials.filter(pc.is_in(trials["status"], value_set=pa.array(["failed", "lost"])))
    shown = rows.select(["key", "status", "reason"]).slice(0, MAX_UNFINISHED).to_pylist()
    rest = rows.num_rows - len(shown)
    return Table(
        header=("trial", "status", "reason"),
        rows=tuple((row["key"], row["status"], row["reason"] or "not recorded") for row in shown),
        text_columns=3,
        note=f"{rest} more are in the trials table." if rest else "",
    )


def _names(hyperparameters: Sequence[str]) -> list[str]:
    return [name.replace("_", " ") for name in hyperparameters]


def timing_rows(timing: Mapping[str, float]) -> list[tuple[str, str, float]]:
    """Activity, time as text, and share of the longest (for a bar), longest first."""
    longest = max(timing.values(), default=0.0)
    ordered = sorted(timing.items(), key=lambda item: -item[1])
    return [(name, duration(value), value / longest if longest > 0 else 0.0) for name, value in ordered]


def origin_rows(record: StudyRecord) -> list[tuple[str, str]]:
    """How the numbers were made: when, by what, with which seeds."""
    rows = record.trials
    facts = [("MLflow", without_password(record.tracking_uri)), ("Experiment, study run", "")]
    facts[1] = (facts[1][0], f"{record.experiment_id}, {record.study_run_id}")
    facts += [(f"{package} version", version) for package, version in record.versions.items()]
    if rows.num_rows:
        started = pc.min_max(rows["started"]).as_py()
        if started["min"] is not None:
            facts.append(
                (
                    "First and last trial started",
                    f"{started['min']:%Y-%m-%d %H:%M} and {started['max']:%Y-%m-%d %H:%M} UTC",
                )
            )
        seeds = pc.min_max(rows["seed"]).as_py()
        number = pc.count_distinct(rows["seed"]).as_py()
        facts.append(
            (
                "Seeds of the trials",
                f"{number} different, {seeds['min']} to {seeds['max']}; each is in the trials table",
            )
        )
        if record.skipped_samples:
            text = f"{record.skipped_samples} unreadable, listed in {SKIPPED_ARTIFACT} of the study's run"
            facts.append(("Samples left out", text))
        facts.append(("Samplers", ", ".join(sorted(set(rows["sampler"].to_pylist())))))
        facts.append(("Epochs", ", ".join(str(epochs) for epochs in sorted(set(rows["epochs"].to_pylist())))))
    return facts
