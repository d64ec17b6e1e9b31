"""Plotly figures. Drawing only: every number comes in computed."""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from dashboards.colours import ArmStyle, arm_styles
from dashboards.delta import DeltaEdf
from dashboards.edf import Edf, EdfOutline
from dashboards.formats import plot_text, share
from dashboards.points import Panel, ScatterPoints, scatter_points
from dashboards.selection import STABILITY, ArmName, arms_of

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

INK, GRID = "#5b6270", "rgba(128, 136, 150, 0.25)"
"""Text and grid lines that can be read on a white and on a dark page."""
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
BAND_OPACITY = 0.09
"""Of each arm's area where there are up to four; less where there are more, or they add up to grey."""
LEGEND_ROW, LEGEND_WIDTH = 25, 900
"""Height of a row of the legend, and the width it has on a desktop's screen, pixels."""


def edf_figure(
    edfs: Sequence[Edf], styles: Mapping[str, ArmStyle] | None = None, deltas: Sequence[DeltaEdf] = ()
) -> "Figure":
    """The EDFs as exact step functions, each with its simultaneous band; the delta EDFs, where given, to their right.

    Args:
        edfs: One per arm; a label is needed to tell them apart.
        styles: By arm; made from the labels of ``edfs`` if not given.
        deltas: Delta EDFs of arms in ``edfs``, which share their legend.
    """
    from plotly.subplots import make_subplots

    styles = styles or _styles_of_labels([edf.arm or "" for edf in edfs])
    figure = make_subplots(rows=1, cols=2 if deltas else 1, shared_yaxes=True, horizontal_spacing=0.04)
    figure.update_layout(**_layout(470, len(edfs), 372))
    left, right = _error_range(edfs)
    _add_edfs(figure, 1, edfs, styles, (max(left, 0.0), right))
    figure.update_xaxes(**_axis("final top-1 error, %"), col=1)
    if deltas:
        # The reference itself is always in the picture.
        _add_edfs(figure, 2, deltas, styles, _error_range(deltas, also=(0.0,)))
        figure.add_vline(x=0.0, line={"color": INK, "width": 1, "dash": "dot"}, opacity=0.6, layer="below", col=2)
        figure.update_xaxes(**_axis("error minus the arm's reference, points"), col=2)
    figure.update_yaxes(**_axis(None), range=[0, 1.02], tickformat=".0%")
    # On a narrow screen the panels stand one below the other, too low for the long title.
    title = "share of all draws" if deltas else "share of all draws with at most this error"
    figure.update_yaxes(title_text=title, col=1)
    return figure


def _error_range(edfs: Sequence[Edf], also: Sequence[float] = ()) -> tuple[float, float]:
    """From a little below the lowest to a little above the highest error; 0 to 100 where there is none."""
    values = np.concatenate([*(edf.x for edf in edfs), also])
    values = values if any(len(edf.x) for edf in edfs) else np.array([0.0, 100.0])
    margin = 0.03 * max(values.max() - values.min(), 1.0)
    return float(values.min() - margin), float(values.max() + margin)


def _add_edfs(
    figure: "Figure", column: int, edfs: Sequence[Edf], styles: Mapping[str, ArmStyle], ends: tuple[float, float]
) -> None:
    # All bands first, so that none lies over the curve of another arm.
    opacity = _band_opacity(len(edfs))
    bands = [_edf_band(edf, styles[edf.arm or ""].shade(opacity), edf.outline(*ends)) for edf in edfs]
    curves = [_edf_curve(edf, styles[edf.arm or ""], edf.outline(*ends)) for edf in edfs]
    for trace in (trace for traces in (*bands, *curves) for trace in traces):
        figure.add_trace(trace, row=1, col=column)
    figure.update_xaxes(range=ends, col=column)


