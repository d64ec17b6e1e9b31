"""Which figures a study has, in the paper's order, each with its words."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from dashboards import figures
from dashboards.figures.colours import ArmStyle, arm_styles
from dashboards.figures.points import scatter_points
from dashboards.report import captions
from dashboards.report.captions import FigureText
from dashboards.selection import LENGTH, every_arm
from dashboards.statistics.convergence import convergence
from dashboards.statistics.published import published_peak
from dashboards.summary import ArmSummary, StudySummary
from dashboards.tracking.study import StudyRecord

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ShownFigure:
    """A figure of the report."""

    name: str
    """Lower-case letters, digits and dashes: an element's id and a file's name."""
    figure: "Figure"
    text: FigureText


def shown_figures(record: StudyRecord, summary: StudySummary, published: bool = False) -> list[ShownFigure]:
    """The figures that the study has data for: length, optimizers, distributions, peak, budget, space, convergence.

    Args:
        record: The study.
        summary: Its summary.
        published: Whether the peak figure shows the published results as well.
    """
    styles = arm_styles(every_arm(record.trials))
    shown = [*_over_lengths(record, summary, styles), *_distributions(record, summary, styles)]
    if summary.peak.num_rows:
        points = _published(published)
        figure = figures.peak_figure(summary.peak, points, styles)
        shown.append(ShownFigure(name="peak", figure=figure, text=captions.peak_text(summary, published=published)))
    if summary.arms:
        shown += [*_budget(summary, styles), *_space(summary, styles)]
        epochs = convergence(record.trials, record.curves, summary.phase)
        if epochs.num_rows:
            figure = figures.convergence_figure(epochs, styles)
            shown.append(ShownFigure(name="convergence", figure=figure, text=captions.convergence_text(summary)))
    return shown


def _over_lengths(record: StudyRecord, summary: StudySummary, styles: dict[str, ArmStyle]) -> list[ShownFigure]:
    shown = []
    rows = summary.lengths.filter(pc.equal(summary.lengths["phase"], LENGTH))
    if pc.count_distinct(rows["epochs"]).as_py() > 1 and rows["gap"].null_count < rows.num_rows:
        figure = figures.length_figure(rows, styles)
        shown.append(ShownFigure(name="length", figure=figure, text=captions.length_text(summary)))
    gaps = summary.optimizer_gap_by_length
    if pc.count_distinct(gaps["epochs"]).as_py() > 1:
        figure = figures.optimizer_figure(gaps, styles, every_arm(record.trials))
        shown.append(ShownFigure(name="optimizers", figure=figure, text=captions.optimizer_text(summary)))
    return shown


def _distributions(record: StudyRecord, summary: StudySummary, styles: dict[str, ArmStyle]) -> list[ShownFigure]:
    groups = _groups(summary.arms)
    shown = []
    if len(groups) > 1:
        deltas = [arm.delta for arm in summary.arms]
        figure = figures.edf_figure([arm.edf for arm in summary.arms], styles, deltas)
        text = captions.distribution_text("edf", summary.arms, summary, "")
        shown.append(ShownFigure(name="edf", figure=figure, text=text))
    points = scatter_points(record.trials, summary.phase)
    names: set[str] = set()
    for optimizer, arms in groups:
        figure = figures.stability_figure(
            points.of([arm.arm for arm in arms]), [arm.edf for arm in arms], [arm.delta for arm in arms], styles
        )
        name = _free(f"stability-{slug(optimizer)}" if optimizer else "stability", names)
        text = captions.distribution_text("stability", arms, summary, optimizer)
        shown.append(ShownFigure(name=name, figure=figure, text=text))
    return shown


def _groups(arms: Sequence[ArmSummary]) -> list[tuple[str, Sequence[ArmSummary]]]:
    """The arms that share a figure: those of one optimizer, as in the paper, where that leaves models to compare."""
    if not arms:
        return []
    optimizers = sorted({arm.optimizer for arm in arms})
    groups: list[tuple[str, Sequence[ArmSummary]]] = [
        (optimizer, [arm for arm in arms if arm.optimizer == optimizer]) for optimizer in optimizers
    ]
    if len(groups) == 1 or all(len(group) == 1 for _, group in groups):
        return [("", arms)]
    return groups


def _budget(summary: StudySummary, styles: dict[str, ArmStyle]) -> list[ShownFigure]:
    if not summary.best_of_n.num_rows or summary.best_of_n["median"].null_count == summary.best_of_n.num_rows:
        return []
    figure = figures.best_of_n_figure(summary.best_of_n, styles)
    return [ShownFigure(name="best-of-n", figure=figure, text=captions.best_of_n_text(summary))]


def _space(summary: StudySummary, styles: dict[str, ArmStyle]) -> list[ShownFigure]:
    space, shown = summary.space, []
    arms = captions.arms_that_diverged(summary)
    if arms:
        rows = space.diverged_shares
        rows = rows.filter(pc.is_in(rows["arm"], value_set=pa.array(arms)))
        figure = figures.divergence_figure(rows, styles, space.diverged_over)
        shown.append(ShownFigure(name="divergence", figure=figure, text=captions.divergence_text(summary)))
    if any(one.n.any() for one in space.maps.values()):
        shown.append(ShownFigure(name="map", figure=figures.map_figure(space.maps), text=captions.map_text(summary)))
    importances = {arm: found.values for arm, found in space.importances.items() if found.values}
    if importances:
        figure = figures.importance_figure(importances, styles)
        shown.append(ShownFigure(name="importance", figure=figure, text=captions.importance_text(summary)))
    return shown


def _published(wanted: bool) -> pa.Table | None:
    """The published results without further data, after the longest training."""
    if not wanted:
        return None
    table = published_peak()
    table = table.filter(pc.invert(table["pretrained"]))
    return table.filter(pc.equal(table["epochs"], pc.max(table["epochs"])))


def slug(text: str) -> str:
    """``text`` as a part of an id: lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "other"


def _free(name: str, taken: set[str]) -> str:
    number = 2
    free = name
    while free in taken:
        free, number = f"{name}-{number}", number + 1
    taken.add(free)
    return free
