"""The figures that only the web app has. Drawing only; many dots are drawn by the page's own script, on a canvas."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dashboards.app.address import Brush
from dashboards.app.study import Sample
from dashboards.figures.colours import ArmStyle
from dashboards.figures.edfs import add_edfs, share_axis
from dashboards.figures.layout import FONT, INK, axis, logarithmic
from dashboards.figures.points import Panel
from dashboards.figures.windows import delta_window, error_window
from dashboards.formats import plot_text
from dashboards.selection import Floats
from dashboards.statistics.delta import DeltaEdf
from dashboards.statistics.edf import Edf

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MOST_STEPS = 1_500
"""Of a curve that is drawn: two a pixel on a wide screen."""
ACCENT = "#0072B2"
BOX = {"color": ACCENT, "width": 1.5, "dash": "solid"}
DECADES = (-307.0, 308.0)
"""Powers of ten that a float can hold."""
CONFIG = {
    "displaylogo": False,
    "responsive": True,
    "scrollZoom": False,
    "modeBarButtons": [["select2d", "zoom2d", "pan2d", "resetScale2d", "toImage"]],
}
PLAIN_CONFIG = CONFIG | {"modeBarButtons": [["zoom2d", "pan2d", "resetScale2d", "toImage"]]}


def brush_figure(
    sample: Sample,
    shown: Sequence[str],
    styles: Mapping[str, ArmStyle],
    *,
    stacked: bool,
    revision: str,
) -> "Figure":
    """Error over lr, weight decay and their product, one dot a trial.

    Args:
        sample: The trials.
        shown: The arms that are drawn.
        styles: By arm.
        stacked: Panels one below the other, for a narrow screen.
        revision: Zoom is kept as long as this stays the same.
    """
    from plotly.subplots import make_subplots

    panels = sample.points.panels
    count = max(len(panels), 1)
    rows, columns = (count, 1) if stacked else (1, count)
    figure = make_subplots(
        rows=rows,
        cols=columns,
        shared_yaxes="all" if stacked else True,
        horizontal_spacing=0.025,
        vertical_spacing=0.3 / count,
    )
    figure.update_layout(**_layout(90 + 250 * count if stacked else 380, revision), dragmode="select")
    figure.update_layout(
        # The key of each trial, once for all panels: a dot knows its place in this list.
        meta={"keys": sample.keys.tolist(), "panels": [panel.title for panel in panels]},
        newselection={"line": BOX},
        activeselection={"fillcolor": ACCENT, "opacity": 0.08},
    )
    for place, panel in enumerate(panels):
        row, column = (place + 1, 1) if stacked else (1, place + 1)
        for arm in shown:
            for trace in _dots(sample, panel, arm, styles[arm]):
                figure.add_trace(trace, row=row, col=column)
        look = axis(plot_text(panel.title)) | (logarithmic(panel.values) if panel.logarithmic else {})
        ends = 10 ** _padded(np.log10(panel.values)).clip(*DECADES) if panel.logarithmic else _padded(panel.values)
        figure.add_trace(_room(ends, _padded(sample.drawn)), row=row, col=column)
        figure.update_xaxes(**look, row=row, col=column)
        title = "final top-1 error, %" if stacked or place == 0 else None
        figure.update_yaxes(**axis(title), row=row, col=column)
    if np.isinf(sample.points.errors).any():
        ceiling = sample.points.ceiling
        figure.add_hline(y=ceiling, line={"color": INK, "width": 1, "dash": "dot"}, opacity=0.6, layer="below")
        label = {"text": "× diverged", "x": 0, "xref": "x domain", "xanchor": "left", "yanchor": "bottom"}
        figure.add_annotation(**label, y=ceiling, yref="y", showarrow=False, font_size=12)
    return figure


def with_brush(figure: Mapping[str, Any], brush: Brush | None) -> dict[str, Any]:
    """A copy of :func:`brush_figure`, as plain values, with the brush as Plotly's own selection."""
    layout = figure["layout"] | {"selectionrevision": f"{figure['layout']['uirevision']} {brush}"}
    panels = layout["meta"]["panels"]
    if brush is not None and brush.panel in panels:
        place = panels.index(brush.panel)
        suffix = "" if place == 0 else str(place + 1)
        box = {"x0": brush.x[0], "x1": brush.x[1], "y0": brush.y[0], "y1": brush.y[1], "line": BOX}
        layout |= {"selections": [{"type": "rect", "xref": f"x{suffix}", "yref": f"y{suffix}", **box}]}
    return {"data": figure["data"], "layout": layout}