def _edf_band(edf: Edf, fill: str, outline: EdfOutline) -> list[Any]:
    from plotly.graph_objects import Scatter

    common = {
        "x": outline.x,
        "mode": "lines",
        "line_shape": "hv",
        "line_width": 0,
        "legendgroup": plot_text(edf.arm or ""),
    }
    hidden = {"showlegend": False, "hoverinfo": "skip"}
    return [
        Scatter(y=outline.band_lower, **common, **hidden),
        Scatter(y=outline.band_upper, fill="tonexty", fillcolor=fill, **common, **hidden),
    ]


def _edf_curve(edf: Edf, style: ArmStyle, outline: EdfOutline) -> list[Any]:
    from plotly.graph_objects import Scatter

    group = plot_text(edf.arm or "")
    delta = isinstance(edf, DeltaEdf)
    error = "%{x:.1f} points above the reference" if delta else "%{x:.1f} %"
    common = {"x": outline.x, "mode": "lines", "line_shape": "hv", "line_color": style.colour, "legendgroup": group}
    curve = Scatter(
        y=outline.lower,
        name=_edf_name(edf),
        line_dash=style.dash,
        line_width=2.5,
        meta=group,
        hovertemplate=f"<b>%{{meta}}</b><br>%{{y:.0%}} of draws have at most {error}<extra></extra>",
        showlegend=False if delta else None,
        **common,
    )
    best_case = Scatter(y=outline.upper, line_width=1, opacity=0.7, showlegend=False, hoverinfo="skip", **common)
    return [best_case, curve] if edf.n_missing else [curve]


def _edf_name(edf: Edf) -> str:
    details = [f"n {edf.n}", f"{share(edf.n_diverged / edf.n)} diverged"]
    if edf.n_missing:
        details.append(f"{edf.n_missing} missing")
    return f"{plot_text(edf.arm or '')} ({', '.join(details)})"


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
    figure.update_layout(**_layout(410, len(set(points.arms)), 150))
    for column, panel in enumerate(points.panels, start=1):
        for arm in sorted(set(points.arms)):
            for trace in _scatter_traces(points, panel, arm, styles[arm], first=column == 1):
                figure.add_trace(trace, row=1, col=column)
        axis = _axis(plot_text(panel.title)) | ({"type": "log", "dtick": 1} if panel.logarithmic else {})
        figure.update_xaxes(**axis, exponentformat="power", row=1, col=column)
    figure.update_yaxes(**_axis(None))
    figure.update_yaxes(title_text="final top-1 error, %", col=1)
    if np.isinf(points.errors).any():
        _mark_ceiling(figure, points.ceiling)
    return figure


def _scatter_traces(points: ScatterPoints, panel: Panel, arm: str, style: ArmStyle, *, first: bool) -> list[Any]:
    from plotly.graph_objects import Scatter

    here = np.array([name == arm for name in points.arms]) & np.isfinite(panel.values)
    diverged = np.isinf(points.errors)
    traces = []
    for mask, symbol, outcome in ((here & ~diverged, style.symbol, "%{y:.1f} %"), (here & diverged, "x", "diverged")):
        traces.append(
            Scatter(
                x=panel.values[mask],
                y=np.where(diverged, points.ceiling, points.errors)[mask],
                customdata=points.draws[mask],
                mode="markers",
                name=plot_text(arm),
                legendgroup=plot_text(arm),
                showlegend=False,
                marker={"color": style.colour, "symbol": symbol, "size": 8, "opacity": 0.85},
                meta=[plot_text(arm), plot_text(panel.title)],
                hovertemplate=f"<b>%{{meta[0]}}</b><br>draw %{{customdata}}: {outcome}<br>"
                "%{meta[1]} %{x:.3g}<extra></extra>",
            )
        )
    # The legend's entry is an empty trace of its own: an arm whose trials all diverged must have one as well.
    if first:
        look = {"color": style.colour, "symbol": style.symbol, "size": 8}
        traces.append(
            Scatter(x=[None], y=[None], mode="markers", name=plot_text(arm), legendgroup=plot_text(arm), marker=look)
        )
    return traces


