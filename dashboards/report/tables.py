"""The tables of the report, formatted: each a header and rows of text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dashboards.columns import setting_columns
from dashboards.formats import bounded, duration, elided, interval, percent, setting, share, without_password
from dashboards.space import regions
from dashboards.statistics import centres, costs, lengths, optimizer_gap, peak, steepness
from dashboards.statistics.costs import counted
from dashboards.statistics.leaderboard import MARGINS
from dashboards.summary import StudySummary
from dashboards.tags import SKIPPED_ARTIFACT
from dashboards.tracking.study import StudyRecord
from dashboards.troubles import troubles_of

MAX_TROUBLES = 50
MAX_REASON = 300
"""Characters; the whole of it is in the trials table."""

_COST_HEADER = ("parameters", "flops", "activations", "images/s", "GPU time", "compute time")
_COST_COLUMNS = ("parameters", "flops", "activations", "images_per_s", "gpu_hours", "compute_hours")


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table ready to be shown; the first ``text_columns`` columns are text, the others numbers."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: int = 1
    note: str = ""


def report_tables(record: StudyRecord, summary: StudySummary) -> Mapping[str, Table]:
    """All tables of the report by name; those without rows as well."""
    return {
        "arms": arm_table(summary),
        "shares": share_table(summary),
        "steepness": steepness_table(summary),
        "gap": gap_table(summary),
        "gap_by_length": length_gap_table(summary),
        "leaderboard": leaderboard_table(summary),
        "lengths": length_table(summary),
        "peak": peak_table(summary),
        "centres": centre_table(summary),
        "regions": region_table(summary),
        "troubles": trouble_table(record.trials),
    }


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
            interval(*arm.edf.quantile_interval(0.5)),
            bounded(*arm.q75),
        )
        for arm in summary.arms
    ]
    header = ("arm", "n", "completed", "diverged", "missing", "best", "25 % of draws", "median", "its 95 % interval")
    return Table(
        header=(*header, "75 % of draws"),
        rows=tuple(rows),
        note="Error in percent that this share of all draws reaches. ∞: reached only if diverged draws are counted in; "
        "≤, ≥, unknown: as far as it is certain while trials are missing. The interval of the median supposes independent "
        "draws and nothing else.",
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


def steepness_table(summary: StudySummary) -> Table:
    """How far each arm's draws end above its reference."""
    rows = []
    for arm in summary.arms:
        found = arm.steepness
        near = [f"{_between(item.lower, item.upper)} [{_bare(item.interval)}]" for item in found.within]
        rows.append(
            (
                arm.arm,
                percent(found.reference.value),
                bounded(*found.median),
                interval(*found.median_interval),
                *near,
                "–" if found.reference.value is None else _area(found.area),
            )
        )
    margins = [f"reference + {margin:g}" for margin in steepness.MARGINS]
    return Table(
        header=("arm", "reference", "median", "its 95 % interval", *margins, "area to 10"),
        rows=tuple(rows),
        note=f"{steepness.CAPTION} Median: of the draws' errors minus the reference, points. Which reference each arm has "
        "stands under the figure of the distributions.",
    )


def peak_table(summary: StudySummary) -> Table:
    """Arms by mean error over the seeds of their setting in phase ``peak``."""
    names = setting_columns(summary.peak, summary.hyperparameters)
    rows = [
        (
            row["arm"],
            rank(row),
            *(_count(row[name]) for name in ("epochs", "n", "completed", "diverged", "missing")),
            percent(row["mean_error"]),
            interval(row["ci_low"], row["ci_high"]),
            *(percent(row[name]) for name in ("lowest_error", "highest_error")),
            *_costs(row),
            *(setting(row[name]) for name in names),
        )
        for row in summary.peak.to_pylist()
    ]
    counted = ("arm", "rank", "epochs", "seeds", "completed", "diverged", "missing", "mean", "95 % interval")
    header = (*counted, "lowest", "highest", *_COST_HEADER, *_names(summary.hyperparameters))
    return _without_empty(Table(header=header, rows=tuple(rows), note=f"{peak.CAPTION} {costs.CAPTION}"))


