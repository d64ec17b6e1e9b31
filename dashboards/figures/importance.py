"""Which hyperparameter matters."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dashboards.figures.colours import ArmStyle
from dashboards.figures.layout import axis, base_layout, completed_styles, short_names
from dashboards.formats import plot_text

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

BAR = 16
"""Height of a bar with the space below it, pixels."""


def importance_figure(
    importances: Mapping[str, Mapping[str, float]], styles: Mapping[str, ArmStyle] | None = None
) -> "Figure":
    """Bars: the share of the error's variation that each hyperparameter explains, per arm.

    Args:
        importances: By arm, then by hyperparameter, from :func:`dashboards.space.importance.importances`.
        styles: By arm; made from the arms if not given.
    """
    from plotly.graph_objects import Bar, Figure

    arms = sorted(importances)
    styles, short = completed_styles(styles, arms), short_names(arms)
    names = list(dict.fromkeys(name for arm in arms for name in importances[arm]))
    figure = Figure(layout=base_layout(120 + len(names) * (24 + BAR * len(arms)), list(short.values())))
    # Plotly stacks bars upwards: the first arm and the first hyperparameter belong on top.
    for arm in reversed(arms):
        figure.add_trace(
            Bar(
                y=[plot_text(name.replace("_", " ")) for name in names if name in importances[arm]],
                x=[importances[arm][name] for name in names if name in importances[arm]],
                orientation="h",
                name=short[arm],
                meta=plot_text(arm),
                legendgroup=plot_text(arm),
                marker={"color": styles[arm].colour, "pattern": {"shape": styles[arm].pattern, "solidity": 0.35}},
                hovertemplate="<b>%{meta}</b><br>%{y}: %{x:.0%}<extra></extra>",
            )
        )
    figure.update_layout(barmode="group", bargap=0.25, legend_traceorder="reversed")
    figure.update_xaxes(**axis("importance"), range=[0, 1.01], tickformat=".0%")
    order = [plot_text(name.replace("_", " ")) for name in reversed(names)]
    figure.update_yaxes(**axis(None), categoryorder="array", categoryarray=order)
    return figure
