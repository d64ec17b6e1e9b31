"""How much longer training helps, and how fast errors fall within a training."""

from dash import html

from dashboards.app.address import Address
from dashboards.app.parts import Parts, message, phase_switches, report_figures, table, waiting
from dashboards.app.study import StudyData
from dashboards.report.tables import length_table


def render(study: StudyData, address: Address, narrow: bool) -> Parts:
    """Errors by training length of given settings, and the errors of random draws over their epochs."""
    phase = study.phase(address)
    summary = study.summary_so_far(phase)
    if summary is None:
        return [waiting(study, phase)]
    parts: Parts = [html.Div(phase_switches(study, address), className="controls")]
    parts += report_figures(study, phase, ["length"], narrow)
    if summary.lengths.num_rows:
        content = table(length_table(summary), study.styles)
        parts.append(html.Section([html.H2("Errors of given settings by training length"), content]))
    parts += report_figures(study, phase, ["convergence"], narrow)
    if len(parts) > 1:
        return parts
    words = "The study has no trials with a given setting, and no trial has recorded an epoch yet."
    return [message("No lengths and no curves", html.P(words))]
