"""Ranks, and how certain they are. Pure functions on arrays."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dashboards.selection import Floats
from dashboards.statistics.holm import holm
from dashboards.statistics.seeds import CONFIDENCE

Ints = npt.NDArray[np.int64]

NUM_RESAMPLES = 2_000
_TOP = 20
"""A resample without any of the best 20 draws of an arm has a chance of e**-20, 2e-9."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RankRange:
    """A rank, 1 the best, and between which ranks it may be; all ``None`` where there is nothing to rank by."""

    rank: int | None = None
    """One more than the number of others that are lower; equals share it."""
    low: int | None = None
    high: int | None = None


def mean_ranks(errors: Sequence[Floats], confidence: float = CONFIDENCE) -> list[RankRange]:
    """Ranks by the mean over seeds, with an interval for each.

    Of arm j the interval is [1 + arms surely better than j, arms - arms surely worse than j]. "Surely": the one-sided
    t-tests of j's mean against each other mean, in both directions, with Holm's correction over the 2 (arms - 1) of
    them. The tests use both variances as they are and min(n_j, n_k) - 1 degrees of freedom; Welch's are not few enough
    far out in the tails. So each interval contains the arm's true rank with probability ``confidence`` or more, if
    errors are normal over seeds; several intervals hold at once less often.

    Seeds of different arms count as independent. An arm with one seed, or whose seeds and the other's all ended alike,
    is not separated from any other: one cannot know how far another seed would have been. The same is true of an arm
    with a missing seed. An arm with a diverged seed is never surely better; its completed seeds may show that it is worse.

    Args:
        errors: Of each arm the errors of its seeds in percent, ``+inf`` diverged, ``nan`` no result.
        confidence: Of each interval, in (0, 1).

    Returns:
        One entry an arm. An arm without a completed seed has no rank and is not counted in those of the others.

    Source: Mogstad, Romano, Shaikh and Wilhelm 2024, "Inference for Ranks ...", Review of Economic Studies 91(1), for
        intervals of ranks from tests of all differences; Holm 1979; the degrees of freedom by Mickey and Brown 1966,
        "Bounds on the distribution functions of the Behrens-Fisher statistic", Annals of Mathematical Statistics 37(3).
    """
    finite = [values[np.isfinite(values)] for values in errors]
    ranked = [place for place, values in enumerate(finite) if len(values)]
    if not ranked:
        return [RankRange() for _ in errors]
    means = np.array([finite[place].mean() for place in ranked])
    above = _surely_above([errors[place] for place in ranked], means, 1 - confidence)
    ranges = [RankRange() for _ in errors]
    for row, place in enumerate(ranked):
        ranges[place] = RankRange(
            rank=1 + int((means < means[row]).sum()),
            low=1 + int(above[row, 0].sum()),
            high=len(ranked) - int(above[row, 1].sum()),
        )
    return ranges


def _surely_above(errors: Sequence[Floats], means: Floats, alpha: float) -> npt.NDArray[np.bool_]:
    """Shape ``(arms, 2, arms)``: for each arm j, whether j is surely worse than k, and whether k is surely worse than j."""
    from scipy.special import stdtr

    numbers = np.array([np.isfinite(values).sum() for values in errors])
    whole = np.array([bool(np.isfinite(values).all()) for values in errors])
    known = np.array([not np.isnan(values).any() for values in errors])
    squares = [_squared_error(values[np.isfinite(values)]) for values in errors]
    scale = np.sqrt(np.add.outer(squares, squares))
    fewest = np.minimum.outer(numbers, numbers)
    # The lower one needs all its seeds; of the higher one some may have diverged, which makes it higher still.
    tested = (scale > 0) & (fewest > 1) & known[:, None] & whole[None, :] & ~np.eye(len(means), dtype=np.bool_)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.subtract.outer(means, means) / scale
    p = np.where(tested, stdtr(np.maximum(fewest - 1, 1), -np.where(tested, statistic, 0.0)), np.nan)
    families = [np.concatenate([p[row], p[:, row]]) for row in range(len(means))]
    # A test that could not be made stays nan, which is not below alpha.
    return np.stack([(holm(family) <= alpha).reshape(2, -1) for family in families])


def _squared_error(values: Floats) -> float:
    """Of the mean; exactly 0 for equal values, ``nan`` for fewer than two."""
    if len(values) < 2:
        return math.nan
    return float(values.var(ddof=1)) / len(values) if np.ptp(values) else 0.0


