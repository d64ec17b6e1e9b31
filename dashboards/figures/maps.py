"""The error over two hyperparameters at once."""

from collections.abc import Mapping
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from dashboards.figures.layout import FONT_SIZE, axis, base_layout, logarithmic, panel_title, short_names
from dashboards.formats import percent, plot_text
from dashboards.space.maps import SettingMap

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COLUMNS = 3
"""Panels in a row."""
SCALE = "Cividis_r"
"""Low errors bright; made for colour-blind readers (Nuñez, Anderton and Renslow 2018)."""
DIVERGED = "#b3345a"


def map_figure(maps: Mapping[str, SettingMap]) -> "Figure":
    """Median error in each cell of two hyperparameters, one panel an arm; all panels share the colours.

    A cell where half of the draws diverged is red with a cross, one without draws stays empty.

    Args:
        maps: By arm, from :func:`dashboards.space.maps.setting_map`.
    """
    from plotly.subplots import make_subplots

    arms = sorted(maps)
    columns = 2 if len(arms) == 4 else min(COLUMNS, max(len(arms), 1))
    rows = max(ceil(len(arms) / columns), 1)
    figure = make_subplots(
        rows=rows, cols=columns, horizontal_spacing=0.24 / columns, vertical_spacing=min(0.36 / rows, 0.3)
    )
    figure.update_layout(**base_layout(70 + 290 * rows))
    figure.update_layout(margin_t=34)
    low, high = _colour_range(maps)
    bar = {
        "title": {"text": "median error, %", "side": "right", "font": {"size": FONT_SIZE}},
        "thickness": 12,
        "outlinewidth": 0,
        "len": 0.9,
    }
    figure.update_layout(coloraxis={"colorscale": SCALE, "cmin": low, "cmax": high, "colorbar": bar}, margin_r=90)
    names = short_names(arms)
    for place, arm in enumerate(arms):
        row, column = place // columns + 1, place % columns + 1
        _add_map(figure, (row, column), maps[arm], plot_text(arm), first=column == 1)
        panel_title(figure, names[arm], row, column)
    return figure


def _colour_range(maps: Mapping[str, SettingMap]) -> tuple[float, float]:
    """From the lowest cell to the highest but a tenth: a few hopeless cells must not make all others look the same."""
    cells = np.concatenate([one.median.ravel() for one in maps.values()] or [np.empty(0)])
    cells = cells[np.isfinite(cells)]
    return (float(cells.min()), float(np.quantile(cells, 0.9))) if len(cells) else (0.0, 100.0)


def _add_map(figure: "Figure", place: tuple[int, int], one: SettingMap, arm: str, *, first: bool) -> None:
    from plotly.graph_objects import Heatmap

    row, column = place
    x, y = (plot_text(name.replace("_", " ")) for name in (one.x, one.y))
    finite, diverged = np.isfinite(one.median), np.isposinf(one.median)
    common = {"x": one.x_edges, "y": one.y_edges, "xgap": 1, "ygap": 1, "customdata": one.n}
    hover = f"<b>{arm}</b><br>{x} %{{x:.3g}}, {y} %{{y:.3g}}<br>%{{customdata}} draws, "
    figure.add_trace(
        Heatmap(
            z=np.where(finite, one.median, np.nan),
            coloraxis="coloraxis",
            text=_texts(one.median, finite),
            texttemplate="%{text}",
            hovertemplate=hover + "median %{z:.1f} %<extra></extra>",
            hoverongaps=False,
            **common,
        ),
        row=row,
        col=column,
    )
    if diverged.any():
        figure.add_trace(
            Heatmap(
                z=np.where(diverged, 1.0, np.nan),
                colorscale=[[0, DIVERGED], [1, DIVERGED]],
                showscale=False,
                text=np.where(diverged, "×", ""),
                texttemplate="%{text}",
                hovertemplate=hover + "half of them or more diverged<extra></extra>",
                hoverongaps=False,
                **common,
            ),
            row=row,
            col=column,
        )
    across = logarithmic(one.x_edges) if one.x_logarithmic else {}
    up = logarithmic(one.y_edges) if one.y_logarithmic else {}
    figure.update_xaxes(**axis(x) | across, showgrid=False, row=row, col=column)
    figure.update_yaxes(**axis(y if first else None) | up, showgrid=False, row=row, col=column)


def _texts(median: Any, finite: Any) -> Any:
    return np.array(
        [
            [percent(value) if known else "" for value, known in zip(*pair, strict=True)]
            for pair in zip(median, finite, strict=True)
        ]
    )
