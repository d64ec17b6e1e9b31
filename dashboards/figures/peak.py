"""Figure 6 of the paper: the best error over what a model costs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from dashboards.figures.colours import ArmStyle
from dashboards.figures.columns import Columns, columns_by_arm
from dashboards.figures.layout import INK, axis, base_layout, completed_styles, logarithmic, short_names
from dashboards.figures.length import error_bars
from dashboards.formats import plot_text

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COSTS = (
    ("parameters", "parameters"),
    ("flops", "multiply-adds of one image"),
    ("compute_hours", "compute hours of training"),
    ("activations", "activations of one image"),
)
"""Columns of a leaderboard that a panel is drawn over, where they are known, with the axis' title."""
MAX_PANELS = 3
PUBLISHED = "published (arXiv:2106.14881, Table 2)"


def peak_figure(
    table: pa.Table, published: pa.Table | None = None, styles: Mapping[str, ArmStyle] | None = None
) -> "Figure":
    """Mean error over the seeds against parameters, multiply-adds and training time, as far as they are known.

    Where nothing is known about costs there is one panel with a row per arm.

    Args:
        table: From :func:`dashboards.statistics.peak.peak`; bars show the interval over seeds.
        published: From :func:`dashboards.statistics.published.published_peak`: hollow points beside the measured ones.
        styles: By arm; made from the arms of ``table`` if not given.

    Source: Figure 6 of arXiv:2106.14881.
    """
    from plotly.subplots import make_subplots

    arms = columns_by_arm(table)
    styles, names = completed_styles(styles, list(arms)), short_names(list(arms))
    panels = _panels(arms)
    entries = list(names.values()) if panels else []
    figure = make_subplots(rows=1, cols=max(len(panels), 1), shared_yaxes=bool(panels), horizontal_spacing=0.03)
    rows = sum(len(columns["epochs"]) for columns in arms.values())
    figure.update_layout(
        **base_layout(
            400 if panels else 110 + 30 * rows, [*entries, *([PUBLISHED] if published is not None and panels else [])]
        )
    )
    if not panels:
        _add_rows(figure, arms, styles)
        return figure
    for column, (name, title) in enumerate(panels, start=1):
        if published is not None and name in published.column_names:
            figure.add_trace(_published_points(published, name, legend=column == 1), row=1, col=column)
        for arm, columns in arms.items():
            figure.add_trace(
                _points(arm, names[arm], columns, name, styles[arm], legend=column == 1), row=1, col=column
            )
        costs = [_numbers(columns[name]) for columns in arms.values()]
        costs += (
            [_numbers(published[name].to_pylist())] if published is not None and name in published.column_names else []
        )
        figure.update_xaxes(**axis(title) | logarithmic(np.concatenate(costs), labels=3, words="SI"), col=column)
    figure.update_yaxes(**axis(None))
    figure.update_yaxes(title_text="mean top-1 error over seeds, %", col=1)
    return figure


def _panels(arms: Mapping[str, Columns]) -> list[tuple[str, str]]:
    known = [
        (name, title)
        for name, title in COSTS
        if any(name in columns and (_numbers(columns[name]) > 0).any() for columns in arms.values())
    ]
    return known[:MAX_PANELS]


def _numbers(values: Any) -> Any:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _points(arm: str, name: str, columns: Columns, cost: str, style: ArmStyle, *, legend: bool) -> Any:
    from plotly.graph_objects import Scatter

    error = columns["mean_error"]
    return Scatter(
        x=_numbers(columns[cost]),
        y=error,
        error_y=error_bars(error, columns["ci_low"], columns["ci_high"]),
        customdata=np.stack([columns["epochs"], columns["n"]], axis=-1),
        mode="markers",
        name=name,
        meta=plot_text(arm),
        legendgroup=plot_text(arm),
        showlegend=legend,
        marker={"color": style.colour, "symbol": style.symbol, "size": 11},
        hovertemplate="<b>%{meta}</b><br>%{x:.3s}: mean %{y:.1f} %<br>%{customdata[0]} epochs, %{customdata[1]} seeds"
        "<extra></extra>",
    )


def _published_points(published: pa.Table, cost: str, *, legend: bool) -> Any:
    from plotly.graph_objects import Scatter

    rows = [row for row in published.to_pylist() if row[cost] is not None]
    return Scatter(
        x=[row[cost] for row in rows],
        y=[row["error"] for row in rows],
        customdata=[[plot_text(row["model"]), row["epochs"]] for row in rows],
        mode="markers",
        name=PUBLISHED,
        legendgroup=PUBLISHED,
        showlegend=legend,
        marker={"color": INK, "symbol": "circle-open", "size": 9, "line": {"width": 1.5}},
        hovertemplate="<b>%{customdata[0]}</b>, published<br>%{y:.1f} % after %{customdata[1]} epochs<extra></extra>",
    )


def _add_rows(figure: "Figure", arms: Mapping[str, Columns], styles: Mapping[str, ArmStyle]) -> None:
    from plotly.graph_objects import Scatter

    several = len({epochs for columns in arms.values() for epochs in columns["epochs"]}) > 1
    names = short_names(list(arms))
    for arm, columns in arms.items():
        error = columns["mean_error"]
        labels = [f"{names[arm]}, {epochs} epochs" if several else names[arm] for epochs in columns["epochs"]]
        figure.add_trace(
            Scatter(
                x=error,
                y=labels,
                error_x=error_bars(error, columns["ci_low"], columns["ci_high"]),
                customdata=np.stack([columns["epochs"], columns["n"]], axis=-1),
                mode="markers",
                showlegend=False,
                meta=plot_text(arm),
                marker={"color": styles[arm].colour, "symbol": styles[arm].symbol, "size": 11},
                hovertemplate="<b>%{meta}</b><br>mean %{x:.1f} %<br>%{customdata[0]} epochs, %{customdata[1]} seeds"
                "<extra></extra>",
            )
        )
    figure.update_xaxes(**axis("mean top-1 error over seeds, %"))
    figure.update_yaxes(**axis(None), autorange="reversed")
