"""The spread over seeds: trainings that differ in nothing but their seed. Pure functions on arrays."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dashboards.selection import Floats

CONFIDENCE = 0.95
"""Of every interval over seeds that a table shows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SeedSpread:
    """Errors of trainings that differ in their seed alone; numbers in percent, over the completed ones."""

    n: int
    """Seeds asked for."""
    completed: int
    diverged: int
    """In no mean, which makes the rest look better."""
    missing: int
    """Without a result (yet)."""
    mean: float | None
    """``None`` where none completed."""
    lowest: float | None
    highest: float | None
    std: float | None
    """Standard deviation of a seed, with ``completed - 1`` in the denominator; ``None`` with fewer than two."""
    std_error: float | None
    """Of the mean: ``std / sqrt(completed)``."""
    low: float | None
    """Lower end of the interval of the mean; see :func:`t_interval`."""
    high: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SeedGap:
    """The difference of two means over seeds, points."""

    gap: float | None
    """Mean of b minus mean of a; ``None`` where a seed of one of them did not complete, or there is none."""
    low: float | None
    """Lower end of the interval of ``gap``; ``None`` where it is not known."""
    high: float | None
    paired: bool
    """Whether the interval comes from differences seed by seed."""


NO_GAP = SeedGap(gap=None, low=None, high=None, paired=False)


def seed_spread(errors: Floats, confidence: float = CONFIDENCE) -> SeedSpread:
    """Counts, mean and spread of ``errors`` in percent, shape ``(n,)``: ``+inf`` diverged, ``nan`` no result."""
    completed = errors[np.isfinite(errors)]
    some = len(completed) > 0
    std = float(completed.std(ddof=1)) if len(completed) > 1 else None
    low, high = t_interval(completed, confidence)
    return SeedSpread(
        n=len(errors),
        completed=len(completed),
        diverged=int(np.isposinf(errors).sum()),
        missing=int(np.isnan(errors).sum()),
        mean=float(completed.mean()) if some else None,
        lowest=float(completed.min()) if some else None,
        highest=float(completed.max()) if some else None,
        std=std,
        std_error=None if std is None else std / math.sqrt(len(completed)),
        low=low,
        high=high,
    )


def t_interval(values: Floats, confidence: float = CONFIDENCE) -> tuple[float | None, float | None]:
    """Interval of the mean of finite ``values``, shape ``(n,)``: mean -+ t(n - 1) std / sqrt(n).

    Returns:
        Both ends, or ``(None, None)`` of fewer than two values, and of values that are all equal: they say nothing
        about the spread.

    Source: Student 1908; valid for errors that are normal over seeds.
    """
    n = len(values)
    if n < 2 or np.ptp(values) == 0:
        return None, None
    half = _t(n - 1, confidence) * float(values.std(ddof=1)) / math.sqrt(n)
    return float(values.mean()) - half, float(values.mean()) + half


def welch_interval(a: Floats, b: Floats, confidence: float = CONFIDENCE) -> tuple[float | None, float | None]:
    """Interval of mean(b) - mean(a) of finite, independent values, shapes ``(n_a,)`` and ``(n_b,)``.

    With few values of very different numbers or spreads it is too narrow: with 2 of the wider kind and 5 of the
    narrower a 95 % interval covers 90 % only.

    Returns:
        Both ends, or ``(None, None)`` where one side has fewer than two values, or neither has a spread.

    Source: Welch 1947, with Satterthwaite's degrees of freedom.
    """
    if min(len(a), len(b)) < 2 or np.ptp(a) == np.ptp(b) == 0:
        return None, None
    parts = [float(values.var(ddof=1)) / len(values) for values in (a, b)]
    total = sum(parts)
    freedom = total**2 / sum(part**2 / (len(values) - 1) for part, values in zip(parts, (a, b), strict=True))
    half = _t(freedom, confidence) * math.sqrt(total)
    gap = float(b.mean()) - float(a.mean())
    return gap - half, gap + half


def seed_gap(
    errors_a: Floats,
    errors_b: Floats,
    seeds_a: npt.NDArray[Any],
    seeds_b: npt.NDArray[Any],
    confidence: float = CONFIDENCE,
) -> SeedGap:
    """How far b ends above a on average over seeds, with the interval that the spread of the seeds gives.

    Where both have the same seeds, each once, the interval is the t interval of the differences seed by seed, as a seed
    has the same initial weights and order of images in both; otherwise it is Welch's.

    Args:
        errors_a: Percent, shape ``(n_a,)``: ``+inf`` diverged, ``nan`` no result.
        errors_b: The same of b, shape ``(n_b,)``.
        seeds_a: The seed of each of ``errors_a``, ``nan`` where it is not known.
        seeds_b: The same of b.
        confidence: Of the interval.
    """
    if not (len(errors_a) and len(errors_b) and np.isfinite(errors_a).all() and np.isfinite(errors_b).all()):
        return NO_GAP
    order_a, order_b = np.argsort(seeds_a, kind="stable"), np.argsort(seeds_b, kind="stable")
    # A seed that is not known is nan and so unequal to every other.
    paired = np.array_equal(seeds_a[order_a], seeds_b[order_b]) and len(np.unique(seeds_a)) == len(seeds_a)
    if paired:
        low, high = t_interval(errors_b[order_b] - errors_a[order_a], confidence)
    else:
        low, high = welch_interval(errors_a, errors_b, confidence)
    return SeedGap(gap=float(errors_b.mean()) - float(errors_a.mean()), low=low, high=high, paired=paired)


def _t(freedom: float, confidence: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + confidence) / 2))
