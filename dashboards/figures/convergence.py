"""Errors over the epochs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

from dashboards.figures.colours import ArmStyle
from dashboards.figures.columns import columns_by_arm
from dashboards.figures.layout import axis, band_opacity, base_layout, completed_styles, short_names
from dashboards.formats import plot_text

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def convergence_figure(table: pa.Table, styles: Mapping[str, ArmStyle] | None = None) -> "Figure":
    """Median error over the epochs for each arm, the middle 80 % of its trials shaded.

    Args:
        table: From :func:`dashboards.statistics.convergence.convergence`.
        styles: By arm; made from the arms of ``table`` if not given.
    """
    from plotly.graph_objects import Figure, Scatter

    arms = columns_by_arm(table)
    styles, names = completed_styles(styles, list(arms)), short_names(list(arms))
    figure = Figure(layout=base_layout(440, list(names.values())))
    for arm, rows in arms.items():
        style, common = styles[arm], {"x": rows["epoch"], "mode": "lines", "legendgroup": plot_text(arm)}
        hidden = {"showlegend": False, "hoverinfo": "skip", "line_width": 0, **common}
        figure.add_trace(Scatter(y=rows["error_p10"], **hidden))
        fill = style.shade(band_opacity(len(arms)))
        figure.add_trace(Scatter(y=rows["error_p90"], fill="tonexty", fillcolor=fill, **hidden))
    for arm, rows in arms.items():
        style = styles[arm]
        figure.add_trace(
            Scatter(
                x=rows["epoch"],
                y=rows["error_median"],
                mode="lines",
                legendgroup=plot_text(arm),
                name=names[arm],
                meta=plot_text(arm),
                customdata=rows["n"],
                line={"color": style.colour, "dash": style.dash, "width": 2.5},
                hovertemplate="<b>%{meta}</b><br>epoch %{x}: median %{y:.1f} % of %{customdata} trials<extra></extra>",
            )
        )
    figure.update_xaxes(**axis("epoch"), rangemode="normal")
    figure.update_yaxes(**axis("validation top-1 error, %"))
    return figure
