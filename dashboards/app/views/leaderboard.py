"""Which arm is best: over seeds, over random draws, and what a search found."""

from dash import html

from dashboards.app.address import Address
from dashboards.app.parts import (
    Parts,
    counts_caption,
    message,
    phase_switches,
    report_figures,
    table,
    waiting,
)
from dashboards.app.study import StudyData
from dashboards.report.tables import centre_table, leaderboard_table, peak_table, share_table, steepness_table
from dashboards.statistics import leaderboard


def render(study: StudyData, address: Address, narrow: bool) -> Parts:
    """Every leaderboard that the study has, the most trustworthy first."""
    phase = study.phase(address)
    summary, styles = study.summary_so_far(phase), study.styles
    if summary is None:
        return [waiting(study, phase)]
    parts: Parts = []
    if summary.peak.num_rows:
        parts.append(html.Section([html.H2("Peak: mean error over several seeds"), table(peak_table(summary), styles)]))
        parts += report_figures(study, phase, ["peak"], narrow)
    if summary.arms:
        content = [
            html.H2("Best of n random draws"),
            html.Div(phase_switches(study, address), className="controls"),
            table(leaderboard_table(summary), styles, name="leaderboard"),
            html.P(leaderboard.CAPTION, className="note"),
            html.P(counts_caption(study, phase, study.arms(phase)), className="note"),
        ]
        parts += [html.Section(content), *report_figures(study, phase, ["best-of-n"], narrow)]
        parts += [
            html.Section([html.H2("Share of draws close to the best"), table(share_table(summary), styles)]),
            html.Section([html.H2("Errors above the reference"), table(steepness_table(summary), styles)]),
        ]
    if summary.centres.num_rows:
        heading = html.H2("Search: the best setting found per arm (adaptive, in no distribution)")
        parts.append(html.Section([heading, table(centre_table(summary), styles)]))
    return parts or [message("No result yet", html.P("No trial of the study can enter a leaderboard yet."))]
