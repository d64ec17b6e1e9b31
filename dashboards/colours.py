"""One look per arm, the same in every figure and table of a study."""

from collections.abc import Iterable
from dataclasses import dataclass

from dashboards.selection import ArmName

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito 2008 (colour-blind safe) without black and yellow, which vanish on a dark or a white page."""
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "pentagon")


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmStyle:
    """How an arm is drawn."""

    colour: str
    """``#rrggbb``: by the arm's place among all arms of the study, sorted; repeats after six."""
    dash: str
    """Plotly's name of a line dash: by optimizer."""
    symbol: str
    """Plotly's name of a marker: changes where the colours repeat."""

    def shade(self, opacity: float) -> str:
        """The colour as ``rgba(...)``, for areas."""
        red, green, blue = (int(self.colour[i : i + 2], 16) for i in (1, 3, 5))
        return f"rgba({red}, {green}, {blue}, {opacity})"


def arm_styles(arms: Iterable[ArmName]) -> dict[str, ArmStyle]:
    """The style of each arm, by name. Give all arms of the study, so that a figure of some keeps their colours."""
    ordered = sorted(arms, key=lambda arm: arm.arm)
    optimizers = sorted({arm.optimizer for arm in ordered})
    return {
        arm.arm: ArmStyle(
            colour=PALETTE[place % len(PALETTE)],
            dash=DASHES[optimizers.index(arm.optimizer) % len(DASHES)],
            symbol=SYMBOLS[place // len(PALETTE) % len(SYMBOLS)],
        )
        for place, arm in enumerate(ordered)
    }
