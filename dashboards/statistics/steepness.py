"""How steep an arm's EDF is, in numbers: what the paper's text reads off its figures by eye."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from dashboards.formats import bounded, percent, share
from dashboards.selection import STABILITY, arms_of
from dashboards.statistics.delta import DeltaEdf, Reference, delta_edf
from dashboards.statistics.edf import Edf
from dashboards.statistics.paired import clopper_pearson

MARGINS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Points above the reference for which the share of draws within is given. Doubling; the paper's text speaks of 4."""
AREA_WIDTH = 10.0
"""Points up to which the area is taken: the horizontal axis of the paper's Figures 4 and 5."""
HEADLINE_MARGIN = 4.0
"""The margin of the paper's caption, and of :attr:`Steepness.sentence`."""

CAPTION = (
    "Share of all draws that end at most so many points above the arm's reference (draws that end below it count), "
    "with its 95 % Clopper-Pearson interval, which supposes independent draws and takes the reference as given; area "
    "under the EDF of those deltas up to 10 points as a share of the largest possible: 1 if every draw reached the "
    "reference, 0 if none came within 10 points. Diverged draws count as infinitely bad, missing ones widen "
    "everything."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ShareWithin:
    """The share of an arm's draws that end at most ``margin`` points above its reference."""

    margin: float
    """Points."""
    lower: float
    """Of all draws, missing ones counted as not within."""
    upper: float
    """Missing ones counted as within; equal to ``lower`` when none is missing."""
    interval: tuple[float, float]
    """Exact (Clopper-Pearson) interval of the true share: the low end that goes with ``lower``, the high with
    ``upper``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Steepness:
    """The steepness of one arm: the higher the shares and the area, the less the setting matters."""

    arm: str | None
    n: int
    """Draws in the ledger; all shares are of these."""
    n_diverged: int
    n_missing: int
    reference: Reference
    within: tuple[ShareWithin, ...]
    """One per :data:`MARGINS`, in that order."""
    area: tuple[float, float]
    """Normalised area from 0 to :data:`AREA_WIDTH` points: bounds given the missing trials."""
    median: tuple[float, float]
    """Median delta, points: bounds given the missing trials; ``inf`` where half of the draws diverged."""
    median_interval: tuple[float, float]
    """Distribution-free interval of the true median delta, points."""
    confidence: float
    """Of every interval, each for itself."""

    @property
    def sentence(self) -> str:
        """What the paper reads off a curve, in exact numbers and one sentence without a full stop."""
        if self.reference.value is None:
            return f"{self.arm}: none of {self.n} draws has a result to count from"
        near = next(item for item in self.within if item.margin == HEADLINE_MARGIN)
        low, high = near.interval
        missing = f"; {self.n_missing} without a result" if self.n_missing else ""
        return (
            f"{self.arm}: {_share_between(near.lower, near.upper)} of {self.n} draws end within {HEADLINE_MARGIN:.0f} "
            f"points of the reference [{share(low)}, {share(high)}], median delta {bounded(*self.median)} points "
            f"[{percent(self.median_interval[0])}, {percent(self.median_interval[1])}]{missing}"
        )


def area(edf: Edf, low: float, high: float) -> tuple[float, float]:
    """Area under F from ``low`` to ``high``, divided by ``high - low``: the mean of F there.

    The integral of the step function, exact: a trial of error e adds (high - max(e, low)) / (n (high - low)) where that
    is positive, so it is 1 - mean(clip((e - low) / (high - low), 0, 1)).

    Args:
        edf: The EDF.
        low: Left end, percent (points for a delta EDF).
        high: Right end, above ``low``.

    Returns:
        Lower and upper bound, shares in [0, 1]: missing trials counted as +inf and as -inf; equal when none is missing.

    Raises:
        ValueError: If the ends are not finite or not in order.

    Source: "On Network Design Spaces for Visual Recognition" (arXiv:1905.13214), area up to epsilon with all weights
        equal: 1 - mean(min(1, e / epsilon)) is this from 0 to epsilon. A left end other than 0 and the bounds are our
        own.
    """
    if not (np.isfinite([low, high]).all() and low < high):
        raise ValueError(f"low and high: got {low} and {high}, expected two finite errors, the lower one first.")
    reached = (high - np.clip(edf.errors, low, high)) / (high - low)
    lower = float(reached.sum()) / edf.n
    return lower, lower + edf.n_missing / edf.n


def steepness(delta: DeltaEdf, confidence: float = 0.95) -> Steepness:
    """The steepness of an arm from the EDF of its delta errors. See :data:`CAPTION`.

    The intervals are about the draws: the reference is taken as given. Where it is the lowest error of the same draws
    the shares are of a moving target, and too high; :meth:`dashboards.statistics.delta.DeltaEdf.share_bounds` says what the seeds
    of a mean can do.

    Raises:
        ValueError: If ``confidence`` is not in (0, 1).

    Source: arXiv:2106.14881 section 5.3 and the captions of Figures 4 and 5, which read shares within 4 points off the
        curves (18GF with SGD: about 60 % of the runs with the conv stem, under 20 % with patchify). The other margins,
        the intervals and the median are our own; for the area see :func:`area`.
    """
    return Steepness(
        arm=delta.arm,
        n=delta.n,
        n_diverged=delta.n_diverged,
        n_missing=delta.n_missing,
        reference=delta.reference,
        within=tuple(_share_within(delta, margin, confidence) for margin in MARGINS),
        area=area(delta, 0.0, AREA_WIDTH),
        median=delta.quantile_bounds(0.5),
        median_interval=delta.quantile_interval(0.5, confidence),
        confidence=confidence,
    )


def steepness_table(trials: pa.Table, phase: str = STABILITY, confidence: float = 0.95) -> pa.Table:
    """The steepness of every arm with non-adaptive trials in ``phase``, sorted by arm.

    Returns:
        :data:`STEEPNESS_SCHEMA`: counts of ledger rows, the reference in percent, then for each margin the share of all
        draws within (missing ones not counted), the same with the missing ones counted in (``_upper``) and the ends of
        its interval (``_low``, ``_high``), the area's bounds, and the median's bounds and interval in points. A median
        may be infinite; nothing but the reference and its standard error is null.
    """
    rows = []
    for name in arms_of(trials, phase):
        found = steepness(delta_edf(trials, name.arm, phase), confidence)
        row: dict[str, object] = {
            "arm": name.arm,
            "model": name.model,
            "optimizer": name.optimizer,
            "n": found.n,
            "diverged": found.n_diverged,
            "missing": found.n_missing,
            "reference": found.reference.value,
            "reference_std_error": found.reference.std_error,
            "reference_source": found.reference.source,
        }
        for item in found.within:
            values = (item.lower, item.upper, *item.interval)
            row |= dict(zip(_share_columns(item.margin), values, strict=True))
        row |= dict(zip(_LAST_COLUMNS, (*found.area, *found.median, *found.median_interval), strict=True))
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=STEEPNESS_SCHEMA)


def _share_within(delta: DeltaEdf, margin: float, confidence: float) -> ShareWithin:
    # On counts: 100 * (k / n) may be no whole number, and Clopper-Pearson is about whole ones.
    count = int(np.searchsorted(delta.errors, margin, side="right"))
    return ShareWithin(
        margin=margin,
        lower=count / delta.n,
        upper=(count + delta.n_missing) / delta.n,
        interval=(
            clopper_pearson(count, delta.n, confidence)[0],
            clopper_pearson(count + delta.n_missing, delta.n, confidence)[1],
        ),
    )


def _share_columns(margin: float) -> tuple[str, str, str, str]:
    name = f"share_within_{margin:g}"
    return name, f"{name}_upper", f"{name}_low", f"{name}_high"


def _share_between(lower: float, upper: float) -> str:
    return share(lower) if lower == upper else f"{share(lower)} to {share(upper)}"


_LAST_COLUMNS = ("area_lower", "area_upper", "median_lower", "median_upper", "median_low", "median_high")

STEEPNESS_SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in ("arm", "model", "optimizer")),
        *(pa.field(name, pa.int64()) for name in ("n", "diverged", "missing")),
        pa.field("reference", pa.float64()),
        pa.field("reference_std_error", pa.float64()),
        pa.field("reference_source", pa.string()),
        *(pa.field(name, pa.float64()) for margin in MARGINS for name in _share_columns(margin)),
        *(pa.field(name, pa.float64()) for name in _LAST_COLUMNS),
    ]
)
"""The columns of :func:`steepness_table`."""
