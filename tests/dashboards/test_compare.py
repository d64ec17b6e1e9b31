"""Paired comparisons: numbers by hand, tests against scipy, symmetry, sentences."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dashboards.compare import Comparison, compare, compare_errors, verdicts
from dashboards.paired import clopper_pearson, median, median_interval, sign_test, wilcoxon_test
from dashboards.tables import TrialRecord, build_trials

INF = math.inf


def paired(errors_a: Sequence[float], errors_b: Sequence[float], missing: int = 0) -> Comparison:
    return compare_errors(
        np.array(errors_a, dtype=float),
        np.array(errors_b, dtype=float),
        labels=("a/sgd", "b/sgd"),
        n_missing=missing,
        generator=np.random.default_rng(0),
    )


outcomes = st.one_of(st.integers(0, 100).map(float), st.just(INF))
pairs = st.lists(st.tuples(outcomes, outcomes), min_size=1, max_size=15)


def test_numbers_worked_out_by_hand() -> None:
    result = paired([10, 20, 30, 40, INF, INF], [15, 18, 42, INF, 50, INF])
    assert (result.wins_a, result.wins_b, result.ties, result.n_pairs) == (3, 2, 1, 6)
    assert (result.n_diverged_a, result.n_diverged_b) == (2, 2)
    assert result.win_rate == 0.5
    # Gaps 5, -2, 12, inf, -inf, 0; sorted -inf, -2, 0, 5, 12, inf: the middle is (0 + 5) / 2.
    assert result.median_gap == 2.5
    assert result.sign_test_p == 1.0
    assert result.winner is None


def test_tests_equal_scipy() -> None:
    generator = np.random.default_rng(3)
    gaps = generator.normal(1.0, 2.0, 20)
    assert wilcoxon_test(gaps) == stats.wilcoxon(gaps).pvalue
    assert sign_test(15, 5) == stats.binomtest(15, 20).pvalue
    interval = stats.binomtest(15, 20).proportion_ci(0.95, method="exact")
    assert clopper_pearson(15, 20) == (interval.low, interval.high)
    # Clopper-Pearson by its definition: at each end of the interval the tail beyond the count has 2.5 %.
    low, high = clopper_pearson(15, 20)
    assert stats.binom.sf(14, 20, low) == pytest.approx(0.025)
    assert stats.binom.cdf(15, 20, high) == pytest.approx(0.025)


def test_wilcoxon_ranks_a_diverged_side_above_every_finite_gap() -> None:
    gaps = np.array([1.0, -2.0, 3.0, 4.5, INF])
    assert wilcoxon_test(gaps) == stats.wilcoxon([1.0, -2.0, 3.0, 4.5, 1e6]).pvalue
    assert wilcoxon_test(np.zeros(4)) == 1.0


@given(pairs)
@settings(deadline=None, max_examples=25)
def test_swapping_the_arms_mirrors_the_result(outcome: list[tuple[float, float]]) -> None:
    a, b = zip(*outcome, strict=True)
    one, other = paired(a, b), paired(b, a)
    assert (one.wins_a, one.wins_b, one.ties) == (other.wins_b, other.wins_a, other.ties)
    assert one.wins_a + one.wins_b + one.ties == len(outcome)
    assert one.median_gap == -other.median_gap
    assert one.median_gap_interval == tuple(-end for end in reversed(other.median_gap_interval))
    assert one.sign_test_p == other.sign_test_p
    assert one.wilcoxon_p == pytest.approx(other.wilcoxon_p)
    assert one.median_gap_interval[0] <= one.median_gap_interval[1]


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=30))
def test_median_of_finite_values_is_numpys(values: list[float]) -> None:
    assert median(np.array(values)) == pytest.approx(float(np.median(values)), abs=1e-12)


def test_median_may_be_infinite() -> None:
    assert median(np.array([-INF, INF])) == 0.0
    assert median(np.array([1.0, INF])) == INF
    assert median(np.array([INF, INF, 3.0])) == INF
    assert median(np.array([-INF, 2.0, INF])) == 2.0
    assert math.isnan(median(np.array([])))


def test_bootstrap_interval_equals_scipys_and_is_reproducible() -> None:
    values = np.random.default_rng(5).normal(30.0, 4.0, 25)
    interval = median_interval(values, np.random.default_rng(0))
    assert interval == median_interval(values, np.random.default_rng(0))
    reference = stats.bootstrap(
        (values,), np.median, method="percentile", n_resamples=20_000, rng=np.random.default_rng(1)
    ).confidence_interval
    assert interval == pytest.approx((reference.low, reference.high), abs=0.3)


def test_bootstrap_interval_covers_the_true_median() -> None:
    generator = np.random.default_rng(9)
    runs, covered = 300, 0
    for _ in range(runs):
        low, high = median_interval(generator.normal(0.0, 1.0, 25), generator, resamples=500)
        covered += low <= 0.0 <= high
    # The percentile bootstrap of a median keeps its level only roughly at n = 25.
    assert covered / runs >= 0.90


def test_many_pairs_are_resampled_in_slices() -> None:
    values = np.random.default_rng(1).normal(2.0, 1.0, 5_000)
    low, high = median_interval(values, np.random.default_rng(0), resamples=1_000)
    assert 1.9 < low < float(np.median(values)) < high < 2.1


def test_sentence_of_a_clear_win() -> None:
    result = paired([10.0] * 23 + [60.0], [41.0] * 24)
    assert result.sentence == ("a/sgd beats b/sgd on 23 of 24 common draws, median gap 31.0 points [31.0, 31.0]")
    assert result.winner == "a/sgd"


def test_sentence_names_the_better_arm_first_and_what_is_left_out() -> None:
    result = paired([41.0] * 9 + [INF], [10.0] * 10, missing=2)
    assert result.sentence == (
        "b/sgd beats a/sgd on 10 of 10 common draws, median gap 31.0 points [31.0, 31.0] "
        "(a/sgd diverged on 1; 2 more without a result)"
    )
    assert result.winner == "b/sgd"


def test_sentence_of_an_infinite_gap() -> None:
    result = paired([INF] * 6 + [20.0] * 2, [10.0] * 8)
    assert result.sentence == (
        "b/sgd beats a/sgd on 8 of 8 common draws, median gap unbounded [10.0, ∞] (a/sgd diverged on 6)"
    )


def test_sentence_of_a_draw_and_of_nothing() -> None:
    assert paired([10, 20, 30], [11, 19, 30]).sentence == (
        "a/sgd and b/sgd are not told apart by 3 common draws (1 to 1, 1 tied), median gap 0.0 points [−1.0, 1.0]"
    )
    empty = paired([], [], missing=4)
    assert empty.sentence == "a/sgd and b/sgd have no common draw with a result in both"
    assert math.isnan(empty.win_rate)
    assert empty.win_rate_interval == (0.0, 1.0)
    assert empty.winner is None


def test_pairs_are_equal_draws_and_replicates(make_ledger: Callable[..., pa.Table]) -> None:
    ledger = make_ledger(["a/sgd", "b/sgd"], 4)
    errors = {"a/sgd": [10.0, 20.0, None, 40.0], "b/sgd": [None, 25.0, 30.0, 35.0]}
    records = {
        f"stability/{arm}/{draw:06d}/0": TrialRecord(status="completed", error=error)
        for arm, values in errors.items()
        for draw, error in enumerate(values)
        if error is not None
    }
    result = compare(build_trials(ledger, records), "a/sgd", "b/sgd")
    assert (result.n_pairs, result.n_missing, result.wins_a, result.wins_b) == (2, 2, 1, 1)
    assert result == compare(build_trials(ledger, records), "a/sgd", "b/sgd")
    with pytest.raises(ValueError, match="itself"):
        compare(build_trials(ledger, records), "a/sgd", "a/sgd")
    with pytest.raises(ValueError, match="No arm 'c/sgd'"):
        compare(build_trials(ledger, records), "a/sgd", "c/sgd")


def test_verdicts_pair_models_under_one_optimizer_and_optimizers_on_one_model(
    make_ledger: Callable[..., pa.Table],
) -> None:
    trials = build_trials(make_ledger(["a/adamw", "a/sgd", "b/adamw", "b/sgd", "c/sgd"], 2), {})
    models, optimizers = verdicts(trials)
    assert [(item.arm_a, item.arm_b) for item in models] == [
        ("a/adamw", "b/adamw"),
        ("a/sgd", "b/sgd"),
        ("a/sgd", "c/sgd"),
        ("b/sgd", "c/sgd"),
    ]
    assert [(item.arm_a, item.arm_b) for item in optimizers] == [("a/adamw", "a/sgd"), ("b/adamw", "b/sgd")]
