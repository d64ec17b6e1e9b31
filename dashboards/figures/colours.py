"""One look per arm, the same in every figure and table of a study."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dashboards.selection import ArmName

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito 2008 (colour-blind safe) without black and yellow, which vanish on a dark or a white page."""
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "pentagon")


PATTERNS = ("", "/", "x", "-", ".")
"""Fills of bars, in step with the dashes of lines."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmStyle:
    """How an arm is drawn."""

    colour: str
    """``#rrggbb``; two arms of one colour differ in dash and symbol."""
    dash: str
    """Plotly's name of a line dash."""
    symbol: str
    """Plotly's name of a marker."""

    def shade(self, opacity: float) -> str:
        """The colour as ``rgba(...)``, for areas."""
        red, green, blue = (int(self.colour[i : i + 2], 16) for i in (1, 3, 5))
        return f"rgba({red}, {green}, {blue}, {opacity})"

    @property
    def pattern(self) -> str:
        """Plotly's name of a bar's fill: by dash."""
        return PATTERNS[DASHES.index(self.dash)] if self.dash in DASHES else ""


def arm_styles(arms: Iterable[ArmName]) -> dict[str, ArmStyle]:
    """The style of each arm, by name. Give all arms of the study, so that a figure of some keeps their colours.

    Up to six arms have a colour each, and a dash by optimizer. Of more arms those with the same model share a colour (those
    with the same optimizer, where there are more optimizers than models) and differ in dash and symbol.
    """
    ordered = sorted(arms, key=lambda arm: arm.arm)
    optimizers = sorted({arm.optimizer for arm in ordered})
    if len(ordered) <= len(PALETTE):
        places = [(place, optimizers.index(arm.optimizer), 0) for place, arm in enumerate(ordered)]
    else:
        places = _crowded(ordered, optimizers)
    return {
        arm.arm: ArmStyle(
            colour=PALETTE[colour % len(PALETTE)],
            dash=DASHES[dash % len(DASHES)],
            symbol=SYMBOLS[symbol % len(SYMBOLS)],
        )
        for arm, (colour, dash, symbol) in zip(ordered, places, strict=True)
    }


def _crowded(ordered: Sequence[ArmName], optimizers: Sequence[str]) -> list[tuple[int, int, int]]:
    """Places of colour, dash and symbol for more arms than colours."""
    models = sorted({arm.model for arm in ordered})
    by_model = len(models) >= len(optimizers)
    shared = len(optimizers) if by_model else len(models)
    places = []
    for arm in ordered:
        model, optimizer = models.index(arm.model), optimizers.index(arm.optimizer)
        colour, other = (model, optimizer) if by_model else (optimizer, model)
        # Where colours repeat, so that no two arms of one colour look the same.
        look = other + shared * (colour // len(PALETTE))
        places.append((colour, look, look))
    return places