def best_ranks(
    errors: Sequence[Floats],
    draws: Sequence[Ints],
    generator: np.random.Generator,
    *,
    confidence: float = CONFIDENCE,
    resamples: int = NUM_RESAMPLES,
) -> list[RankRange]:
    """Ranks by the lowest error among an arm's draws, with the ranks that come out of resampled draws.

    A resample takes as many draws as there are, with replacement, the same ones in every arm. The range has the
    middle ``confidence`` of the ranks, and always the rank itself. It shows how much the order hangs on single lucky draws.
    It is no confidence interval: a resample never has an error below the lowest that was seen. An arm with
    one draw has the whole range.

    Args:
        errors: Of each arm the errors of its draws in percent, ``+inf`` diverged, ``nan`` no result.
        draws: Of each arm the numbers of its draws: equal numbers are the same draw, from 0.
        generator: Draws the resamples.
        confidence: Share of resamples within the range, in (0, 1).
        resamples: How many.

    Returns:
        One entry an arm; an arm without a completed draw has no rank.

    Source: Efron 1979 (bootstrap). The use on ranks is described in Goldstein and Spiegelhalter 1996, "League tables and
        their limitations", Journal of the Royal Statistical Society A 159(3).
    """
    tops = [np.argsort(values, kind="stable")[: min(_TOP, int(np.isfinite(values).sum()))] for values in errors]
    ranked = [place for place, top in enumerate(tops) if len(top)]
    ranges = [RankRange() for _ in errors]
    if not ranked:
        return ranges
    observed = np.array([errors[place][tops[place][0]] for place in ranked])
    number = len(np.unique(np.concatenate(list(draws))))
    bests = _resampled_bests(
        [(errors[place][tops[place]], draws[place][tops[place]]) for place in ranked], number, generator, resamples
    )
    tail = int((1 - confidence) / 2 * (resamples - 1))
    for row, place in enumerate(ranked):
        rank = 1 + int((observed < observed[row]).sum())
        found = np.sort(1 + (bests < bests[row]).sum(axis=0))
        alone = len(errors[place]) == 1
        ranges[place] = RankRange(
            rank=rank,
            low=1 if alone else min(rank, int(found[tail])),
            high=len(ranked) if alone else max(rank, int(found[resamples - 1 - tail])),
        )
    return ranges


def _resampled_bests(
    tops: Sequence[tuple[Floats, Ints]], number: int, generator: np.random.Generator, resamples: int
) -> Floats:
    """The lowest error of each arm in each resample of ``number`` draws, shape ``(arms, resamples)``; ``inf`` if none.

    Only draws among some arm's best can matter, so only these are drawn by name, the others as one.
    """
    names = np.unique(np.concatenate([draws for _, draws in tops]))
    shares = np.append(np.full(len(names), 1 / number), max(0.0, 1 - len(names) / number))
    present = generator.multinomial(number, shares, size=resamples)[:, :-1] > 0
    bests = np.full((len(tops), resamples), np.inf)
    for row, (errors, draws) in enumerate(tops):
        drawn = present[:, np.searchsorted(names, draws)]
        bests[row] = np.where(drawn.any(axis=1), errors[np.argmax(drawn, axis=1)], np.inf)
    return bests


def best_of_new_draws(errors: Floats, confidence: float = CONFIDENCE) -> float | None:
    """The error that the best of as many new draws reaches or falls below with probability ``confidence``, percent.

    It is the k-th lowest error. All k lowest of the n old and n new draws together are old ones with probability
    prod_{i<k} (n - i) / (2n - i), whatever the distribution; k is the smallest number that makes this at most
    1 - ``confidence`` (5 for 0.95 and large n). A bound from below does not exist: the best of the new draws
    is lower than the best of the old ones every second time.

    Args:
        errors: Percent, shape ``(n,)``: ``+inf`` diverged, ``nan`` no result, which counts as ``+inf``.
        confidence: In (0, 1).

    Returns:
        The bound, ``inf`` where it is not among the completed draws; ``None`` of too few draws (fewer than 3 for 0.95).

    Source: own, from the exchangeability of independent draws (a distribution-free prediction bound, as in Wilks 1941).
    """
    n = len(errors)
    chance = 1.0
    for k in range(n):
        chance *= (n - k) / (2 * n - k)
        if chance <= (1 - confidence) * (1 + 1e-12):
            ordered = np.sort(np.where(np.isnan(errors), math.inf, errors))
            return float(ordered[k])
    return None
