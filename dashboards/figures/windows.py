"""Which range of errors a panel of EDFs shows, and how much lies outside it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dashboards.statistics.delta import DeltaEdf
from dashboards.statistics.edf import Edf

PAPER_DELTA = 10.0
"""Right end of the paper's panels of delta errors, points."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """A horizontal range of errors: all that is drawn, and the part of it that is in view at first."""

    left: float
    right: float
    shown_left: float
    shown_right: float
    share_beyond: float
    """Share of the completed draws that lie to the right of the view."""


def error_window(edfs: Sequence[Edf]) -> Window:
    """From a little below the lowest to a little above the highest error; 0 to 100 where there is none. Percent."""
    values = np.concatenate([edf.errors for edf in edfs]) if edfs else np.empty(0)
    low, high = (values.min(), values.max()) if len(values) else (0.0, 100.0)
    margin = 0.03 * max(high - low, 1.0)
    left, right = max(float(low - margin), 0.0), float(high + margin)
    return Window(left=left, right=right, shown_left=left, shown_right=right, share_beyond=0.0)


def delta_window(deltas: Sequence[DeltaEdf]) -> Window:
    """All delta errors with the reference itself; in view up to :data:`PAPER_DELTA` points where more than half lie there.

    Source: the range is that of Figures 4 and 5 of arXiv:2106.14881.
    """
    values = np.concatenate([delta.errors for delta in deltas]) if deltas else np.empty(0)
    low, high = (min(values.min(), 0.0), max(values.max(), 0.0)) if len(values) else (0.0, 100.0)
    margin = 0.03 * max(high - low, 1.0)
    left, right = float(low - margin), float(high + margin)
    near = values <= PAPER_DELTA
    if not len(values) or near.all() or near.mean() <= 0.5:
        return Window(left=left, right=right, shown_left=left, shown_right=right, share_beyond=0.0)
    # A few draws far below the reference must not squeeze the rest.
    shown_left = float(low - 0.03 * (PAPER_DELTA - low))
    return Window(
        left=left, right=right, shown_left=shown_left, shown_right=PAPER_DELTA, share_beyond=float(1 - near.mean())
    )