def _padded(values: Floats) -> Floats:
    """A range with room for a box around the outermost dots."""
    known = values[np.isfinite(values)]
    if not len(known):
        return np.array([0.0, 1.0])
    margin = 0.04 * max(float(np.ptp(known)), 1e-3)
    return np.array([known.min() - margin, known.max() + margin])


def _room(x: Floats, y: Floats) -> Any:
    """Nothing to see: it makes Plotly's own range this wide.

    A range that is given would change with the data, and Plotly then forgets the reader's zoom.
    """
    from plotly.graph_objects import Scatter

    return Scatter(x=x, y=y, mode="none", hoverinfo="skip", showlegend=False)


def _dots(sample: Sample, panel: Panel, arm: str, style: ArmStyle) -> list[Any]:
    here = (sample.arms == arm) & np.isfinite(panel.values)
    diverged = np.isinf(sample.points.errors)
    kinds = ((here & ~diverged, style.symbol, "%{y:.1f} %"), (here & diverged, "x", "diverged"))
    return [
        _canvas(
            panel.values[mask],
            sample.drawn[mask],
            style.colour,
            symbol,
            places=np.flatnonzero(mask),
            hover=f"<b>%{{fullData.name}}</b><br>{outcome}<br>{plot_text(panel.title).replace('%', '&#37;')} %{{x:.3g}}",
            name=arm,
        )
        for mask, symbol, outcome in kinds
    ]


def _canvas(
    x: Floats,
    y: Floats,
    colour: str,
    symbol: str,
    *,
    name: str,
    hover: str = "",
    places: npt.NDArray[np.intp] | None = None,
    size: float = 7,
) -> Any:
    """Dots that Plotly knows (hover, click, axes) and ``app.js`` draws: as SVG, 10,000 of them take seconds."""
    from plotly.graph_objects import Scatter

    return Scatter(
        x=x,
        y=y,
        mode="none",
        name=plot_text(name),
        showlegend=False,
        customdata=places,
        meta={"dots": {"symbol": symbol, "colour": colour, "size": size}},
        hoverlabel={"bgcolor": colour, "bordercolor": colour, "font": {"color": "#ffffff"}},
        **({"hovertemplate": f"{hover}<extra></extra>"} if hover else {"hoverinfo": "skip"}),
    )


def distribution_figure(edfs: Sequence[Edf], styles: Mapping[str, ArmStyle], *, revision: str) -> "Figure":
    """The EDFs of one kind, error or delta.

    Args:
        edfs: One per arm, all of errors or all of deltas.
        styles: By arm.
        revision: Zoom is kept as long as this stays the same.
    """
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=1, cols=1)
    figure.update_layout(**_layout(400, revision))
    deltas = [edf for edf in edfs if isinstance(edf, DeltaEdf)]
    window = delta_window(deltas) if deltas else error_window(edfs)
    # Plotly finds the range itself: one that is given would change with the data, and the reader's zoom would be lost.
    add_edfs(
        figure, (1, 1), edfs, styles, replace(window, left=window.shown_left, right=window.shown_right), legend=False
    )
    for trace in figure.data:
        kept = visible_steps(np.asarray(trace.x, dtype=np.float64))
        trace.update(x=trace.x[kept], y=trace.y[kept])
    figure.update_xaxes(range=None, autorange=True)
    if deltas:
        figure.add_vline(x=0.0, line={"color": INK, "width": 1, "dash": "dot"}, opacity=0.6, layer="below")
        figure.update_xaxes(title_text="error minus the arm's reference, points")
    figure.update_yaxes(**share_axis("share of all draws"))
    return figure