def centre_table(summary: StudySummary) -> Table:
    """The best setting of each arm that the search found."""
    names = setting_columns(summary.centres, summary.hyperparameters)
    rows = [
        (
            row["arm"],
            percent(row["best_error"]),
            *(setting(row[name]) for name in names),
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
            percent(row["mean_error"]),
            interval(row["ci_low"], row["ci_high"]),
            *(percent(row[name]) for name in ("lowest_error", "highest_error", "gap")),
            interval(row["gap_low"], row["gap_high"]),
        )
        for row in summary.lengths.to_pylist()
    ]
    counted = ("arm", "phase", "epochs", "n", "completed", "diverged", "missing", "mean", "95 % interval")
    header = (*counted, "lowest", "highest", "gap", "its 95 % interval")
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
    return Table(
        header=(*header, "median gap", "n pairs"), rows=tuple(rows), text_columns=3, note=optimizer_gap.CAPTION
    )


def length_gap_table(summary: StudySummary) -> Table:
    """The optimizer gap of each model at each training length, from given settings."""
    rows = [
        (
            row["model"],
            row["optimizer_a"],
            row["optimizer_b"],
            str(row["epochs"]),
            *(f"{percent(row[f'mean_{side}'])}{'*' if row[f'carried_{side}'] else ''}" for side in "ab"),
            percent(row["gap"]),
            interval(row["gap_low"], row["gap_high"]),
            *(str(row[f"n_{side}"]) for side in "ab"),
            str(row["diverged_a"] + row["diverged_b"]),
            str(row["missing_a"] + row["missing_b"]),
        )
        for row in summary.optimizer_gap_by_length.to_pylist()
    ]
    header = ("model", "optimizer a", "optimizer b", "epochs", "mean a", "mean b", "gap", "its 95 % interval")
    return Table(
        header=(*header, "seeds a", "seeds b", "diverged", "missing"),
        rows=tuple(rows),
        text_columns=3,
        note=f"{optimizer_gap.LENGTH_CAPTION} *: such a mean of a shorter training.",
    )


def leaderboard_table(summary: StudySummary) -> Table:
    """Arms by best error, with the hyperparameters of the best draw."""
    names = setting_columns(summary.leaderboard, summary.hyperparameters)
    rows = [
        (
            row["arm"],
            rank(row),
            percent(row["best_error"]),
            str(row["draws"]),
            _count(row["best_draw"]),
            *(setting(row[name]) for name in names),
            *_costs(row),
        )
        for row in summary.leaderboard.to_pylist()
    ]
    header = ("arm", "rank", "best error", "n", "best draw", *_names(summary.hyperparameters), *_COST_HEADER)
    return _without_empty(Table(header=header, rows=tuple(rows)))


def region_table(summary: StudySummary) -> Table:
    """Where the best settings of each arm lie."""
    rows = [
        (
            row["arm"],
            row["hyperparameter"].replace("_", " "),
            *(setting(row[name]) for name in ("best", "low", "high")),
            f"touches the {row['edge']} end" if row["edge"] else "inside",
        )
        for row in summary.space.regions.to_pylist()
    ]
    return Table(
        header=("arm", "hyperparameter", "best draw", "from", "to", "edge"),
        rows=tuple(rows),
        text_columns=2,
        note=regions.CAPTION,
    )


def rank(row: Mapping[str, Any]) -> str:
    """``1 (1–3)``: a rank with its interval; ``–`` where there is none."""
    if row["rank"] is None:
        return "–"
    if row["rank_low"] is None:
        return str(row["rank"])
    return f"{row['rank']} ({row['rank_low']}–{row['rank_high']})"


def _costs(row: Mapping[str, Any]) -> tuple[str, ...]:
    rate, gpu, compute = (row[name] for name in _COST_COLUMNS[3:])
    numbers = ("–" if rate is None else f"{rate:,.0f}", _time(gpu), _time(compute))
    return (*(counted(row[name]) for name in _COST_COLUMNS[:3]), *numbers)


def _time(value: float | None) -> str:
    return "–" if value is None else duration(3600 * value)


