"""Figures 4 and 5 of the paper: scatters over the hyperparameters above the distributions of errors."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from dashboards.figures.colours import ArmStyle
from dashboards.figures.edfs import add_deltas, add_edfs, edf_entries, share_axis
from dashboards.figures.layout import axis, base_layout, completed_styles
from dashboards.figures.points import ScatterPoints
from dashboards.figures.scatter import add_scatter
from dashboards.figures.windows import error_window
from dashboards.statistics.delta import DeltaEdf
from dashboards.statistics.edf import Edf

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_COLUMNS = 6
"""Of the grid that three scatters and two EDFs share."""


def stability_figure(
    points: ScatterPoints,
    edfs: Sequence[Edf],
    deltas: Sequence[DeltaEdf],
    styles: Mapping[str, ArmStyle] | None = None,
) -> "Figure":
    """Error over each hyperparameter on top; below, the EDF of error minus reference and the EDF of the error.

    Args:
        points: The trials of the same arms; see :func:`dashboards.figures.points.scatter_points`.
        edfs: One per arm.
        deltas: The delta EDFs of the same arms, in the same order.
        styles: By arm; made from the labels of ``edfs`` if not given.

    Source: the arrangement of Figures 4 and 5 of arXiv:2106.14881; there the absolute errors are Figures 7 and 8.
    """
    from plotly.subplots import make_subplots

    styles = completed_styles(styles, [edf.arm or "" for edf in edfs])
    panels = max(len(points.panels), 1)
    wide, half = {"colspan": _COLUMNS // panels}, {"colspan": _COLUMNS // 2}
    top = [wide if column % (_COLUMNS // panels) == 0 else None for column in range(_COLUMNS)]
    figure = make_subplots(
        rows=2,
        cols=_COLUMNS,
        specs=[top, [half, None, None, half, None, None]],
        horizontal_spacing=0.04,
        vertical_spacing=0.15,
    )
    figure.update_layout(**base_layout(780, edf_entries(edfs)))
    for number, _ in enumerate(points.panels):
        place = (1, 1 + number * (_COLUMNS // panels))
        add_scatter(figure, place, points, styles, legend=False, panel=number)
    add_deltas(figure, (2, 1), deltas, styles, legend=True)
    add_edfs(figure, (2, 4), edfs, styles, error_window(edfs), legend=False)
    figure.update_yaxes(**axis(None), row=1)
    figure.update_yaxes(matches="y", showticklabels=False, row=1)
    figure.update_yaxes(matches=None, showticklabels=True, title_text="final top-1 error, %", row=1, col=1)
    figure.update_yaxes(**share_axis(None), row=2)
    figure.update_yaxes(title_text="share of all draws", row=2, col=1)
    figure.update_yaxes(showticklabels=False, row=2, col=4)
    return figure