def visible_steps(x: Floats) -> npt.NDArray[np.intp]:
    """Which of a curve's steps to draw: all up to :data:`MOST_STEPS`, else the last of each of as many equal intervals.

    The drawn staircase is exact at its own steps and never further than one interval, half a pixel, to the right of the whole
    one. Drawing every step of 10,000 trials anew takes a browser a second at each brush.

    Args:
        x: Where it steps, ascending, shape ``(steps,)``.

    Returns:
        Places in ``x``, ascending; the first and the last are among them.
    """
    if len(x) <= MOST_STEPS:
        return np.arange(len(x))
    interval = np.floor((x - x[0]) / (x[-1] - x[0]) * MOST_STEPS)
    last = np.flatnonzero(np.append(interval[1:] != interval[:-1], True))
    return np.union1d([0], last)


def with_marks(
    figure: Mapping[str, Any], edfs: Sequence[Edf], styles: Mapping[str, ArmStyle], marks: Mapping[str, Floats]
) -> dict[str, Any]:
    """A copy of :func:`distribution_figure`, as plain values, with a ring on the curve for each marked trial.

    Args:
        figure: The EDFs.
        edfs: What it shows.
        styles: By arm.
        marks: By arm, the finite errors (or deltas) of the marked trials.
    """
    traces = []
    for edf in edfs:
        values = marks.get(edf.arm or "", np.array([]))
        if len(values):
            heights = np.searchsorted(edf.errors, values, side="right") / edf.n
            trace = _canvas(values, heights, styles[edf.arm or ""].colour, "ring", name=edf.arm or "", size=9)
            traces.append(trace.update(meta=trace.meta | {"marks": edf.arm}).to_plotly_json())
    return {"data": [*figure["data"], *traces], "layout": figure["layout"]}


def pair_figure(errors_a: Floats, errors_b: Floats, names: tuple[str, str], colours: tuple[str, str]) -> "Figure":
    """Error of one arm over the error of the other, one dot a common draw; diverged sides lie along the edges.

    Args:
        errors_a: Percent, ``+inf`` where diverged, shape ``(pairs,)``.
        errors_b: The same for the other arm.
        names: The arms.
        colours: Of dots where the first, or the second arm is better.
    """
    from plotly.graph_objects import Figure

    finite = np.concatenate([errors_a[np.isfinite(errors_a)], errors_b[np.isfinite(errors_b)], [0.0]])
    ceiling = float(finite.max() + 0.08 * max(float(np.ptp(finite)), 1.0))
    low = float(finite[:-1].min()) if len(finite) > 1 else 0.0
    ends = [low - 0.04 * (ceiling - low), ceiling + 0.04 * (ceiling - low)]
    figure = Figure(layout=_layout(460, "pair"))
    figure.add_shape(type="line", x0=ends[0], y0=ends[0], x1=ends[1], y1=ends[1], line={"color": INK, "dash": "dot"})
    drawn = [np.where(np.isinf(errors), ceiling, errors) for errors in (errors_a, errors_b)]
    tie = errors_a == errors_b
    sides = ((errors_a < errors_b, colours[0]), (errors_a > errors_b, colours[1]), (tie, INK))
    for mask, colour in sides:
        hover = f"{plot_text(names[0])}: %{{x:.1f}} %<br>{plot_text(names[1])}: %{{y:.1f}} %"
        figure.add_trace(_canvas(drawn[0][mask], drawn[1][mask], colour, "circle", name="pair", hover=hover))
    for side, errors, name in (("xaxis", errors_a, names[0]), ("yaxis", errors_b, names[1])):
        figure.update_layout({side: axis(f"error of {plot_text(name)}, %") | {"range": ends}})
        if np.isinf(errors).any():
            line = {"line": {"color": INK, "width": 1, "dash": "dot"}, "opacity": 0.6, "layer": "below"}
            _ = figure.add_vline(x=ceiling, **line) if side == "xaxis" else figure.add_hline(y=ceiling, **line)
    return figure


