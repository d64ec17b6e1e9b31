"""Errors over hyperparameters, one dot a trial."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from dashboards.figures.colours import ArmStyle, arm_styles
from dashboards.figures.layout import INK, axis, base_layout, logarithmic, short_names
from dashboards.figures.points import Panel, ScatterPoints, scatter_points
from dashboards.formats import plot_text
from dashboards.selection import STABILITY, arms_of

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

CROWD = 1_500
"""Trials in a panel above which the dots are smaller and paler, so that what lies under others can be seen."""


def scatter_figure(trials: pa.Table, styles: Mapping[str, ArmStyle] | None = None, phase: str = STABILITY) -> "Figure":
    """Error over lr, weight decay and their product, one dot a trial; diverged trials as crosses along the top.

    Args:
        trials: The trials table; the non-adaptive trials of ``phase`` are drawn.
        styles: By arm; made from the arms of ``trials`` if not given.
        phase: The phase.
    """
    from plotly.subplots import make_subplots

    styles = styles or arm_styles(arms_of(trials, phase))
    points = scatter_points(trials, phase)
    figure = make_subplots(rows=1, cols=max(len(points.panels), 1), shared_yaxes=True, horizontal_spacing=0.025)
    figure.update_layout(**base_layout(410, list(short_names(sorted(set(points.arms))).values())))
    for column, _ in enumerate(points.panels, start=1):
        add_scatter(figure, (1, column), points, styles, legend=column == 1)
    figure.update_yaxes(**axis(None))
    figure.update_yaxes(title_text="final top-1 error, %", col=1)
    return figure


def add_scatter(
    figure: "Figure",
    place: tuple[int, int],
    points: ScatterPoints,
    styles: Mapping[str, ArmStyle],
    *,
    legend: bool,
    panel: int | None = None,
) -> None:
    """Draws one panel of ``points`` at ``place`` (row, column): that of the column, where ``panel`` is not given.

    The lowest error of each arm has a dotted line down to the axis, as in the paper.
    """
    shown = points.panels[place[1] - 1 if panel is None else panel]
    arms = sorted(set(points.arms))
    names, owners = short_names(arms), np.asarray(points.arms, dtype=object)
    for arm in arms:
        here = (owners == arm) & np.isfinite(shown.values)
        traces = _traces(points, shown, here, arm, styles[arm])
        # The legend's entry is an empty trace of its own: an arm whose trials all diverged must have one as well.
        traces += [_legend_entry(arm, names[arm], styles[arm])] if legend else []
        for trace in traces:
            figure.add_trace(trace, row=place[0], col=place[1])
    look = logarithmic(shown.values) if shown.logarithmic else {}
    figure.update_xaxes(**axis(plot_text(shown.title)) | look, row=place[0], col=place[1])
    if np.isinf(points.errors).any():
        _mark_ceiling(figure, points.ceiling, place, first=place[1] == 1)


def _traces(points: ScatterPoints, panel: Panel, here: Any, arm: str, style: ArmStyle) -> list[Any]:
    from plotly.graph_objects import Scatter

    diverged, crowded = np.isinf(points.errors), len(points.errors) > CROWD
    look = {"color": style.colour, "size": 5 if crowded else 8, "opacity": 0.6 if crowded else 0.85}
    group = {"legendgroup": plot_text(arm), "showlegend": False, "name": plot_text(arm)}
    traces = [
        Scatter(
            x=panel.values[mask],
            y=np.where(diverged, points.ceiling, points.errors)[mask],
            customdata=points.draws[mask],
            mode="markers",
            marker={**look, "symbol": symbol},
            meta=[plot_text(arm), plot_text(panel.title)],
            hovertemplate=f"<b>%{{meta[0]}}</b><br>draw %{{customdata}}: {outcome}<br>"
            "%{meta[1]} %{x:.3g}<extra></extra>",
            **group,
        )
        for mask, symbol, outcome in (
            (here & ~diverged, style.symbol, "%{y:.1f} %"),
            (here & diverged, "x", "diverged"),
        )
    ]
    if (here & ~diverged).any():
        best = int(np.flatnonzero(here & ~diverged)[points.errors[here & ~diverged].argmin()])
        traces.append(
            Scatter(
                x=[panel.values[best]] * 2,
                y=[points.floor, points.errors[best]],
                mode="lines",
                line={"color": style.colour, "width": 1.5, "dash": "dot"},
                hoverinfo="skip",
                **group,
            )
        )
    return traces


def _legend_entry(arm: str, name: str, style: ArmStyle) -> Any:
    from plotly.graph_objects import Scatter

    look = {"color": style.colour, "symbol": style.symbol, "size": 8}
    return Scatter(x=[None], y=[None], mode="markers", name=name, legendgroup=plot_text(arm), marker=look)


def _mark_ceiling(figure: "Figure", ceiling: float, place: tuple[int, int], *, first: bool) -> None:
    row, column = place
    line = {"color": INK, "width": 1, "dash": "dot"}
    figure.add_hline(y=ceiling, line=line, opacity=0.6, layer="below", row=row, col=column)
    if first:
        subplot = figure.get_subplot(row, column)
        xref, yref = (part.plotly_name.replace("axis", "") for part in (subplot.xaxis, subplot.yaxis))
        figure.add_annotation(
            text="× diverged",
            x=0,
            xref=f"{xref} domain",
            xanchor="left",
            y=ceiling,
            yref=yref,
            yanchor="bottom",
            showarrow=False,
            font_size=12,
        )
