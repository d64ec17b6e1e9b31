"""What all figures share: fonts, axes, legends that fit long names, the look of bands."""

from collections.abc import Mapping, Sequence
from math import ceil, floor, inf, log10
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dashboards.figures.colours import ArmStyle, arm_styles
from dashboards.formats import elided_names, plot_text
from dashboards.selection import ArmName

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

INK, GRID = "#5b6270", "rgba(128, 136, 150, 0.25)"
"""Text and grid lines that can be read on a white and on a dark page."""
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
FONT_SIZE = 13
"""Pixels."""
BAND_OPACITY = 0.12
"""Of each arm's area where there are up to four; less where there are more, or they add up to grey."""
FEW_DECADES = 2.0
"""Up to so many a log axis is labelled in full (0.001, 0.003, 0.01): powers of ten alone would be one or two labels."""
_SUFFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
LEGEND_ROW, LEGEND_WIDTH = 25, 900
"""Height of a row of the legend, and the width it has on a desktop's screen, pixels."""
LEGEND_MARK, CHARACTER = 54, 7.2
"""Width of the line before a legend's text with the space around it, and of a character, pixels."""


def base_layout(plot_height: int, entries: Sequence[str] = ()) -> dict[str, Any]:
    """The common layout; the figure grows with its legend, not the plot.

    Args:
        plot_height: Of everything above the legend, pixels.
        entries: The texts of the legend, which decide how many columns it has; none: no legend.
    """
    width = entry_width(entries)
    return {
        "template": "none",
        "height": plot_height + LEGEND_ROW * legend_rows(len(entries), width, LEGEND_WIDTH),
        "margin": {"l": 64, "r": 16, "t": 16, "b": 56},
        "paper_bgcolor": "rgba(0, 0, 0, 0)",
        "plot_bgcolor": "rgba(0, 0, 0, 0)",
        "font": {"family": FONT, "size": FONT_SIZE, "color": INK},
        "hovermode": "closest",
        "hoverlabel": {
            "bgcolor": "#20242c",
            "bordercolor": "#20242c",
            "namelength": -1,
            "font": {"color": "#ffffff", "family": FONT},
        },
        "showlegend": bool(entries),
        "legend": {
            "orientation": "h",
            "yref": "container",
            "y": 0,
            "yanchor": "bottom",
            "x": 0,
            "itemwidth": 44,
            "entrywidth": width,
            # Pixels: never a legend that has to be scrolled.
            "maxheight": 10_000,
            "tracegroupgap": 0,
        },
        # The page redraws figures for narrow screens and paper from this: the height without the legend.
        "meta": {"plot_height": plot_height},
    }


def entry_width(entries: Sequence[str]) -> int:
    """Pixels of the longest text; of the whole row where two columns would not fit side by side."""
    longest = max(100.0, *(CHARACTER * len(entry) for entry in entries)) if entries else 100.0
    return ceil(longest if longest + LEGEND_MARK <= LEGEND_WIDTH / 2 else LEGEND_WIDTH - LEGEND_MARK)


def legend_rows(entries: int, width: int, available: int) -> int:
    """Rows of a legend with texts of ``width`` on ``available`` pixels."""
    return ceil(entries / max(available // (width + LEGEND_MARK), 1))


def axis(title: str | None) -> dict[str, Any]:
    """The common axis."""
    return {
        "title": {"text": title, "standoff": 10, "font": {"size": FONT_SIZE}},
        "exponentformat": "power",
        "automargin": True,
        "gridcolor": GRID,
        "linecolor": GRID,
        "showline": True,
        "zeroline": False,
        "ticks": "outside",
        "tickcolor": GRID,
        "ticklen": 4,
    }


def logarithmic(values: npt.ArrayLike, labels: int = 4, words: str = "power") -> dict[str, Any]:
    """A log axis over positive ``values``: few enough labels that none is turned, decades where there are some.

    Args:
        values: What is drawn over it.
        labels: About so many decades are labelled at most.
        words: Plotly's ``exponentformat``: ``power`` (10⁻³) or ``SI`` (5M).
    """
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known) & (known > 0)]
    # Not the logarithm of the ratio, which overflows.
    decades = log10(known.max()) - log10(known.min()) if len(known) else 0.0
    look: dict[str, Any] = {"type": "log", "tickangle": 0, "exponentformat": words}
    if len(known) and decades <= FEW_DECADES:
        ticks = _between(float(known.min()), float(known.max()), (1, 2, 5) if decades < 0.8 else (1, 3))
        return look | {"tickvals": ticks, "ticktext": [_tick(value, words) for value in ticks]}
    # Plotly writes powers of ten a quarter larger than other labels.
    size = {"tickfont": {"size": FONT_SIZE / 1.25}} if words == "power" else {}
    return look | size | {"dtick": ceil(decades / labels)}


def _between(low: float, high: float, steps: Sequence[int]) -> list[float]:
    """``steps`` of each decade from a little below ``low`` to a little above ``high``."""
    powers = range(floor(log10(low)) - 1, ceil(log10(high)) + 1)
    values = [float(f"{first}e{power}") for power in powers for first in steps]
    return [value for value in values if low / 1.5 <= value <= high * 1.5 and 0 < value < inf]


def _tick(value: float, words: str) -> str:
    if words != "SI":
        return f"{value:g}" if value >= 2e-4 else f"{value:.0e}".replace("e-0", "e-")
    scale, suffix = next(((scale, suffix) for scale, suffix in _SUFFIXES if value >= scale), (1.0, ""))
    return f"{value / scale:g}{suffix}"


def powers_of_two(values: Sequence[float]) -> dict[str, Any]:
    """A base-2 axis that is labelled at ``values``: training lengths, numbers of trials."""
    ticks = sorted(set(values))
    return {"type": "log", "tickvals": ticks, "ticktext": [f"{value:g}" for value in ticks], "minor": {"ticks": ""}}


def panel_title(figure: "Figure", text: str, row: int, column: int) -> None:
    """Writes ``text`` above a panel; it moves with the panel where the page puts panels one below the other."""
    subplot = figure.get_subplot(row, column)
    figure.add_annotation(
        text=text,
        x=0.5,
        xref=f"{subplot.xaxis.plotly_name.replace('axis', '')} domain",
        xanchor="center",
        y=1.0,
        yref=f"{subplot.yaxis.plotly_name.replace('axis', '')} domain",
        yanchor="bottom",
        showarrow=False,
        font_size=FONT_SIZE,
    )


def short_names(arms: Sequence[str]) -> dict[str, str]:
    """For legends: each arm's name, long ones with their middle left out, still different from each other."""
    return {arm: plot_text(name) for arm, name in elided_names(arms).items()}


def styles_of_labels(labels: Sequence[str]) -> dict[str, ArmStyle]:
    """Styles where only labels are known: by convention ``model/optimizer``."""
    return arm_styles([ArmName(arm=label, model=label, optimizer=label.rpartition("/")[2]) for label in set(labels)])


def completed_styles(styles: Mapping[str, ArmStyle] | None, labels: Sequence[str]) -> Mapping[str, ArmStyle]:
    """``styles``, or where a label has none, styles made from the labels."""
    return styles if styles and all(label in styles for label in labels) else styles_of_labels(labels)


def band_opacity(arms: int) -> float:
    """How strongly each of ``arms`` areas is filled."""
    return BAND_OPACITY * min(1.0, 4 / max(arms, 1))
