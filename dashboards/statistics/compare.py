"""Two arms compared on the draws that they share."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dashboards.formats import percent, points
from dashboards.selection import STABILITY, ArmDraws, Floats, arms_of, select_draws
from dashboards.statistics.holm import holm
from dashboards.statistics.paired import clopper_pearson, median, median_interval, paired_gaps, sign_test, wilcoxon_test
from dashboards.statistics.unpaired import TOLD_APART, UnpairedComparison, compare_unpaired_errors

BOOTSTRAP_SEED = 20_210_628
"""Seed of the bootstrap where no generator is given, so that a report made twice is the same."""
MIN_PAIRS = 2
"""With fewer common draws that have a result in both arms, :func:`verdicts` compares two arms without pairing."""


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
    superiority: float
    """P(a better) + P(tie) / 2 on a common draw: ``(wins_a + ties / 2) / n_pairs``. ``nan`` without pairs."""
    superiority_interval: tuple[float, float]
    """95 % interval of ``superiority``, see :func:`superiority_interval`."""
    median_gap: float
    """Median over the pairs, points; infinite where most pairs have one diverged side, ``nan`` without pairs."""
    median_gap_interval: tuple[float, float]
    """95 % percentile bootstrap interval over the pairs, points."""
    sign_test_p: float
    """Two-sided sign test, ties left out."""
    wilcoxon_p: float
    """Two-sided Wilcoxon signed-rank test, ties left out; a diverged side ranks above every finite gap."""
    holm_p: float | None = None
    """``sign_test_p`` corrected for all comparisons that were made together; ``None`` if it was made alone, or without
    pairs."""

    @property
    def decision_p(self) -> float:
        """The p-value that decides: the corrected one where there is one."""
        return self.sign_test_p if self.holm_p is None else self.holm_p

    @property
    def winner(self) -> str | None:
        """The arm that wins more pairs, if the sign test tells the two apart; otherwise ``None``."""
        if not self.decision_p < TOLD_APART or self.wins_a == self.wins_b:
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


Verdict = Comparison | UnpairedComparison
"""Both have ``arm_a``, ``arm_b``, ``superiority``, ``superiority_interval``, ``decision_p``, ``holm_p``, ``winner`` and
``sentence``."""


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
    generator = generator or np.random.default_rng(BOOTSTRAP_SEED)
    return _compare_draws(select_draws(trials, arm_a, phase), select_draws(trials, arm_b, phase), generator)


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
        superiority=_superiority(wins_a, wins_b, len(gaps)),
        superiority_interval=superiority_interval(wins_a, wins_b, len(gaps)),
        median_gap=median(gaps),
        median_gap_interval=median_interval(gaps, generator),
        sign_test_p=sign_test(wins_a, wins_b),
        wilcoxon_p=wilcoxon_test(gaps),
    )


def superiority_interval(wins_a: int, wins_b: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of P(a better) + P(tie) / 2 from ``n`` pairs: Clopper-Pearson's, a tie being half a success.

    Without ties this is exact. A tie decided by a fair coin would be a success with probability 1/2, so the number of
    successes would be Binomial(n, superiority) and the interval exact as well; half a success is the coin's mean, and
    varies less. Measured level at 95 %: at least 96 % for n of 8 to 64, near 100 % where most pairs are ties (5,000
    samples each).

    Returns:
        Low and high end; (0, 1) without pairs.

    Source: Clopper and Pearson 1934; the half ties are our own.
    """
    return clopper_pearson(wins_a + (n - wins_a - wins_b) / 2, n, confidence)


def verdicts(trials: pa.Table, phase: str = STABILITY) -> tuple[list[Verdict], list[Verdict]]:
    """Every pair of models under one optimizer, and every pair of optimizers on one model.

    All these comparisons are one family: their p-values (the sign test's, or Mann-Whitney's for unpaired ones) are
    corrected together by Holm's method, and winners and sentences go by the corrected ones. So the probability that any
    of the sentences names a winner although the two arms are equal is 5 % at most, for independent draws. A pair
    without results is no test and not in the family.

    Two arms that share fewer than :data:`MIN_PAIRS` draws with a result in both are compared without pairing, if both
    have results at all.
    """
    arms = arms_of(trials, phase)
    draws = {name.arm: select_draws(trials, name.arm, phase) for name in arms}
    pairs = [(first, second) for i, first in enumerate(arms) for second in arms[i + 1 :]]
    models = [(a.arm, b.arm) for a, b in pairs if a.optimizer == b.optimizer]
    optimizers = [(a.arm, b.arm) for a, b in pairs if a.model == b.model]
    family = corrected([_verdict(draws[a], draws[b]) for a, b in models + optimizers])
    return family[: len(models)], family[len(models) :]


def corrected(family: list[Verdict]) -> list[Verdict]:
    """The same comparisons with Holm-corrected p-values; the family is all of them that have results."""
    adjusted = holm([_own_p(item) for item in family])
    return [replace(item, holm_p=None if math.isnan(p) else float(p)) for item, p in zip(family, adjusted, strict=True)]


def _own_p(item: Verdict) -> float:
    if isinstance(item, Comparison):
        return item.sign_test_p if item.n_pairs else math.nan
    return item.mann_whitney_p if item.n_a and item.n_b else math.nan


def _verdict(first: ArmDraws, second: ArmDraws) -> Verdict:
    paired = _compare_draws(first, second, np.random.default_rng(BOOTSTRAP_SEED))
    if paired.n_pairs >= MIN_PAIRS:
        return paired
    unpaired = compare_unpaired_errors(first.errors, second.errors, labels=(first.arm, second.arm))
    return unpaired if unpaired.n_a and unpaired.n_b else paired


def _compare_draws(first: ArmDraws, second: ArmDraws, generator: np.random.Generator) -> Comparison:
    errors_a, errors_b = common_errors(first, second)
    known = ~(np.isnan(errors_a) | np.isnan(errors_b))
    return compare_errors(
        errors_a[known],
        errors_b[known],
        labels=(first.arm, second.arm),
        n_missing=int((~known).sum()),
        generator=generator,
    )


def _superiority(wins_a: int, wins_b: int, n: int) -> float:
    return (wins_a + (n - wins_a - wins_b) / 2) / n if n else math.nan


def common_errors(first: ArmDraws, second: ArmDraws) -> tuple[Floats, Floats]:
    """Errors of both arms on the draws that both ledgers hold, in the same order (see :class:`ArmDraws`)."""
    places = pc.index_in(first.draws, value_set=second.draws)
    common = places.is_valid().to_numpy(zero_copy_only=False)
    return first.errors[common], second.errors[places.drop_null().to_numpy()]
