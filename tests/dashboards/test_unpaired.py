"""Arms without common draws: against scipy, against all pairings, levels by simulation, sentences."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dashboards.statistics.unpaired import (
    UnpairedComparison,
    cliffs_delta,
    cliffs_delta_interval,
    compare_unpaired,
    compare_unpaired_errors,
    kolmogorov_smirnov,
    mann_whitney,
)
from dashboards.tables import TrialRecord, build_trials

INF = math.inf
outcomes = st.one_of(st.integers(0, 30).map(float), st.just(INF))
samples = st.lists(outcomes, min_size=1, max_size=15)


def unpaired(errors_a: Sequence[float], errors_b: Sequence[float]) -> UnpairedComparison:
    a, b = np.array(errors_a, dtype=float), np.array(errors_b, dtype=float)
    return compare_unpaired_errors(a, b, labels=("a/sgd", "b/sgd"))


@given(samples, samples)
def test_cliffs_delta_counts_all_pairings(errors_a: list[float], errors_b: list[float]) -> None:
    signs = [(b > a) - (b < a) for a in errors_a for b in errors_b]
    delta = cliffs_delta(np.array(errors_a), np.array(errors_b))
    assert delta == pytest.approx(float(np.mean(signs)), abs=1e-12)
    low, high = cliffs_delta_interval(np.array(errors_a), np.array(errors_b))
    assert -1 <= low <= delta + 1e-12
    assert delta - 1e-12 <= high <= 1
    assert low < high


@given(samples, samples)
def test_swapping_the_arms_mirrors_the_result(errors_a: list[float], errors_b: list[float]) -> None:
    one, other = unpaired(errors_a, errors_b), unpaired(errors_b, errors_a)
    assert one.cliffs_delta == pytest.approx(-other.cliffs_delta, abs=1e-12)
    low, high = other.cliffs_delta_interval
    assert one.cliffs_delta_interval == pytest.approx((-high, -low), abs=1e-9)
    assert one.superiority == pytest.approx(1 - other.superiority, abs=1e-12)
    assert one.mann_whitney_p == pytest.approx(other.mann_whitney_p)
    assert (one.ks_statistic, one.ks_p) == pytest.approx((other.ks_statistic, other.ks_p))
    assert one.winner == other.winner or {one.winner, other.winner} == {"a/sgd", "b/sgd"}


@given(samples, samples)
def test_does_not_depend_on_the_scale(errors_a: list[float], errors_b: list[float]) -> None:
    one = unpaired(errors_a, errors_b)
    other = unpaired(np.exp(np.array(errors_a)).tolist(), np.exp(np.array(errors_b)).tolist())
    assert (one.cliffs_delta, one.cliffs_delta_interval) == (other.cliffs_delta, other.cliffs_delta_interval)
    assert (one.mann_whitney_p, one.ks_statistic, one.ks_p) == (other.mann_whitney_p, other.ks_statistic, other.ks_p)


@pytest.mark.parametrize(("n_a", "n_b"), [(8, 7), (30, 41), (400, 300)])
def test_tests_equal_scipy(n_a: int, n_b: int) -> None:
    generator = np.random.default_rng(n_a)
    a, b = generator.normal(30.0, 3.0, n_a), generator.normal(31.0, 4.0, n_b)
    reference = stats.ks_2samp(a, b)
    assert kolmogorov_smirnov(a, b) == pytest.approx((reference.statistic, reference.pvalue))
    result = stats.mannwhitneyu(a, b)
    assert mann_whitney(a, b) == pytest.approx(result.pvalue)
    # scipy's U counts the pairings in which a is larger.
    assert cliffs_delta(a, b) == pytest.approx(1 - 2 * result.statistic / (n_a * n_b))
    # Diverged draws are tied with each other above all finite errors: any number up there does.
    a[:3], b[:5] = INF, INF
    finite_a, finite_b = np.minimum(a, 1e6), np.minimum(b, 1e6)
    reference = stats.ks_2samp(finite_a, finite_b)
    assert kolmogorov_smirnov(a, b) == pytest.approx((reference.statistic, reference.pvalue))
    assert mann_whitney(a, b) == pytest.approx(stats.mannwhitneyu(finite_a, finite_b).pvalue)


@pytest.mark.parametrize("n", [1, 2, 5, 7, 15, 400])
def test_equal_samples_are_as_likely_as_can_be(n: int) -> None:
    generator = np.random.default_rng(n)
    values = generator.random(2 * n)
    # One or two steps apart at most: the exact p-value is 1 or rounds to it.
    ordered = np.sort(values)
    statistic, p = kolmogorov_smirnov(ordered[::2], ordered[1::2])
    assert statistic == 1 / n
    assert p == 1.0
    assert kolmogorov_smirnov(values, values) == (0.0, 1.0)


def test_many_draws_have_the_limit_of_kolmogorov_and_smirnov() -> None:
    generator = np.random.default_rng(4)
    a, b = generator.normal(0.0, 1.0, 1_500), generator.normal(0.05, 1.0, 1_700)
    statistic, p = kolmogorov_smirnov(a, b)
    assert statistic == pytest.approx(stats.ks_2samp(a, b).statistic)
    assert p == pytest.approx(stats.ks_2samp(a, b, method="exact").pvalue, rel=0.1)


def test_curves_that_cross_differ_but_no_arm_wins() -> None:
    result = unpaired(np.linspace(29, 31, 40).tolist(), [10.0 + step / 100 for step in range(20)] + [60.0] * 20)
    assert result.ks_p < 1e-3
    assert result.cliffs_delta == 0
    assert result.winner is None


def test_sentences() -> None:
    better, worse = [10.0 + step for step in range(12)], [31.0 + step for step in range(10)]
    assert unpaired(worse, better).sentence == (
        "b/sgd beats a/sgd in 100 % [72 %, 100 %] of pairings of 12 and 10 unrelated draws, medians 15.0 and 35.0 %"
    )
    result = unpaired([10.0, 20.0, INF, math.nan], [15.0, 12.0, 30.0])
    assert (result.n_a, result.n_b, result.n_missing_a, result.n_missing_b) == (3, 3, 1, 0)
    # 10 is below all three, 20 below one, +inf below none: 4 of 9.
    assert result.superiority == pytest.approx(4 / 9)
    assert result.winner is None
    assert result.sentence.startswith("b/sgd and a/sgd are not told apart by 3 and 3 unrelated draws")
    assert result.sentence.endswith("medians 15.0 and 20.0 % (a/sgd diverged on 1; 1 more without a result)")


def test_without_results_on_one_side() -> None:
    result = unpaired([math.nan], [10.0])
    assert result.sentence == "a/sgd and b/sgd cannot be compared: no draw of a/sgd has a result"
    assert math.isnan(result.cliffs_delta)
    assert math.isnan(result.ks_statistic)
    assert result.cliffs_delta_interval == (-1.0, 1.0)
    assert (result.mann_whitney_p, result.ks_p, result.winner) == (1.0, 1.0, None)
    assert unpaired([], []).sentence.endswith("no draw of a/sgd or b/sgd has a result")


def test_all_diverged_and_single_draws() -> None:
    result = unpaired([INF] * 5, [INF] * 8)
    assert (result.cliffs_delta, result.mann_whitney_p, result.ks_statistic, result.ks_p) == (0.0, 1.0, 0.0, 1.0)
    low, high = result.cliffs_delta_interval
    assert low == pytest.approx(-high)
    single = unpaired([10.0], [20.0])
    # Wilson's interval of 1 of 1 is [1 / (1 + 1.96 ** 2), 1].
    assert single.superiority_interval == pytest.approx((1 / (1 + 1.959964**2), 1.0), abs=1e-6)


def normal(shift: float) -> Callable[[np.random.Generator, int], np.ndarray]:
    return lambda generator, n: generator.normal(shift, 1.0, n)


def diverging(share: float) -> Callable[[np.random.Generator, int], np.ndarray]:
    return lambda generator, n: np.where(generator.random(n) < share, INF, generator.normal(size=n))


def straddling(generator: np.random.Generator, n: int) -> np.ndarray:
    return np.where(generator.random(n) < 0.5, -1.0, 1.0)


@pytest.mark.parametrize(("n_a", "n_b"), [(12, 12), (24, 64)])
@pytest.mark.parametrize(
    ("draw_a", "draw_b", "delta", "level"),
    [
        (normal(0.0), normal(0.0), 0.0, 0.95),
        (normal(0.0), normal(1.0), 2 * stats.norm.cdf(1 / math.sqrt(2)) - 1, 0.95),
        (normal(0.0), normal(3.0), 2 * stats.norm.cdf(3 / math.sqrt(2)) - 1, 0.95),
        # P(a < b) - P(a > b) = (1 - 0.1) 0.5 - 0.1 (1 - 0.5): where neither or both diverged they are even.
        (diverging(0.1), diverging(0.5), 0.4, 0.95),
        (diverging(0.0), diverging(0.3), 0.3, 0.95),
        # The worst case: delta hangs on whether each b is above all of a or below.
        (lambda generator, n: generator.normal(0.0, 0.01, n), straddling, 0.0, 0.93),
    ],
)
def test_cliffs_delta_interval_keeps_its_level(
    draw_a: Callable[[np.random.Generator, int], np.ndarray],
    draw_b: Callable[[np.random.Generator, int], np.ndarray],
    delta: float,
    level: float,
    n_a: int,
    n_b: int,
) -> None:
    generator = np.random.default_rng(n_a)
    runs, covered = 1_500, 0
    for _ in range(runs):
        low, high = cliffs_delta_interval(draw_a(generator, n_a), draw_b(generator, n_b))
        covered += low <= delta <= high
    assert covered / runs >= level - 3 * math.sqrt(level * (1 - level) / runs)


def test_whole_arms_are_compared(make_ledger: Callable[..., pa.Table]) -> None:
    ledger = pa.concat_tables([make_ledger(["a/sgd"], 3), make_ledger(["b/sgd"], 5)])
    records = {
        f"stability/{arm}/{draw:06d}/0": TrialRecord(status="completed", error=error)
        for arm, errors in {"a/sgd": [1.0, 2.0], "b/sgd": [3.0, 4.0, 5.0, 6.0]}.items()
        for draw, error in enumerate(errors)
    }
    trials = build_trials(ledger, records)
    result = compare_unpaired(trials, "a/sgd", "b/sgd")
    assert (result.n_a, result.n_b, result.n_missing_a, result.n_missing_b) == (2, 4, 1, 1)
    assert (result.cliffs_delta, result.ks_statistic) == (1.0, 1.0)
    # All 2 of 6 places: 1 of 15 orders is as extreme on either side.
    assert result.mann_whitney_p == pytest.approx(2 / 15)
    with pytest.raises(ValueError, match="itself"):
        compare_unpaired(trials, "a/sgd", "a/sgd")
    with pytest.raises(ValueError, match="No arm 'c/sgd'"):
        compare_unpaired(trials, "a/sgd", "c/sgd")
