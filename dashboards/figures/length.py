"""Figure 2 of the paper: what shorter training costs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from dashboards.figures.colours import ArmStyle
from dashboards.figures.columns import columns_by_arm
from dashboards.figures.layout import INK, axis, base_layout, completed_styles, powers_of_two, short_names
from dashboards.formats import plot_text

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def length_figure(table: pa.Table, styles: Mapping[str, ArmStyle] | None = None) -> "Figure":
    """Error minus the error at the arm's longest training, over the epochs; bars: the interval over seeds.

    Args:
        table: Rows of one phase from :func:`dashboards.statistics.lengths.lengths`; those without a gap are not drawn.
        styles: By arm; made from the arms of ``table`` if not given.

    Source: Figure 2 of arXiv:2106.14881; the intervals are our own.
    """
    from plotly.graph_objects import Figure, Scatter

    arms = columns_by_arm(table)
    styles, names = completed_styles(styles, list(arms)), short_names(list(arms))
    figure = Figure(layout=base_layout(400, list(names.values())))
    for arm, rows in arms.items():
        style = styles[arm]
        figure.add_trace(
            Scatter(
                x=rows["epochs"],
                y=rows["gap"],
                error_y=error_bars(rows["gap"], rows["gap_low"], rows["gap_high"]),
                customdata=np.stack([rows["n"], rows["mean_error"]], axis=-1),
                mode="lines+markers",
                name=names[arm],
                meta=plot_text(arm),
                legendgroup=plot_text(arm),
                line={"color": style.colour, "dash": style.dash, "width": 2.5},
                marker={"color": style.colour, "symbol": style.symbol, "size": 9},
                hovertemplate="<b>%{meta}</b><br>%{x} epochs: %{y:.1f} points above the longest training"
                "<br>mean error %{customdata[1]:.1f} %, %{customdata[0]} seeds<extra></extra>",
            )
        )
    figure.update_xaxes(**axis("epochs of training"), **powers_of_two(table["epochs"].to_pylist()))
    figure.update_yaxes(**axis("error minus error at the longest, points"), rangemode="tozero")
    figure.add_hline(y=0.0, line={"color": INK, "width": 1, "dash": "dot"}, opacity=0.6, layer="below")
    return figure


def error_bars(middle: Any, low: Any, high: Any) -> dict[str, Any]:
    """Plotly's error bars from ``low`` to ``high``; none where an end is not known."""
    return {
        "type": "data",
        "symmetric": False,
        "array": np.nan_to_num(high - middle),
        "arrayminus": np.nan_to_num(middle - low),
        "thickness": 1.5,
        "width": 4,
    }
