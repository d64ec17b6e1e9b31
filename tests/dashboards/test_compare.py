"""Paired comparisons: numbers by hand, tests against scipy, symmetry, sentences."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dashboards.statistics.compare import (
    Comparison,
    compare,
    compare_errors,
    corrected,
    superiority_interval,
    verdicts,
)
from dashboards.statistics.edf import empirical_distribution
from dashboards.statistics.holm import holm
from dashboards.statistics.paired import (
    _middle_places,
    clopper_pearson,
    median,
    median_interval,
    reached_by_half,
    sign_test,
    wilcoxon_test,
)
from dashboards.statistics.unpaired import UnpairedComparison, compare_unpaired
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
    assert clopper_pearson(15, 20) == pytest.approx((interval.low, interval.high), rel=1e-12)
    assert clopper_pearson(0, 3)[0] == 0.0
    assert clopper_pearson(3, 3)[1] == 1.0
    # Clopper-Pearson by its definition: at each end of the interval the tail beyond the count has 2.5 %.
    low, high = clopper_pearson(15, 20)
    assert stats.binom.sf(14, 20, low) == pytest.approx(0.025)
    assert stats.binom.cdf(15, 20, high) == pytest.approx(0.025)


def test_wilcoxon_ranks_a_diverged_side_above_every_finite_gap() -> None:
    gaps = np.array([1.0, -2.0, 3.0, 4.5, INF])
    assert wilcoxon_test(gaps) == stats.wilcoxon([1.0, -2.0, 3.0, 4.5, 1e6]).pvalue
    assert wilcoxon_test(np.zeros(4)) == 1.0


@given(pairs)
@settings(max_examples=25)
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


@given(st.lists(st.one_of(st.integers(0, 9).map(float), st.just(math.inf)), min_size=1, max_size=30))
def test_half_of_the_draws_reach_what_the_edf_says(errors: list[float]) -> None:
    finite = [error for error in errors if error < math.inf]
    edf = empirical_distribution(finite, diverged=len(errors) - len(finite))
    assert reached_by_half(np.array(errors)) == edf.quantile(0.5)


def test_median_may_be_infinite() -> None:
    assert median(np.array([-INF, INF])) == 0.0
    assert median(np.array([1.0, INF])) == INF
    assert median(np.array([INF, INF, 3.0])) == INF
    assert median(np.array([-INF, 2.0, INF])) == 2.0
    assert math.isnan(median(np.array([])))
    assert math.isnan(reached_by_half(np.array([])))


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


@pytest.mark.parametrize("n", [1, 2, 3, 6, 7, 24, 101])
def test_short_cut_has_the_distribution_of_plain_resampling(n: int) -> None:
    generator = np.random.default_rng(n)
    values = np.sort(generator.normal(0.0, 1.0, n))
    places = generator.integers(n, size=(20_000, n))
    places.sort(axis=1)
    low, high = _middle_places(n, generator, 20_000)
    # Both middle places, as one number each resample.
    plain = places[:, (n - 1) // 2] * n + places[:, n // 2]
    counts = [np.bincount(pairs, minlength=n * n) for pairs in (plain, low * n + high)]
    often = counts[0] + counts[1] >= 20
    if often.sum() > 1:
        assert stats.chi2_contingency(np.stack([count[often] for count in counts])).pvalue > 1e-3
    medians = np.median(values[places], axis=1)
    ends = np.quantile(medians, [0.015, 0.035, 0.965, 0.985])
    interval = median_interval(values, generator, resamples=20_000)
    assert ends[0] <= interval[0] <= ends[1]
    assert ends[2] <= interval[1] <= ends[3]


def test_many_pairs_cost_no_more_than_a_sort() -> None:
    values = np.random.default_rng(1).normal(2.0, 1.0, 100_000)
    low, high = median_interval(values, np.random.default_rng(0))
    # The standard error of this median is 1.2533 / sqrt(100,000) = 0.004.
    assert 1.98 < low < float(np.median(values)) < high < 2.02


@given(st.lists(st.one_of(st.floats(-100, 100), st.sampled_from([INF, -INF])), min_size=1, max_size=30))
def test_interval_of_the_negative_is_the_mirror_image(values: list[float]) -> None:
    low, high = median_interval(np.array(values), np.random.default_rng(2), resamples=500)
    assert median_interval(-np.array(values), np.random.default_rng(2), resamples=500) == (-high, -low)


def test_superiority_counts_half_of_the_ties() -> None:
    result = paired([10, 20, 30, 40, INF, INF, 7, 8], [15, 18, 42, INF, 50, INF, 7, 9])
    assert (result.wins_a, result.wins_b, result.ties) == (4, 2, 2)
    assert result.superiority == 5 / 8
    # Quantiles of Beta(5, 4) and Beta(6, 3).
    expected = (stats.beta.ppf(0.025, 5, 4), stats.beta.ppf(0.975, 6, 3))
    assert result.superiority_interval == pytest.approx(expected)
    clear = paired([1.0] * 10, [2.0] * 10)
    assert clear.superiority_interval == clear.win_rate_interval


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 20))
def test_superiority_interval_mirrors_and_holds_the_estimate(wins_a: int, wins_b: int, ties: int) -> None:
    n = wins_a + wins_b + ties
    low, high = superiority_interval(wins_a, wins_b, n)
    mirrored = superiority_interval(wins_b, wins_a, n)
    assert (low, high) == pytest.approx((1 - mirrored[1], 1 - mirrored[0]), abs=1e-9)
    assert 0 <= low < high <= 1
    assert n == 0 or low <= (wins_a + ties / 2) / n <= high


@pytest.mark.parametrize("n", [8, 24, 64])
@pytest.mark.parametrize(("superiority", "ties"), [(0.5, 0.0), (0.5, 0.3), (0.7, 0.1), (0.9, 0.1), (0.95, 0.02)])
def test_superiority_interval_keeps_its_level(n: int, superiority: float, ties: float) -> None:
    wins_a = superiority - ties / 2
    outcomes = np.random.default_rng(n).multinomial(n, [wins_a, 1 - wins_a - ties, ties], size=2_000)
    ends = np.array([superiority_interval(int(a), int(b), n) for a, b, _ in outcomes])
    covered = np.mean((ends[:, 0] <= superiority) & (superiority <= ends[:, 1]))
    assert covered >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 2_000)


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
    result = paired([INF] * 5 + [20.0] * 3, [10.0] * 8)
    # 14 % of the resamples have five of the finite gaps or more, and a median of 10.
    assert result.sentence == (
        "b/sgd beats a/sgd on 8 of 8 common draws, median gap unbounded [10.0, ∞] (a/sgd diverged on 5)"
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


def completed(**errors: Sequence[float | None]) -> dict[str, TrialRecord]:
    """Records of arms ``NAME/sgd`` by draw; ``None`` is a draw without a result."""
    return {
        f"stability/{name}/sgd/{draw:06d}/0": TrialRecord(status="completed", error=error)
        for name, values in errors.items()
        for draw, error in enumerate(values)
        if error is not None
    }


def test_verdicts_correct_all_their_pairs_together(make_ledger: Callable[..., pa.Table]) -> None:
    # Sign tests: a beats b on 6 of 6 (p = 2 / 64), c on 8 of 8 (2 / 256); b beats c on 5 of 6 (14 / 64).
    # d has no result.
    errors: dict[str, list[float | None]] = {
        "a": [10.0] * 8,
        "b": [20.0] * 6 + [None] * 2,
        "c": [*[30.0] * 5, 15.0, 40.0, 40.0],
        "d": [None] * 8,
    }
    trials = build_trials(make_ledger([f"{name}/sgd" for name in errors], 8), completed(**errors))
    models, optimizers = verdicts(trials)
    assert optimizers == []
    found = {(item.arm_a[0], item.arm_b[0]): item for item in models}
    assert [found["a", "b"].holm_p, found["a", "c"].holm_p, found["b", "c"].holm_p] == pytest.approx(
        [2 * 2 / 64, 3 * 2 / 256, 14 / 64]
    )
    assert [found[pair].holm_p for pair in (("a", "d"), ("b", "d"), ("c", "d"))] == [None] * 3
    # Alone the first pair is told apart, among three it is not.
    assert compare(trials, "a/sgd", "b/sgd").winner == "a/sgd"
    assert found["a", "b"].winner is None
    assert found["a", "b"].sentence == (
        "a/sgd and b/sgd are not told apart by 6 common draws (6 to 0), median gap 10.0 points [10.0, 10.0] "
        "(2 more without a result)"
    )
    assert found["a", "c"].winner == "a/sgd"
    assert found["a", "c"].sentence.startswith("a/sgd beats c/sgd on 8 of 8 common draws")
    assert found["a", "d"].sentence == "a/sgd and d/sgd have no common draw with a result in both"


def test_verdicts_correct_both_lists_as_one_family(make_record: Callable[..., Any]) -> None:
    models, optimizers = verdicts(make_record().trials)
    family = [*models, *optimizers]
    raw = [item.sign_test_p for item in family if isinstance(item, Comparison)]
    assert len(raw) == 4
    assert [item.holm_p for item in family] == holm(raw).tolist()


def test_arms_without_common_draws_are_compared_without_pairing(make_ledger: Callable[..., pa.Table]) -> None:
    errors: dict[str, list[float | None]] = {"a": [10.0 + step for step in range(9)] + [None] * 8, "b": [None] * 8}
    errors["b"] += [40.0 + step for step in range(9)]
    trials = build_trials(make_ledger(["a/sgd", "b/sgd", "c/sgd"], 17), completed(**errors))
    models, _ = verdicts(trials)
    assert [type(item) for item in models] == [UnpairedComparison, Comparison, Comparison]
    assert compare(trials, "a/sgd", "b/sgd").n_pairs == 1
    (result,) = corrected([compare_unpaired(trials, "a/sgd", "b/sgd")])
    # The two without a result are no test, so one remains: the corrected p-value is its own.
    assert models[0] == result
    assert result.holm_p == compare_unpaired(trials, "a/sgd", "b/sgd").mann_whitney_p
    assert models[0].winner == "a/sgd"
    assert models[0].sentence.startswith("a/sgd beats b/sgd in 100 % ")


def test_wrong_winners_among_equal_arms_are_rare() -> None:
    generator = np.random.default_rng(8)
    runs, wrong, uncorrected = 400, 0, 0
    for _ in range(runs):
        # Six arms that are equal: 15 pairs on 24 common draws, which depend on each other.
        errors = generator.normal(30.0, 5.0, (6, 24)) + generator.normal(0.0, 5.0, 24)
        sign = [(int((errors[a] < errors[b]).sum()), a, b) for a in range(6) for b in range(a)]
        raw = [sign_test(wins, 24 - wins) for wins, _, _ in sign]
        wrong += bool((holm(raw) < 0.05).any())
        uncorrected += min(raw) < 0.05
    assert wrong / runs <= 0.05
    assert uncorrected / runs > 0.15


def test_draws_of_grids_over_other_dimensions_are_no_common_draws(
    make_rows: Callable[..., list[dict[str, Any]]], make_trials: Callable[..., pa.Table]
) -> None:
    def grid(arm: str, weight_decays: int) -> list[dict[str, Any]]:
        rows = make_rows("stability", arm, [float(place) for place in range(6)], sampler="grid")
        for place, row in enumerate(rows):
            row["weight_decay"] = 0.1 * (place % weight_decays)
        return rows

    same = make_trials(grid("m/adamw", 2), grid("m/sgd", 2))
    assert compare(same, "m/adamw", "m/sgd").n_pairs == 6
    other = make_trials(grid("m/adamw", 2), grid("m/sgd", 1))
    assert compare(other, "m/adamw", "m/sgd").n_pairs == 0
    (_, (verdict,)) = verdicts(other)
    assert isinstance(verdict, UnpairedComparison)
