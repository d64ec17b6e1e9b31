"""Two arms compared on the draws that they share."""

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from dashboards.formats import percent, points
from dashboards.paired import clopper_pearson, median, median_interval, paired_gaps, sign_test, wilcoxon_test
from dashboards.selection import STABILITY, ArmDraws, Floats, arms_of, select_draws

BOOTSTRAP_SEED = 20_210_628
"""Seed of the bootstrap where no generator is given, so that a report made twice is the same."""
TOLD_APART = 0.05
"""A sentence says that one arm beats another where the sign test's p-value is below this."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Arm a against arm b on their common draws; a gap is b's error minus a's in points, so positive where a is better.

    A diverged trial is worse than any finite error. Pairs with a side that has no result are counted and left out.
    """

    arm_a: str
    arm_b: str
    n_pairs: int
    """Common draws on which both arms have a result; every other number here is about these."""
    n_missing: int
    """Common draws left out, because one arm or both have no result there (yet)."""
    n_diverged_a: int
    n_diverged_b: int
    wins_a: int
    wins_b: int
    ties: int
    """Equal errors, or both diverged."""
    win_rate: float
    """``wins_a / n_pairs``; a tie is not a win. ``nan`` without pairs."""
    win_rate_interval: tuple[float, float]
    """95 % Clopper-Pearson interval of ``win_rate``."""
    median_gap: float
    """Median over the pairs, points; infinite where most pairs have one diverged side, ``nan`` without pairs."""
    median_gap_interval: tuple[float, float]
    """95 % percentile bootstrap interval over the pairs, points."""
    sign_test_p: float
    """Two-sided sign test, ties left out."""
    wilcoxon_p: float
    """Two-sided Wilcoxon signed-rank test, ties left out; a diverged side ranks above every finite gap."""

    @property
    def winner(self) -> str | None:
        """The arm that wins more pairs, if the sign test tells the two apart; otherwise ``None``."""
        if not self.sign_test_p < TOLD_APART or self.wins_a == self.wins_b:
            return None
        return self.arm_a if self.wins_a > self.wins_b else self.arm_b

    @property
    def sentence(self) -> str:
        """The verdict in one plain sentence, without a full stop."""
        if self.n_pairs == 0:
            return f"{self.arm_a} and {self.arm_b} have no common draw with a result in both"
        swap = self.wins_b > self.wins_a
        better, worse = (self.arm_b, self.arm_a) if swap else (self.arm_a, self.arm_b)
        wins, losses = (self.wins_b, self.wins_a) if swap else (self.wins_a, self.wins_b)
        low, high = self.median_gap_interval
        gap, low, high = (-self.median_gap, -high, -low) if swap else (self.median_gap, low, high)
        if self.winner is None:
            score = f"{wins} to {losses}" + (f", {self.ties} tied" if self.ties else "")
            verdict = f"{better} and {worse} are not told apart by {self.n_pairs} common draws ({score})"
        else:
            verdict = f"{better} beats {worse} on {wins} of {self.n_pairs} common draws"
        return f"{verdict}, median gap {points(gap)} [{percent(low)}, {percent(high)}]" + self._asides()

    def _asides(self) -> str:
        diverged = [
            f"{arm} diverged on {count}"
            for arm, count in ((self.arm_a, self.n_diverged_a), (self.arm_b, self.n_diverged_b))
            if count
        ]
        missing = [f"{self.n_missing} more without a result"] if self.n_missing else []
        asides = "; ".join(diverged + missing)
        return f" ({asides})" if asides else ""


def compare(
    trials: pa.Table,
    arm_a: str,
    arm_b: str,
    phase: str = STABILITY,
    generator: np.random.Generator | None = None,
) -> Comparison:
    """Compares two arms on the draws that both have in ``phase`` (equal draw and replicate: equal unit-cube point).

    Args:
        trials: The trials table.
        arm_a: One arm.
        arm_b: The other.
        phase: Which phase's non-adaptive trials.
        generator: For the bootstrap; a fixed one (:data:`BOOTSTRAP_SEED`) if none is given.

    Raises:
        ValueError: If an arm has no non-adaptive trial in the phase, or both are the same arm.
    """
    if arm_a == arm_b:
        raise ValueError(f"An arm cannot be compared with itself; got {arm_a!r} twice.")
    errors_a, errors_b = common_errors(select_draws(trials, arm_a, phase), select_draws(trials, arm_b, phase))
    known = ~(np.isnan(errors_a) | np.isnan(errors_b))
    return compare_errors(
        errors_a[known],
        errors_b[known],
        labels=(arm_a, arm_b),
        n_missing=int((~known).sum()),
        generator=generator or np.random.default_rng(BOOTSTRAP_SEED),
    )


def compare_errors(
    errors_a: Floats, errors_b: Floats, *, labels: tuple[str, str], n_missing: int, generator: np.random.Generator
) -> Comparison:
    """The same on arrays: ``errors_a[i]`` and ``errors_b[i]`` are one pair, percent, ``+inf`` where diverged."""
    gaps = paired_gaps(errors_a, errors_b)
    wins_a, wins_b = int((gaps > 0).sum()), int((gaps < 0).sum())
    return Comparison(
        arm_a=labels[0],
        arm_b=labels[1],
        n_pairs=len(gaps),
        n_missing=n_missing,
        n_diverged_a=int(np.isposinf(errors_a).sum()),
        n_diverged_b=int(np.isposinf(errors_b).sum()),
        wins_a=wins_a,
        wins_b=wins_b,
        ties=len(gaps) - wins_a - wins_b,
        win_rate=wins_a / len(gaps) if len(gaps) else math.nan,
        win_rate_interval=clopper_pearson(wins_a, len(gaps)),
        median_gap=median(gaps),
        median_gap_interval=median_interval(gaps, generator),
        sign_test_p=sign_test(wins_a, wins_b),
        wilcoxon_p=wilcoxon_test(gaps),
    )


def verdicts(trials: pa.Table, phase: str = STABILITY) -> tuple[list[Comparison], list[Comparison]]:
    """Every pair of models under one optimizer, and every pair of optimizers on one model."""
    arms = arms_of(trials, phase)
    pairs = [(first, second) for i, first in enumerate(arms) for second in arms[i + 1 :]]
    models = [(a.arm, b.arm) for a, b in pairs if a.optimizer == b.optimizer]
    optimizers = [(a.arm, b.arm) for a, b in pairs if a.model == b.model]
    return [compare(trials, a, b, phase) for a, b in models], [compare(trials, a, b, phase) for a, b in optimizers]


def common_errors(first: ArmDraws, second: ArmDraws) -> tuple[Floats, Floats]:
    """Errors of both arms on the draws that both ledgers hold, in the same order (see :class:`ArmDraws`)."""
    places = {draw: place for place, draw in enumerate(second.draws)}
    common = [(i, places[draw]) for i, draw in enumerate(first.draws) if draw in places]
    indices = np.array(common, dtype=np.intp).reshape(-1, 2)
    return first.errors[indices[:, 0]], second.errors[indices[:, 1]]