def gap_figure(gaps: Floats, names: tuple[str, str], colours: tuple[str, str]) -> "Figure":
    """How the finite paired gaps are distributed.

    Args:
        gaps: Second arm's error minus the first's, points, finite, shape ``(pairs,)``.
        names: The arms.
        colours: Of bars where the first, or the second arm is better.
    """
    from plotly.graph_objects import Bar, Figure

    figure = Figure(layout=_layout(320, "gaps"))
    if len(gaps):
        # 0 is an edge, so that no bar holds gaps of both signs.
        width = max(float(np.ptp(np.append(gaps, 0.0))) / 30, 1e-6)
        width = float(f"{width:.1g}")
        places = np.floor(gaps / width)
        bins, heights = np.unique(places, return_counts=True)
        figure.add_trace(
            Bar(
                x=(bins + 0.5) * width,
                y=heights,
                width=width,
                marker={"color": [colours[0] if place >= 0 else colours[1] for place in bins], "line": {"width": 0}},
                hovertemplate="%{y} draws around %{x:.2f} points<extra></extra>",
            )
        )
    figure.add_vline(x=0.0, line={"color": INK, "width": 1, "dash": "dot"})
    title = f"error of {plot_text(names[1])} minus error of {plot_text(names[0])}, points"
    figure.update_layout(xaxis=axis(title), yaxis=axis("draws"), bargap=0.04)
    return figure


def curve_figure(epochs: Sequence[int], values: Sequence[float | None], title: str, colour: str) -> "Figure":
    """One quantity of one trial over its epochs."""
    from plotly.graph_objects import Figure, Scatter

    figure = Figure(layout=_layout(300, "curve"))
    hover = "epoch %{x}: %{y:.4g}<extra></extra>"
    line = {"color": colour, "width": 2.5}
    figure.add_trace(Scatter(x=list(epochs), y=list(values), mode="lines+markers", line=line, hovertemplate=hover))
    figure.update_layout(xaxis=axis("epoch"), yaxis=axis(title), showlegend=False)
    return figure


def fitted(figure: Mapping[str, Any], revision: str, *, narrow: bool) -> dict[str, Any]:
    """A figure of the report that keeps its zoom, and on a narrow screen has a legend of one column."""
    layout = dict(figure["layout"])
    layout |= {"uirevision": revision, "modebar": _MODEBAR, "margin": {**layout.get("margin", {}), "t": 28}}
    if narrow and layout.get("showlegend"):
        entries = sum(1 for trace in figure["data"] if trace.get("name") and trace.get("showlegend") is not False)
        layout["legend"] = {**layout.get("legend", {}), "font": {"size": 11}, "itemwidth": 30, "entrywidth": 1000}
        layout["height"] = layout.get("meta", {}).get("plot_height", 400) + 20 + 22 * entries
    return {"data": figure["data"], "layout": layout}


_MODEBAR = {"bgcolor": "rgba(0, 0, 0, 0)", "color": "#8a93a3", "activecolor": ACCENT}


def _layout(height: int, revision: str) -> dict[str, Any]:
    return {
        "template": "none",
        "height": height,
        "margin": {"l": 60, "r": 8, "t": 28, "b": 52},
        "paper_bgcolor": "rgba(0, 0, 0, 0)",
        "plot_bgcolor": "rgba(0, 0, 0, 0)",
        "font": {"family": FONT, "size": 13, "color": INK},
        "hovermode": "closest",
        "hoverlabel": {"bgcolor": "#20242c", "bordercolor": "#20242c", "font": {"color": "#ffffff", "family": FONT}},
        "showlegend": False,
        "uirevision": revision,
        "modebar": _MODEBAR,
    }
