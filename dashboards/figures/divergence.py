"""Where training diverges."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dashboards.figures.colours import ArmStyle
from dashboards.figures.columns import columns_by_arm
from dashboards.figures.layout import axis, base_layout, completed_styles, logarithmic, short_names
from dashboards.figures.length import error_bars
from dashboards.formats import plot_text
from dashboards.selection import Floats

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def divergence_figure(table: pa.Table, styles: Mapping[str, ArmStyle] | None = None, name: str = "lr") -> "Figure":
    """Share of the draws that diverged in each bin of a hyperparameter, with intervals.

    Args:
        table: From :func:`dashboards.space.divergence.diverged_shares`; a bin without draws is not drawn.
        styles: By arm; made from the arms of ``table`` if not given.
        name: The hyperparameter that ``low`` and ``high`` are values of.
    """
    from plotly.graph_objects import Figure, Scatter

    # Choices have no order: a table of them has no edges to draw over.
    arms = columns_by_arm(table.filter(pc.is_valid(table["low"])))
    styles, names = completed_styles(styles, list(arms)), short_names(list(arms))
    figure = Figure(layout=base_layout(380, list(names.values())))
    ends = np.concatenate([np.append(rows["low"], rows["high"]) for rows in arms.values()] or [np.ones(1)])
    positive = bool((ends > 0).all())
    for place, (arm, rows) in enumerate(arms.items()):
        style, low, high = styles[arm], rows["low"], rows["high"]
        figure.add_trace(
            Scatter(
                x=_within(low, high, (place + 0.5) / len(arms), positive=positive),
                y=rows["share"],
                error_y=error_bars(rows["share"], rows["share_low"], rows["share_high"]),
                customdata=np.stack([low, high, rows["diverged"], rows["n"]], axis=-1),
                mode="lines+markers",
                name=names[arm],
                meta=plot_text(arm),
                legendgroup=plot_text(arm),
                line={"color": style.colour, "dash": style.dash, "width": 2},
                marker={"color": style.colour, "symbol": style.symbol, "size": 8},
                hovertemplate="<b>%{meta}</b><br>%{customdata[0]:.3g} to %{customdata[1]:.3g}: %{customdata[2]} of "
                "%{customdata[3]} draws diverged (%{y:.0%})<extra></extra>",
            )
        )
    look = logarithmic(ends) if positive else {}
    figure.update_xaxes(**axis(plot_text(name.replace("_", " "))) | look)
    figure.update_yaxes(**axis("share of draws that diverged"), range=[-0.02, 1.02], tickformat=".0%")
    return figure


def _within(low: Floats, high: Floats, share: float, *, positive: bool) -> Floats:
    """A place in the middle half of each bin: arms side by side, so that no interval hides another."""
    share = 0.25 + share / 2
    placed: Floats = low ** (1 - share) * high**share if positive else low + share * (high - low)
    return placed
