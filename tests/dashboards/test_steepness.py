"""Steepness: areas against integration and mean errors, shares and intervals by hand, the table of all arms."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from dashboards.statistics.delta import delta_edf
from dashboards.statistics.edf import empirical_distribution
from dashboards.statistics.paired import clopper_pearson
from dashboards.statistics.steepness import MARGINS, STEEPNESS_SCHEMA, area, steepness, steepness_table

MakeRows = Callable[..., list[dict[str, Any]]]
MakeTrials = Callable[..., pa.Table]
ARM = "vit/sgd"

error_lists = st.lists(st.integers(0, 400).map(lambda quarter: quarter / 4), min_size=1, max_size=30)


def test_area_worked_out_by_hand() -> None:
    # From 0 to 10: F is 1/4 from 2, 2/4 from 5, 3/4 from 20: (3 * 1/4 + 5 * 2/4) / 10.
    edf = empirical_distribution([2.0, 5.0, 20.0], diverged=1)
    assert area(edf, 0.0, 10.0) == pytest.approx((0.325, 0.325))
    assert area(edf, -2.0, 0.0) == (0.0, 0.0)
    assert area(edf, 30.0, 40.0) == (0.75, 0.75)
    assert area(empirical_distribution([-3.0, 0.0]), 0.0, 10.0) == (1.0, 1.0)
    # One of two is unknown: F lies between 0 and 1/2 up to 5, between 1/2 and 1 from there.
    assert area(empirical_distribution([5.0], missing=1), 0.0, 10.0) == (0.25, 0.75)


@given(error_lists, st.integers(0, 4), st.floats(-20, 60), st.floats(0.5, 60))
def test_area_is_the_mean_of_the_function(errors: list[float], diverged: int, low: float, width: float) -> None:
    edf = empirical_distribution(errors, diverged=diverged)
    high = low + width
    ends = np.unique(np.clip([low, *errors, high], low, high))
    pieces = sum((right - left) * edf((left + right) / 2) for left, right in itertools.pairwise(ends))
    assert area(edf, low, high)[0] == pytest.approx(pieces / width, abs=1e-9)


@given(error_lists)
def test_area_from_zero_is_that_of_the_design_space_papers(errors: list[float]) -> None:
    expected = 1 - np.mean(np.minimum(1.0, np.array(errors) / 40.0))
    assert area(empirical_distribution(errors), 0.0, 40.0)[0] == pytest.approx(expected, abs=1e-12)


@given(error_lists, st.integers(0, 4), st.lists(st.one_of(st.floats(0, 100), st.just(math.inf)), max_size=6))
def test_area_bounds_hold_every_completion(errors: list[float], diverged: int, unknown: list[float]) -> None:
    finite = [value for value in unknown if math.isfinite(value)]
    completed = empirical_distribution([*errors, *finite], diverged=diverged + len(unknown) - len(finite))
    low, high = area(empirical_distribution(errors, diverged=diverged, missing=len(unknown)), 10.0, 50.0)
    assert -1e-12 <= low - 1e-12 <= area(completed, 10.0, 50.0)[0] <= high + 1e-12 <= 1 + 2e-12


@pytest.mark.parametrize("ends", [(1.0, 1.0), (2.0, 1.0), (0.0, math.inf), (math.nan, 1.0)])
def test_area_needs_two_ends_in_order(ends: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="low and high"):
        area(empirical_distribution([1.0]), *ends)


def test_steepness_worked_out_by_hand(make_rows: MakeRows, make_trials: MakeTrials) -> None:
    # Deltas -1, 0.5, 2, 3, 8.5, 30, +inf and one unknown.
    drawn = make_rows("stability", ARM, [11.0, 12.5, 14.0, 15.0, 20.5, 42.0, "diverged", "lost"], sampler="random")
    found = steepness(delta_edf(make_trials(drawn, make_rows("reference", ARM, [11.0, 13.0])), ARM))
    assert (found.arm, found.n, found.n_diverged, found.n_missing) == (ARM, 8, 1, 1)
    assert [item.margin for item in found.within] == list(MARGINS) == [0.5, 1, 2, 4, 8]
    assert [item.lower for item in found.within] == [2 / 8, 2 / 8, 3 / 8, 4 / 8, 4 / 8]
    assert [item.upper for item in found.within] == [3 / 8, 3 / 8, 4 / 8, 5 / 8, 5 / 8]
    # Clopper-Pearson from its beta quantiles: 4 of 8 below, 5 of 8 above.
    assert found.within[3].interval == pytest.approx((beta.ppf(0.025, 4, 5), beta.ppf(0.975, 6, 3)))
    # 10 + 9.5 + 8 + 7 + 1.5 of 8 times 10 points.
    assert found.area == pytest.approx((36.0 / 80, 46.0 / 80))
    assert found.median == (2.0, 3.0)
    # Binomial(8, 1/2): P(B <= 0) = 0.4 %, P(B <= 1) = 3.5 %: from the 1st value to the 8th; the unknown may be the 1st.
    assert found.median_interval == (-math.inf, math.inf)
    assert found.sentence == (
        "vit/sgd: 50 % to 62 % of 8 draws end within 4 points of the reference [16 %, 91 %], "
        "median delta ≤ 3.0 points [−∞, ∞]; 1 without a result"
    )


def test_steepness_without_missing_draws_in_words(make_rows: MakeRows, make_trials: MakeTrials) -> None:
    drawn = make_rows("stability", ARM, [12.0 + step / 2 for step in range(20)], sampler="random")
    found = steepness(delta_edf(make_trials(drawn, make_rows("reference", ARM, [12.0])), ARM))
    low, high = clopper_pearson(9, 20)
    assert found.sentence == (
        f"vit/sgd: 45 % of 20 draws end within 4 points of the reference [{100 * low:.0f} %, {100 * high:.0f} %], "
        "median delta 4.5 points [2.5, 7.0]"
    )


@pytest.mark.parametrize("outcomes", [["diverged", "diverged"], ["pending"], ["failed", "diverged"]])
def test_steepness_without_any_completed_draw(
    make_rows: MakeRows, make_trials: MakeTrials, outcomes: list[float | str]
) -> None:
    trials = make_trials(make_rows("stability", ARM, outcomes, sampler="random"))
    found = steepness(delta_edf(trials, ARM))
    missing = sum(outcome != "diverged" for outcome in outcomes)
    assert found.area == (0.0, missing / len(outcomes))
    assert found.within[0].interval[0] == 0.0
    assert found.sentence == f"vit/sgd: none of {len(outcomes)} draws has a result to count from"
    assert steepness_table(trials)["reference"].to_pylist() == [None]


def test_table_has_a_row_per_arm(make_rows: MakeRows, make_trials: MakeTrials) -> None:
    trials = make_trials(
        make_rows("stability", "b<i>/sgd", [10.0, 12.0, "diverged"], sampler="sobol"),
        make_rows("stability", "a/sgd", [10.0, 11.0], sampler="sobol"),
        make_rows("search", "c/sgd", [1.0], sampler="tpe"),
        make_rows("reference", "a/sgd", [10.0, 11.0]),
    )
    table = steepness_table(trials)
    assert table.schema.equals(STEEPNESS_SCHEMA)
    assert table["arm"].to_pylist() == ["a/sgd", "b<i>/sgd"]
    assert table["reference_std_error"].to_pylist() == [0.5, None]
    assert table["share_within_0.5"].to_pylist() == [1.0, 1 / 3]
    assert table["share_within_2"].to_pylist() == [1.0, 2 / 3]
    assert table["share_within_2_low"].to_pylist()[1] == pytest.approx(beta.ppf(0.025, 2, 2))
    assert table["median_upper"].to_pylist() == [-0.5, 2.0]
    assert steepness_table(trials, phase="peak").num_rows == 0
