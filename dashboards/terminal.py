"""The summary of a study as plain text, for a terminal or a log file."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dashboards.columns import setting_columns
from dashboards.formats import bounded, counts, duration, elided, interval, percent, selection_in_words, setting, share
from dashboards.statistics.delta import references_in_words
from dashboards.statistics.edf import Edf
from dashboards.statistics.leaderboard import MARGINS

if TYPE_CHECKING:
    from dashboards.summary import StudySummary

WIDTH = 100
"""Longest line, characters."""
LONGEST_NAME = 40
"""Longer names of arms lose their middle, characters."""
_BLOCKS = " ▁▂▃▄▅▆▇█"


def render_summary(summary: "StudySummary") -> str:
    """The summary as text of at most :data:`WIDTH` columns, without colours or control characters."""
    blocks = [f"Study {summary.study}" + selection_in_words(summary.conditions, ", ")]
    if summary.arms:
        blocks += [_arm_table(summary), _edf_lines([arm.edf for arm in summary.arms]), _delta_lines(summary)]
        blocks += [_verdict_lines(summary)] if summary.model_verdicts or summary.optimizer_verdicts else []
        blocks += [_gap_lines(summary)] if summary.optimizer_gap.num_rows else []
        blocks += [_leaderboard_lines(summary)]
        blocks += [_warning_lines(summary)] if summary.space.warnings else []
        blocks += [_wrap(summary.others_in_words, "")] if summary.n_other else []
    if summary.peak.num_rows:
        blocks.append(_peak_lines(summary))
    if summary.lengths.num_rows:
        blocks.append(_length_lines(summary))
    if summary.centres.num_rows:
        blocks.append(_centre_lines(summary))
    if not summary.has_results:
        blocks.append(f"No trial of a non-adaptive sampler in phase {summary.phase}: no error distribution to show.")
    if summary.timing:
        blocks.append(_timing_lines(summary))
    return "\n\n".join(blocks) + "\n"


def _length_lines(summary: "StudySummary") -> str:
    header = ["given settings", "phase", "epochs", "seeds", "diverged", "mean error", "gap to longest"]
    rows = [
        [
            row["arm"],
            row["phase"],
            *(str(row[name]) for name in ("epochs", "n", "diverged")),
            *(percent(row[name]) for name in ("mean_error", "gap")),
        ]
        for row in summary.lengths.to_pylist()
    ]
    return _fitted_table(header, rows, left=2)


def _peak_lines(summary: "StudySummary") -> str:
    header = ["peak: mean error over seeds", "rank", "epochs", "seeds", "diverged", "missing", "mean", "95 % interval"]
    names = setting_columns(summary.peak, summary.hyperparameters)
    lines, settings = [], []
    for row in summary.peak.to_pylist():
        counted = (str(row[name]) for name in ("epochs", "n", "diverged", "missing"))
        ends = interval(row["ci_low"], row["ci_high"])
        lines.append([row["arm"], str(row["rank"] or "–"), *counted, percent(row["mean_error"]), ends])
        chosen = _settings(row, names, summary.hyperparameters)
        settings.append(_wrap(f"{elided(row['arm'], LONGEST_NAME)}, {row['epochs']} epochs: {chosen}", "- "))
    return "\n".join([_fitted_table(header, lines), "with", *settings] if names else [_fitted_table(header, lines)])


def _centre_lines(summary: "StudySummary") -> str:
    names = setting_columns(summary.centres, summary.hyperparameters)
    sentences = [_centre_sentence(row, names, summary.hyperparameters) for row in summary.centres.to_pylist()]
    heading = "Search: the best setting found per arm (adaptive, not part of any EDF)"
    return heading + "\n" + "\n".join(_wrap(sentence, "- ") for sentence in sentences)


def _centre_sentence(row: Mapping[str, Any], columns: Sequence[str], names: Sequence[str]) -> str:
    ends = {"completed": row["completed"], "diverged": row["diverged"], "pruned": row["pruned"]}
    ends |= {"failed or lost": row["failed_or_lost"], "not finished": row["pending"]}
    trials = f"{row['n']} trials: {counts(ends)}"
    if row["best_error"] is None:
        return f"{row['arm']}: no completed trial ({trials})."
    found = f"{row['arm']}: {percent(row['best_error'])} % with {_settings(row, columns, names)}"
    return f"{found} (draw {row['best_draw']} of {trials})."


def text_edf(edf: Edf, left: float, right: float, cells: int) -> str:
    """F at ``cells`` errors evenly spaced over (left, right], as block characters of height F."""
    levels = [edf(error) for error in np.linspace(left, right, cells + 1)[1:]]
    # Only F = 0 is drawn empty and only F = 1 full, so that the ends of a curve can be told.
    heights = [0 if level == 0 else 8 if level == 1 else min(max(round(level * 8), 1), 7) for level in levels]
    return "".join(_BLOCKS[height] for height in heights)


def text_table(header: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """Columns padded to their widest cell, the first ``left`` ones to the left and the others to the right."""
    cells = [list(header), *(list(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    return "\n".join(lines)


def _fitted_table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """:func:`text_table` with the names in the first column shortened so that no line is longer than :data:`WIDTH`."""
    others = zip(header[1:], *(row[1:] for row in rows), strict=True)
    room = WIDTH - sum(2 + max(map(len, column)) for column in others)
    return text_table(header, [[elided(row[0], room), *row[1:]] for row in rows], left)


def _arm_table(summary: "StudySummary") -> str:
    rows = [
        [
            arm.arm,
            str(arm.edf.n),
            str(arm.edf.n_completed),
            str(arm.edf.n_diverged),
            str(arm.edf.n_missing),
            percent(arm.best),
            bounded(*arm.q25),
            bounded(*arm.median),
            bounded(*arm.q75),
        ]
        for arm in summary.arms
    ]
    header = ["error in percent", "n", "completed", "diverged", "missing", "best", "25 %", "median", "75 %"]
    return _fitted_table(header, rows)


def _edf_lines(edfs: Sequence[Edf]) -> str:
    errors = np.concatenate([edf.errors for edf in edfs])
    if len(errors) == 0:
        return "No completed trial yet: no EDF to show."
    left, right = float(np.floor(errors.min())), float(np.ceil(errors.max()))
    names = [elided(edf.arm or "", LONGEST_NAME) for edf in edfs]
    indent = max(map(len, names))
    cells = WIDTH - indent - 12
    scale = f"{left:.0f} %".ljust(cells - 6) + f"{right:.0f} %".rjust(6)
    lines = ["EDF: share of all draws with at most this error (diverged draws keep a curve below 100 %)"]
    lines += [
        f"{name.ljust(indent)}  {text_edf(edf, left, right, cells)}  {share(edf(right)):>6}"
        for name, edf in zip(names, edfs, strict=True)
    ]
    half_width = max(edf.half_width for edf in edfs)
    return "\n".join(
        [
            *lines,
            f"{' ' * indent}  {scale}",
            f"95 % simultaneous band (DKW): ± {100 * half_width:.0f} percentage points",
        ]
    )


def _delta_lines(summary: "StudySummary") -> str:
    within = [f"within {margin}" for margin in MARGINS]
    header = ["points above the reference", "reference", "median", *within[:-1], f"{within[-1]} points", "area to 10"]
    rows = [
        [
            arm.arm,
            percent(arm.delta.reference.value),
            bounded(*arm.delta.quantile_bounds(0.5)),
            *(share(arm.delta.share_within(margin)) for margin in MARGINS),
            "–" if arm.delta.reference.value is None else f"{arm.steepness.area[0]:.2f}",
        ]
        for arm in summary.arms
    ]
    words = references_in_words([arm.delta for arm in summary.arms])
    return f"{_fitted_table(header, rows)}\n{_wrap(f'reference: {words}', '')}"


def _verdict_lines(summary: "StudySummary") -> str:
    sentences = [comparison.sentence for comparison in (*summary.model_verdicts, *summary.optimizer_verdicts)]
    lines = ["Verdicts", *(_wrap(f"{sentence}.", "- ") for sentence in sentences)]
    if summary.n_pairs:
        pairs = "the one pair" if summary.n_pairs == 1 else f"all {summary.n_pairs} pairs"
        lines.append(_wrap(f"beats: told apart at 5 %, after Holm's correction over {pairs}", ""))
    return "\n".join(lines)


def _warning_lines(summary: "StudySummary") -> str:
    lines = [_wrap(f"{sentence}.", "- ") for sentence in summary.space.warnings]
    return "\n".join(["Look again at the search space", *lines])


def _gap_lines(summary: "StudySummary") -> str:
    rows = [
        [
            f"{row['model']}: {row['optimizer_a']} ahead of {row['optimizer_b']} by",
            percent(row["best_gap"]),
            percent(row["median_gap"]),
            str(row["n"]),
        ]
        for row in summary.optimizer_gap.to_pylist()
    ]
    return _fitted_table(["optimizer gap in points (negative: behind)", "best of n", "median of pairs", "n"], rows)


def _leaderboard_lines(summary: "StudySummary") -> str:
    rows = []
    names = setting_columns(summary.leaderboard, summary.hyperparameters)
    for row in summary.leaderboard.to_pylist():
        settings = elided(_settings(row, names, summary.hyperparameters), 40)
        rank = "–" if row["rank"] is None else str(row["rank"])
        rows.append([rank.rjust(4), elided(row["arm"], LONGEST_NAME), percent(row["best_error"]).rjust(5), settings])
    table = text_table(["rank", "arm", "best", "with"], rows, left=4)
    return f"{table}\nbest of n random draws: optimistic, not a seed-averaged peak"


def _timing_lines(summary: "StudySummary") -> str:
    longest_first = sorted(summary.timing.items(), key=lambda item: -item[1])
    return text_table(
        ["where the time went", ""], [[elided(name, LONGEST_NAME), duration(value)] for name, value in longest_first]
    )


def _settings(row: Mapping[str, Any], columns: Sequence[str], names: Sequence[str]) -> str:
    """``lr 0.5, weight_decay 0.1``: the values in ``columns`` of a row, under the hyperparameters' own names."""
    pairs = zip(columns, names, strict=True)
    return ", ".join(f"{name} {setting(row[column])}" for column, name in pairs if row[column] is not None)


def _wrap(text: str, bullet: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent=bullet, subsequent_indent=" " * len(bullet))
