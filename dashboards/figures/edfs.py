"""EDFs as exact step functions, each with its simultaneous band."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dashboards.figures.colours import ArmStyle
from dashboards.figures.layout import INK, axis, band_opacity, base_layout, completed_styles, short_names
from dashboards.figures.windows import Window, delta_window, error_window
from dashboards.formats import plot_text, share
from dashboards.statistics.delta import DeltaEdf
from dashboards.statistics.edf import Edf, EdfOutline

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def edf_figure(
    edfs: Sequence[Edf], styles: Mapping[str, ArmStyle] | None = None, deltas: Sequence[DeltaEdf] = ()
) -> "Figure":
    """The EDFs as exact step functions, each with its simultaneous band; the delta EDFs, where given, to their right.

    The delta panel opens on the range that :func:`dashboards.figures.windows.delta_window` picks; a double-click shows all.

    Args:
        edfs: One per arm; a label is needed to tell them apart.
        styles: By arm; made from the labels of ``edfs`` if not given.
        deltas: Delta EDFs of arms in ``edfs``, which share their legend.
    """
    from plotly.subplots import make_subplots

    styles = completed_styles(styles, [edf.arm or "" for edf in edfs])
    figure = make_subplots(rows=1, cols=2 if deltas else 1, shared_yaxes=True, horizontal_spacing=0.04)
    figure.update_layout(**base_layout(470, edf_entries(edfs)))
    add_edfs(figure, (1, 1), edfs, styles, error_window(edfs))
    if deltas:
        add_deltas(figure, (1, 2), deltas, styles)
    figure.update_yaxes(**share_axis(None))
    figure.update_yaxes(title_text="share of all draws", col=1)
    return figure


def share_axis(title: str | None) -> dict[str, Any]:
    """A vertical axis of shares."""
    return axis(title) | {"range": [0, 1.02], "tickformat": ".0%"}


def edf_entries(edfs: Sequence[Edf]) -> list[str]:
    """The legend's texts: each arm with what must be said beside its EDF."""
    names = short_names([edf.arm or "" for edf in edfs])
    return [f"{names[edf.arm or '']} ({_counts(edf)})".strip() for edf in edfs]


def add_edfs(
    figure: "Figure",
    place: tuple[int, int],
    edfs: Sequence[Edf],
    styles: Mapping[str, ArmStyle],
    window: Window,
    *,
    legend: bool = True,
) -> None:
    """Draws EDFs into the panel at ``place`` (row, column), with its horizontal axis."""
    opacity = band_opacity(len(edfs))
    outlines = [edf.outline(window.left, window.right) for edf in edfs]
    # All bands first, so that none lies over the curve of another arm.
    traces = [
        trace
        for edf, outline in zip(edfs, outlines, strict=True)
        for trace in _band(edf, styles[edf.arm or ""].shade(opacity), outline)
    ]
    for edf, outline, entry in zip(edfs, outlines, edf_entries(edfs), strict=True):
        traces += _curve(edf, styles[edf.arm or ""], outline, entry if legend else None)
    # Dictionaries: of a trace that is an object already, Plotly checks every property a second time.
    for trace in traces:
        figure.add_trace(trace, row=place[0], col=place[1])
    figure.update_xaxes(
        **axis("final top-1 error, %"), range=[window.shown_left, window.shown_right], row=place[0], col=place[1]
    )


def add_deltas(
    figure: "Figure",
    place: tuple[int, int],
    deltas: Sequence[DeltaEdf],
    styles: Mapping[str, ArmStyle],
    *,
    legend: bool = False,
) -> None:
    """Draws delta EDFs into the panel at ``place``, with a line at the reference."""
    add_edfs(figure, place, deltas, styles, delta_window(deltas), legend=legend)
    figure.add_vline(
        x=0.0, line={"color": INK, "width": 1, "dash": "dot"}, opacity=0.6, layer="below", row=place[0], col=place[1]
    )
    figure.update_xaxes(title_text="error minus the arm's reference, points", row=place[0], col=place[1])


def _band(edf: Edf, fill: str, outline: EdfOutline) -> list[dict[str, Any]]:
    common = {"type": "scatter", "x": outline.x, "mode": "lines", "line_shape": "hv", "line_width": 0}
    common |= {"legendgroup": plot_text(edf.arm or ""), "showlegend": False, "hoverinfo": "skip"}
    return [
        {"y": outline.band_lower, **common},
        {"y": outline.band_upper, "fill": "tonexty", "fillcolor": fill, **common},
    ]


def _curve(edf: Edf, style: ArmStyle, outline: EdfOutline, entry: str | None) -> list[dict[str, Any]]:
    group = plot_text(edf.arm or "")
    error = "%{x:.1f} points above the reference" if isinstance(edf, DeltaEdf) else "%{x:.1f} %"
    common = {"type": "scatter", "x": outline.x, "mode": "lines", "line_shape": "hv"}
    common |= {"line_color": style.colour, "legendgroup": group}
    curve = dict(
        y=outline.lower,
        name=entry or group,
        line_dash=style.dash,
        line_width=2.5,
        meta=f"{group} ({_counts(edf)})",
        hovertemplate=f"<b>%{{meta}}</b><br>%{{y:.0%}} of draws have at most {error}<extra></extra>",
        showlegend=entry is not None,
        **common,
    )
    best_case = dict(y=outline.upper, line_width=1, opacity=0.7, showlegend=False, hoverinfo="skip", **common)
    return [best_case, curve] if edf.n_missing else [curve]


def _counts(edf: Edf) -> str:
    details = [f"n {edf.n}", f"{share(edf.n_diverged / edf.n)} diverged"]
    if edf.n_missing:
        details.append(f"{edf.n_missing} missing")
    return ", ".join(details)
