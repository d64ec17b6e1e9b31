"""Figure 3 of the paper: what another optimizer costs at each training length."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from dashboards.figures.colours import ArmStyle
from dashboards.figures.columns import columns_by_arm
from dashboards.figures.layout import INK, axis, base_layout, completed_styles, powers_of_two, short_names
from dashboards.figures.length import error_bars
from dashboards.formats import plot_text
from dashboards.selection import ArmName

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def optimizer_figure(
    table: pa.Table, styles: Mapping[str, ArmStyle] | None = None, arms: Sequence[ArmName] = ()
) -> "Figure":
    """Mean error over the epochs of training, each model with each of its optimizers; right: how far apart they end.

    Args:
        table: From :func:`dashboards.statistics.optimizer_gap.optimizer_gap_by_length`.
        styles: By arm; made from ``MODEL/OPTIMIZER`` if not given.
        arms: What the arms are called; ``MODEL/OPTIMIZER`` where it is not said.

    Where all seeds of an arm diverged, its best shorter training stands in, hollow.

    Source: Figure 3 of arXiv:2106.14881; the panel of gaps and the intervals are our own.
    """
    from plotly.subplots import make_subplots

    called = {(arm.model, arm.optimizer): arm.arm for arm in arms}
    lines = _lines(table, called)
    styles, names = completed_styles(styles, list(lines)), short_names(list(lines))
    figure = make_subplots(rows=1, cols=2, horizontal_spacing=0.1)
    figure.update_layout(**base_layout(430, list(names.values())))
    for arm, points in lines.items():
        figure.add_trace(_line(arm, names[arm], styles[arm], points), row=1, col=1)
    for trace in _gaps(table, called, styles):
        figure.add_trace(trace, row=1, col=2)
    figure.update_xaxes(**axis("epochs of training"), **powers_of_two(table["epochs"].to_pylist()))
    figure.update_yaxes(**axis("mean top-1 error, %"), row=1, col=1)
    figure.update_yaxes(**axis(_gap_title(table)), row=1, col=2)
    figure.add_hline(y=0.0, line={"color": INK, "width": 1, "dash": "dot"}, opacity=0.6, layer="below", row=1, col=2)
    return figure


def _lines(table: pa.Table, called: Mapping[tuple[str, str], str]) -> dict[str, list[dict[str, Any]]]:
    """The points of each arm by epochs, sorted by arm; the same arm may stand in several rows of one length."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for row in table.to_pylist():
        for side in ("a", "b"):
            arm = _arm(row["model"], row[f"optimizer_{side}"], called)
            point = {name: row[f"{name}_{side}"] for name in ("mean", "completed", "carried")}
            found.setdefault(arm, {})[row["epochs"]] = {"epochs": row["epochs"], **point}
    return {arm: [points[epochs] for epochs in sorted(points)] for arm, points in sorted(found.items())}


def _gap_title(table: pa.Table) -> str:
    pairs = set(zip(table["optimizer_a"].to_pylist(), table["optimizer_b"].to_pylist(), strict=True))
    if len(pairs) != 1:
        return "gap between the optimizers, points"
    first, second = pairs.pop()
    return f"{plot_text(second)} minus {plot_text(first)}, points"


def _arm(model: str, optimizer: str, called: Mapping[tuple[str, str], str]) -> str:
    return called.get((model, optimizer), f"{model}/{optimizer}")


def _line(arm: str, name: str, style: ArmStyle, points: Sequence[Mapping[str, Any]]) -> Any:
    from plotly.graph_objects import Scatter

    return Scatter(
        x=[point["epochs"] for point in points],
        y=[point["mean"] for point in points],
        customdata=[_origin(point) for point in points],
        mode="lines+markers",
        name=name,
        meta=plot_text(arm),
        legendgroup=plot_text(arm),
        line={"color": style.colour, "dash": style.dash, "width": 2.5},
        marker={
            "color": style.colour,
            "symbol": [style.symbol + "-open" * point["carried"] for point in points],
            "size": 9,
        },
        hovertemplate="<b>%{meta}</b><br>%{x} epochs: mean %{y:.1f} %, %{customdata}<extra></extra>",
    )


def _origin(point: Mapping[str, Any]) -> str:
    return "of a shorter training: all seeds diverged" if point["carried"] else f"over {point['completed']} seeds"


def _gaps(table: pa.Table, called: Mapping[tuple[str, str], str], styles: Mapping[str, ArmStyle]) -> list[Any]:
    from plotly.graph_objects import Scatter

    traces = []
    for model, rows in columns_by_arm(table, by="model").items():
        for first, second in sorted(set(zip(rows["optimizer_a"], rows["optimizer_b"], strict=True))):
            mine = (rows["optimizer_a"] == first) & (rows["optimizer_b"] == second)
            gap, low, high = (rows[name][mine].astype(np.float64) for name in ("gap", "gap_low", "gap_high"))
            style = styles[_arm(model, first, called)]
            traces.append(
                Scatter(
                    x=rows["epochs"][mine],
                    y=gap,
                    error_y=error_bars(gap, low, high),
                    mode="lines+markers",
                    showlegend=False,
                    legendgroup=plot_text(_arm(model, first, called)),
                    meta=[plot_text(text) for text in (model, first, second)],
                    line={"color": style.colour, "width": 2},
                    marker={"color": style.colour, "symbol": style.symbol, "size": 9},
                    hovertemplate="<b>%{meta[0]}</b><br>%{x} epochs: %{meta[1]} is %{y:.1f} points ahead of %{meta[2]}"
                    "<extra></extra>",
                )
            )
    return traces
