"""The best of n draws against all choices of n of them, by simulation, and its properties."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import comb

from dashboards.statistics.best_of_n import BEST_OF_N_SCHEMA, best_of_n, lowest_of
from dashboards.statistics.edf import arm_edf

MakeRows = Callable[..., list[dict[str, Any]]]
MakeTrials = Callable[..., pa.Table]

outcomes = st.one_of(st.integers(0, 20).map(float), st.just(math.inf))


@given(st.lists(outcomes, min_size=1, max_size=9))
def test_equals_all_choices(errors: list[float]) -> None:
    best = lowest_of(errors)
    for n in range(1, len(errors) + 1):
        lowest = np.sort([min(chosen) for chosen in itertools.combinations(errors, n)])
        quantiles = np.quantile(lowest, [0.25, 0.5, 0.75], method="inverted_cdf")
        assert [best.q25[n - 1], best.median[n - 1], best.q75[n - 1]] == quantiles.tolist()
        assert best.mean[n - 1] == pytest.approx(np.mean(lowest))


@given(st.lists(outcomes, min_size=1, max_size=40), st.integers(1, 50))
def test_more_draws_find_no_worse(errors: list[float], max_n: int) -> None:
    best = lowest_of(errors, max_n)
    assert best.n.tolist() == list(range(1, min(max_n, len(errors)) + 1))
    for values in (best.q25, best.median, best.q75):
        assert (values[1:] <= values[:-1]).all()
    finite = best.mean[np.isfinite(best.mean)]
    assert (np.diff(finite) <= 1e-9).all()
    # Finite from the first n on that is more than have diverged.
    assert len(finite) == max(len(best.n) - sum(map(math.isinf, errors)), 0)
    assert (best.q25 <= best.median).all()
    assert (best.median <= best.q75).all()


@given(st.lists(outcomes, min_size=1, max_size=20))
def test_quantiles_follow_a_monotone_change_of_scale(errors: list[float]) -> None:
    stretched = lowest_of(np.exp(np.array(errors) / 10))
    np.testing.assert_array_equal(stretched.median, np.exp(lowest_of(errors).median / 10))


def test_mean_of_many_draws_equals_the_sum_over_ranks() -> None:
    # Of the ranks 1 ... N the lowest of n has mean (N + 1) / (n + 1).
    total = 5_000
    best = lowest_of(np.random.default_rng(0).permutation(total) + 1.0)
    np.testing.assert_allclose(best.mean, (total + 1) / (best.n + 1), rtol=1e-8)
    # P(lowest > j) = C(N - j, n) / C(N, n), in whole numbers.
    for n in (1, 2, 7, 100, 2_500, 4_999):
        for share, found in ((0.25, best.q25), (0.5, best.median), (0.75, best.q75)):
            place = int(found[n - 1])
            beyond = [comb(total - j, n, exact=True) / comb(total, n, exact=True) for j in (place - 1, place)]
            assert beyond[1] <= 1 - share < beyond[0]


def test_is_not_biased_as_drawing_with_replacement_is() -> None:
    generator = np.random.default_rng(6)
    # The lowest of 8 uniform draws has mean 1/9; of 16 draws each, over many samples.
    samples = generator.random((4_000, 16))
    without = np.mean([lowest_of(row, 8).mean[-1] for row in samples])
    ordered = np.sort(samples, axis=1)
    beyond = (1 - np.arange(17) / 16) ** 8
    replaced = float(np.mean(ordered @ (beyond[:-1] - beyond[1:])))
    # The standard error of both is 0.0008.
    assert without == pytest.approx(1 / 9, abs=0.003)
    assert replaced > 1 / 9 + 0.01


def test_table_of_arms(make_rows: MakeRows, make_trials: MakeTrials) -> None:
    trials = make_trials(
        make_rows("stability", "b/sgd", [30.0, "diverged", 20.0, "lost", 20.0, "pending"], sampler="random"),
        make_rows("stability", "a/sgd", ["diverged"], sampler="random"),
        make_rows("stability", "c/sgd", ["failed"], sampler="random"),
        make_rows("search", "b/sgd", [1.0], sampler="tpe"),
    )
    table = best_of_n(trials)
    assert table.schema.equals(BEST_OF_N_SCHEMA)
    assert table["arm"].to_pylist() == ["a/sgd"] + ["b/sgd"] * 4
    assert table["n"].to_pylist() == [1, 1, 2, 3, 4]
    assert table["median"].to_pylist() == [None, 20.0, 20.0, 20.0, 20.0]
    assert table["q25"].to_pylist() == [None, 20.0, 20.0, 20.0, 20.0]
    # 20, 20, 30, inf: of one draw the third lowest; of two, 20 in 5 of 6 choices.
    assert table["q75"].to_pylist() == [None, 30.0, 20.0, 20.0, 20.0]
    # Of three: 20 unless 30 and +inf are both chosen, which leaves a 20; of two, +inf and 30 may be all.
    assert table["mean"].to_pylist() == [None, None, *[pytest.approx(value) for value in (130 / 6, 20.0, 20.0)]]
    assert table["known"].to_pylist() == [1, 4, 4, 4, 4]
    assert table["missing"].to_pylist() == [0, 2, 2, 2, 2]
    assert best_of_n(trials, max_n=2)["n"].to_pylist() == [1, 1, 2]
    assert best_of_n(trials, phase="peak").num_rows == 0


def test_one_draw_is_the_distribution_itself(make_rows: MakeRows, make_trials: MakeTrials) -> None:
    trials = make_trials(make_rows("stability", "a/sgd", [5.0, 1.0, 4.0, "diverged", 2.0], sampler="halton"))
    first = best_of_n(trials, max_n=1).to_pylist()[0]
    edf = arm_edf(trials, "a/sgd")
    assert [first["q25"], first["median"], first["q75"]] == [edf.quantile(share) for share in (0.25, 0.5, 0.75)]


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="max_n: got 0"):
        lowest_of([1.0], max_n=0)
    with pytest.raises(ValueError, match="errors: got nan"):
        lowest_of([math.nan])
    assert len(lowest_of([]).median) == 0
