"""What a budget buys: the best error of n random draws."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from dashboards.figures.colours import ArmStyle
from dashboards.figures.columns import Columns, columns_by_arm
from dashboards.figures.layout import axis, band_opacity, base_layout, completed_styles, powers_of_two, short_names
from dashboards.formats import plot_text

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


MAX_POINTS = 160
"""Of each line, evenly spread over the logarithm of n: closer than a few pixels."""


def best_of_n_figure(table: pa.Table, styles: Mapping[str, ArmStyle] | None = None) -> "Figure":
    """The median of the best error of n draws over n; shaded: its middle half.

    Args:
        table: From :func:`dashboards.statistics.best_of_n.best_of_n`; where a quantile is null the line has a gap.
        styles: By arm; made from the arms of ``table`` if not given.
    """
    from plotly.graph_objects import Figure, Scatter

    arms = {arm: _thinned(rows) for arm, rows in columns_by_arm(table).items()}
    styles, names = completed_styles(styles, list(arms)), short_names(list(arms))
    figure = Figure(layout=base_layout(400, list(names.values())))
    for arm, rows in arms.items():
        known = np.isfinite(rows["q25"]) & np.isfinite(rows["q75"])
        common = {"x": rows["n"][known], "mode": "lines", "legendgroup": plot_text(arm), "line_width": 0}
        hidden = {"showlegend": False, "hoverinfo": "skip", **common}
        fill = styles[arm].shade(band_opacity(len(arms)))
        figure.add_trace(Scatter(y=rows["q25"][known], **hidden))
        figure.add_trace(Scatter(y=rows["q75"][known], fill="tonexty", fillcolor=fill, **hidden))
    for arm, rows in arms.items():
        figure.add_trace(
            Scatter(
                x=rows["n"],
                y=rows["median"],
                mode="lines" if len(rows["n"]) > 1 else "markers",
                name=names[arm],
                meta=plot_text(arm),
                legendgroup=plot_text(arm),
                line={"color": styles[arm].colour, "dash": styles[arm].dash, "width": 2.5},
                hovertemplate="<b>%{meta}</b><br>best of %{x} draws: median %{y:.1f} %<extra></extra>",
            )
        )
    most = max(table["n"].to_pylist(), default=1)
    ticks = [float(2**power) for power in range(int(np.log2(most)) + 1)]
    figure.update_xaxes(**axis("draws tried (n)"), **powers_of_two(ticks))
    figure.update_yaxes(**axis("best top-1 error of n draws, %"))
    return figure


def _thinned(rows: Columns) -> Columns:
    total = len(rows["n"])
    if total <= MAX_POINTS:
        return rows
    chosen = np.unique(np.geomspace(1, total, MAX_POINTS).round().astype(int)) - 1
    return {name: values[chosen] for name, values in rows.items()}