def _without_empty(table: Table) -> Table:
    """Without the columns of costs that no row has."""
    kept = [
        place
        for place, name in enumerate(table.header)
        if name not in _COST_HEADER or any(row[place] != "–" for row in table.rows)
    ]
    return Table(
        header=tuple(table.header[place] for place in kept),
        rows=tuple(tuple(row[place] for place in kept) for row in table.rows),
        text_columns=table.text_columns,
        note=table.note,
    )


def _count(value: int | None) -> str:
    return "–" if value is None else str(value)


def _between(low: float, high: float) -> str:
    if f"{low:.2f}" == f"{high:.2f}":
        # Not "0–<1 %": the two are told apart by no digit that is shown.
        return share((low + high) / 2)
    return f"{100 * low:.0f}–{share(high)}"


def _bare(ends: tuple[float, float]) -> str:
    return f"{100 * ends[0]:.0f}, {100 * ends[1]:.0f}"


def _area(bounds: tuple[float, float]) -> str:
    return f"{bounds[0]:.2f}" if bounds[0] == bounds[1] else f"{bounds[0]:.2f}–{bounds[1]:.2f}"


def trouble_table(trials: pa.Table) -> Table:
    """Why trials of any phase failed or were lost, one row a reason."""
    found = troubles_of(trials)
    rows = [
        (one.status, elided(one.reason, MAX_REASON), _some(one.arms), one.keys[0], str(len(one.keys)))
        for one in found[:MAX_TROUBLES]
    ]
    notes = [
        "Failed: the code of the model raised. Lost: the process died or the data could not be read; `run --retry-lost` trains it again."
    ]
    left = sum(len(one.keys) for one in found[MAX_TROUBLES:])
    notes += [f"{left} trials with other reasons are in the trials table."] if left else []
    header = ("status", "reason", "arms", "first trial", "trials")
    return Table(header=header, rows=tuple(rows), text_columns=4, note=" ".join(notes))


def _some(names: Sequence[str], most: int = 4) -> str:
    more = [f"{len(names) - most} more"] if len(names) > most else []
    return ", ".join([*names[:most], *more])


def _names(hyperparameters: Sequence[str]) -> list[str]:
    return [name.replace("_", " ") for name in hyperparameters]


def timing_rows(timing: Mapping[str, float]) -> list[tuple[str, str, float]]:
    """Activity, time as text, and share of the longest (for a bar), longest first."""
    longest = max(timing.values(), default=0.0)
    ordered = sorted(timing.items(), key=lambda item: -item[1])
    return [(name, duration(value), value / longest if longest > 0 else 0.0) for name, value in ordered]


def origin_rows(record: StudyRecord) -> list[tuple[str, str]]:
    """How the numbers were made: when, by what, on what, with which seeds. What is not known is left out."""
    if record.tracking_uri:
        facts = [("MLflow", without_password(record.tracking_uri))]
        facts += [("Experiment, study run", f"{record.experiment_id}, {record.study_run_id}")]
    else:
        facts = []
    facts += [("Imported from", record.source)] if record.source else []
    facts += [("Hardware", record.hardware)] if record.hardware else []
    facts += [(f"{package} version", version) for package, version in record.versions.items()]
    if record.trials.num_rows:
        facts += _trial_facts(record.trials)
    if record.skipped_samples:
        text = f"{record.skipped_samples} unreadable, listed in {SKIPPED_ARTIFACT} of the study's run"
        facts.append(("Samples left out", text))
    return facts


def _trial_facts(rows: pa.Table) -> list[tuple[str, str]]:
    facts = []
    started = pc.min_max(rows["started"]).as_py()
    if started["min"] is not None:
        times = f"{started['min']:%Y-%m-%d %H:%M} and {started['max']:%Y-%m-%d %H:%M} UTC"
        facts.append(("First and last trial started", times))
    seeds = pc.min_max(rows["seed"]).as_py()
    if seeds["min"] is not None:
        number = pc.count_distinct(rows["seed"]).as_py()
        text = f"{number} different, {seeds['min']} to {seeds['max']}; each is in the trials table"
        facts.append(("Seeds of the trials", text))
    for name, column in (("Samplers", "sampler"), ("Epochs", "epochs")):
        values = sorted({value for value in rows[column].to_pylist() if value is not None})
        facts += [(name, ", ".join(map(str, values)))] if values else []
    return facts
