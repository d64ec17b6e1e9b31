"""How far apart two optimizers end on the same model."""

from dash import html

from dashboards.app.address import Address
from dashboards.app.parts import (
    Parts,
    counts_caption,
    message,
    phase_switches,
    report_figures,
    sentences,
    table,
    waiting,
)
from dashboards.app.study import StudyData
from dashboards.report.tables import gap_table, length_gap_table


def render(study: StudyData, address: Address, narrow: bool) -> Parts:
    """The optimizer gap of each model: over random draws, and by training length of given settings."""
    phase = study.phase(address)
    summary = study.summary_so_far(phase)
    if summary is None:
        return [waiting(study, phase)]
    parts: Parts = [html.Div(phase_switches(study, address), className="controls")]
    if summary.optimizer_verdicts:
        parts.append(html.Section([sentences(study, summary.optimizer_verdicts)], className="plain"))
    if summary.optimizer_gap.num_rows:
        caption = html.P(counts_caption(study, phase, study.arms(phase)), className="note")
        gaps = table(gap_table(summary), name="gaps-table")
        parts.append(html.Section([html.H2("Optimizer gap of each model"), gaps, caption]))
    parts += report_figures(study, phase, ["optimizers"], narrow)
    if summary.optimizer_gap_by_length.num_rows:
        content = table(length_gap_table(summary))
        parts.append(html.Section([html.H2("Optimizer gap by training length"), content]))
    if summary.optimizer_gap.num_rows or summary.optimizer_gap_by_length.num_rows:
        return parts
    words = "The gap between optimizers needs a model that was trained with two of them."
    return [message("No model with two optimizers", html.P(words))]