def _mark_ceiling(figure: "Figure", ceiling: float) -> None:
    figure.add_hline(y=ceiling, line={"color": INK, "width": 1, "dash": "dot"}, opacity=0.6, layer="below")
    figure.add_annotation(
        text="× diverged", x=0, xref="paper", xanchor="left", y=ceiling, yanchor="bottom", showarrow=False, font_size=12
    )


def convergence_figure(table: pa.Table, styles: Mapping[str, ArmStyle] | None = None) -> "Figure":
    """Median error over the epochs for each arm, the middle 80 % of its trials shaded.

    Args:
        table: From :func:`dashboards.convergence.convergence`.
        styles: By arm; made from the arms of ``table`` if not given.
    """
    from plotly.graph_objects import Figure, Scatter

    arms = sorted(set(table["arm"].to_pylist()))
    styles = styles or _styles_of_labels(arms)
    figure = Figure(layout=_layout(440, len(arms), 150))
    for arm in arms:
        rows = {
            name: np.array([row[name] for row in table.to_pylist() if row["arm"] == arm]) for name in table.column_names
        }
        style, common = styles[arm], {"x": rows["epoch"], "mode": "lines", "legendgroup": plot_text(arm)}
        hidden = {"showlegend": False, "hoverinfo": "skip", "line_width": 0, **common}
        figure.add_trace(Scatter(y=rows["error_p10"], **hidden))
        figure.add_trace(
            Scatter(y=rows["error_p90"], fill="tonexty", fillcolor=style.shade(_band_opacity(len(arms))), **hidden)
        )
        figure.add_trace(
            Scatter(
                y=rows["error_median"],
                name=plot_text(arm),
                customdata=rows["n"],
                line={"color": style.colour, "dash": style.dash, "width": 2.5},
                hovertemplate="<b>%{fullData.name}</b><br>epoch %{x}: median %{y:.1f} % of %{customdata} trials<extra></extra>",
                **common,
            )
        )
    figure.update_xaxes(**_axis("epoch"), rangemode="normal")
    figure.update_yaxes(**_axis("validation top-1 error, %"))
    return figure


def _styles_of_labels(labels: Sequence[str]) -> dict[str, ArmStyle]:
    """Styles where only labels are known: by convention ``model/optimizer``."""
    return arm_styles([ArmName(arm=label, model=label, optimizer=label.rpartition("/")[2]) for label in labels])


def _band_opacity(arms: int) -> float:
    return BAND_OPACITY * min(1.0, 4 / max(arms, 1))


def _layout(plot_height: int, entries: int, entry_width: int) -> dict[str, Any]:
    """The common layout; the figure grows with its legend (``entries`` of ``entry_width`` pixels), not the plot."""
    return {
        "template": "none",
        "height": plot_height + LEGEND_ROW * ceil(entries * entry_width / LEGEND_WIDTH),
        "margin": {"l": 64, "r": 12, "t": 16, "b": 56},
        "paper_bgcolor": "rgba(0, 0, 0, 0)",
        "plot_bgcolor": "rgba(0, 0, 0, 0)",
        "font": {"family": FONT, "size": 13, "color": INK},
        "hovermode": "closest",
        "hoverlabel": {"bgcolor": "#20242c", "bordercolor": "#20242c", "font": {"color": "#ffffff", "family": FONT}},
        "legend": {
            "orientation": "h",
            "yref": "container",
            "y": 0,
            "yanchor": "bottom",
            "x": 0,
            "itemwidth": 44,
            "entrywidth": entry_width,
        },
    }


def _axis(title: str | None) -> dict[str, Any]:
    return {
        "title": {"text": title, "standoff": 10} if title else None,
        "automargin": True,
        "gridcolor": GRID,
        "linecolor": GRID,
        "showline": True,
        "zeroline": False,
        "ticks": "outside",
        "tickcolor": GRID,
        "ticklen": 4,
    }
