"""Where the best lies: the closed form against resampling, edges, ties, diverged and conditional draws."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.space.positions import positions
from dashboards.space.regions import best_choices, best_regions, best_weights, edge_of, edge_warnings, weighted_range
from dashboards.tracking.study import StudyRecord

MakeRecord = Callable[..., StudyRecord]
Floats = npt.NDArray[np.float64]


def _resampled_best(errors: Floats, size: int, resamples: int) -> Floats:
    """How often each draw is the best of a resample, by drawing; equal errors in a random order, as drawn."""
    generator = np.random.default_rng(5)
    samples = generator.integers(len(errors), size=(resamples, size))
    best = samples[np.arange(resamples), np.argmin(errors[samples], axis=1)]
    best = best[np.isfinite(errors[best])]
    return np.bincount(best, minlength=len(errors)) / len(best)


@pytest.mark.parametrize(
    "errors",
    [
        [5.0, 3.0, 8.0, 1.0, 9.0, 2.0, 7.0, 4.0],
        [5.0, 3.0, 3.0, 1.0, 1.0, 1.0, 7.0, 4.0, np.inf, np.inf],
        [np.inf, np.inf, np.inf, 4.0, np.inf, 6.0, np.inf, np.inf],
        [2.0],
        [2.0, np.inf],
    ],
)
@pytest.mark.parametrize("sample", [0.25, 1.0])
def test_weights_are_the_limit_of_resampling(errors: list[float], sample: float) -> None:
    given_errors = np.array(errors)
    expected = _resampled_best(given_errors, max(1, int(sample * len(errors))), 200_000)
    np.testing.assert_allclose(best_weights(given_errors, sample), expected, atol=0.006)


def test_weights_by_hand() -> None:
    # Two of four: 16 pairs, of which 7 hold the best, 5 the second but not the best, then 3 and 1.
    np.testing.assert_allclose(best_weights(np.array([4.0, 1.0, 3.0, 2.0]), 0.5), np.array([1, 7, 3, 5]) / 16)
    # The last has diverged: 15 pairs have a best one.
    np.testing.assert_allclose(best_weights(np.array([np.inf, 1.0, 3.0, 2.0]), 0.5), np.array([0, 7, 3, 5]) / 15)
    # The best two are equal.
    np.testing.assert_allclose(best_weights(np.array([4.0, 1.0, 3.0, 1.0]), 0.5), np.array([1, 6, 3, 6]) / 16)


def test_the_range_is_that_of_resampling() -> None:
    generator = np.random.default_rng(2)
    values = generator.random(200)
    errors = 10 + 40 * np.abs(values - 0.7) + generator.normal(0, 2, 200)
    shares = _resampled_best(errors, 50, 400_000)
    low, high = weighted_range(values, best_weights(errors))
    assert (low, high) == weighted_range(values, shares)
    # Written out, as pycls does it with its percentiles, but not interpolated.
    repeated = np.repeat(values, np.round(shares * 400_000).astype(int))
    assert low == np.percentile(repeated, 2.5, method="inverted_cdf")
    assert high == np.percentile(repeated, 97.5, method="inverted_cdf")


errors_of_some = st.lists(st.one_of(st.integers(0, 5).map(float), st.just(float("inf"))), min_size=1, max_size=30)


@given(errors_of_some, st.randoms(use_true_random=False))
def test_weights_are_a_distribution_that_order_does_not_change(errors: list[float], random: Any) -> None:
    given_errors = np.array(errors)
    weights = best_weights(given_errors)
    some = np.isfinite(given_errors).any()
    assert weights.sum() == pytest.approx(1.0 if some else 0.0)
    assert (weights[np.isinf(given_errors)] == 0).all()
    order = list(range(len(errors)))
    random.shuffle(order)
    np.testing.assert_array_equal(best_weights(given_errors[order]), weights[order])
    if some:
        values = np.arange(len(errors)) % 7 / 7
        assert weighted_range(values[order], weights[order]) == weighted_range(values, weights)
        low, high = weighted_range(values, weights)
        mirrored = weighted_range(-values, weights)
        assert mirrored == (-high, -low)
        assert weights[(values >= low) & (values <= high)].sum() >= 0.95 - 1e-9


def test_the_region_of_a_known_optimum(make_drawn: MakeRecord) -> None:
    units = np.random.default_rng(0).random((400, 2))
    lr = 0.1 * 32 ** units[:, 0]
    errors = 10 + 80 * np.abs(units[:, 0] - 0.5)
    wide = units[:, 1] + 1
    record = make_drawn(
        errors.tolist(),
        {"lr": lr, "weight_decay": wide},
        {"lr": units[:, 0], "weight_decay": units[:, 1]},
    )
    regions = best_regions(positions(record))
    first, second = regions.to_pylist()
    best = int(np.argmin(errors))
    assert (first["arm"], first["hyperparameter"], first["n"]) == ("m/sgd", "lr", 400)
    assert (first["best"], first["best_unit"]) == (lr[best], units[best, 0])
    assert 0.4 < first["low_unit"] < 0.5 < first["high_unit"] < 0.6
    assert first["low"] == pytest.approx(0.1 * 32 ** first["low_unit"])
    assert (first["interval_low"], first["interval_high"], first["inferred"]) == (0.1, 3.2, False)
    assert first["edge"] == ""
    assert second["best"] == wide[best]
    assert edge_warnings(regions) == []


@pytest.mark.parametrize(("slope", "edge", "end"), [(-1, "upper", "3.2"), (1, "lower", "0.1")])
def test_an_edge_is_named(make_drawn: MakeRecord, slope: int, edge: str, end: str) -> None:
    units = (np.arange(40) + 0.5) / 40
    record = make_drawn((50 + slope * 40 * units).tolist(), {"lr": 0.1 * 32**units}, {"lr": units})
    regions = best_regions(positions(record))
    assert regions["edge"].to_pylist() == [edge]
    (sentence,) = edge_warnings(regions)
    best = f"{0.1 * 32 ** (units[-1] if slope < 0 else units[0]):.3g}"
    assert sentence == f"m/sgd: the best lr lies at the {edge} edge of its interval ({best} of 0.1 ... 3.2); widen it"
    assert end in sentence


def test_a_range_that_touches_with_a_best_inside(make_drawn: MakeRecord) -> None:
    units = (np.arange(40) + 0.5) / 40
    errors = 50 - 40 * units
    errors[35] = 1.0
    record = make_drawn(errors.tolist(), {"lr": 0.1 * 32**units}, {"lr": units})
    (sentence,) = edge_warnings(best_regions(positions(record)))
    assert sentence.startswith("m/sgd: the best lr may lie at the upper edge of its interval (2.17, range ")


def test_an_edge_of_values_seen(make_drawn: MakeRecord) -> None:
    lr = np.linspace(0.1, 0.9, 40)
    (sentence,) = edge_warnings(best_regions(positions(make_drawn((-lr + 10).tolist(), {"lr": lr}))))
    assert sentence == (
        "m/sgd: the best lr lies at the upper edge of the values seen (0.9 of 0.1 ... 0.9); widen it there"
    )


def test_the_highest_whole_number_is_an_edge(make_drawn: MakeRecord) -> None:
    units = (np.arange(40) + 0.5) / 40
    layers = np.floor(units * 4).astype(int) + 1
    record = make_drawn((50 - 10.0 * layers).tolist(), {"layers": layers}, {"layers": units})
    regions = best_regions(positions(record))
    (row,) = regions.to_pylist()
    # Ten draws of 40 have 4 layers: the best of ten draws is none of them with a probability of 0.75^10, over 2.5 %.
    assert (row["best"], row["low"], row["high"], row["edge"]) == (4, 3, 4, "upper")
    assert row["high_unit"] == 0.875
    assert edge_warnings(regions) == [
        "m/sgd: the best layers lies at the upper edge of its interval (4 of 1 ... 4); widen it"
    ]


def test_a_scale_that_is_not_known_has_an_edge_but_no_ends(make_drawn: MakeRecord) -> None:
    units = (np.arange(40) + 0.5) / 40
    record = make_drawn((50 - 40 * units).tolist(), {"keep": units ** (1 / 3)}, {"keep": units})
    (row,) = best_regions(positions(record)).to_pylist()
    assert (row["interval_low"], row["edge"]) == (None, "upper")


@given(st.floats(0.06, 0.94), st.floats(0.06, 0.94))
def test_inside_is_no_edge(one: float, other: float) -> None:
    assert edge_of(min(one, other), max(one, other)) == ""


@given(st.floats(0, 1), st.floats(0, 1))
def test_edges_are_mirrored(one: float, other: float) -> None:
    low, high = min(one, other), max(one, other)
    mirror = {"lower": "upper", "upper": "lower", "": ""}
    # Away from the limits themselves, which 1 - x does not hit exactly.
    if all(abs(x - limit) > 1e-9 for x in (low, high) for limit in (0.05, 0.25, 0.75, 0.95)):
        assert edge_of(1 - high, 1 - low) == mirror[edge_of(low, high)]
    if edge_of(low, high) == "upper":
        assert high >= 0.95


@pytest.mark.parametrize("draws", [24, 64])
def test_how_often_an_edge_is_named(draws: int) -> None:
    """What the docstring of ``edge_of`` says: rarely where the hyperparameter does not matter, mostly where it does."""
    generator = np.random.default_rng(0)
    matters = irrelevant = touching = 0
    for _ in range(300):
        units = generator.random((draws, 2))
        errors = 20 * (1 - units[:, 0]) + generator.normal(0, 1, draws)
        weights = best_weights(errors)
        matters += edge_of(*weighted_range(units[:, 0], weights)) == "upper"
        low, high = weighted_range(units[:, 1], weights)
        irrelevant += edge_of(low, high) != ""
        touching += (low <= 0.05) != (high >= 0.95)
    assert matters / 300 > (0.65 if draws == 24 else 0.9)
    assert irrelevant / 300 < 0.1
    assert touching / 300 > 0.4


def test_only_trials_that_have_it_and_a_result(make_drawn: MakeRecord) -> None:
    errors = [1.0, 2.0, 3.0, np.inf, np.nan]
    record = make_drawn(errors, {"momentum": [None, 0.9, 0.8, 0.7, 0.6]}, {"momentum": [0.5, 0.9, 0.8, 0.7, 0.6]})
    (row,) = best_regions(positions(record)).to_pylist()
    assert (row["n"], row["best"]) == (3, 0.9)
    assert (row["low"], row["high"]) == (0.8, 0.9)


@pytest.mark.parametrize("error", [np.inf, np.nan])
def test_without_a_completed_trial_there_is_no_best(make_drawn: MakeRecord, error: float) -> None:
    found = positions(make_drawn([error] * 3, {"lr": [0.1, 0.2, 0.3], "solver": ["a", "b", "a"]}))
    (row,) = best_regions(found).to_pylist()
    assert (row["best"], row["low"], row["edge"]) == (None, None, "")
    assert best_choices(found)["share"].to_pylist() == [None, None]
    assert edge_warnings(best_regions(found)) == []


def test_choices_share_the_best(make_drawn: MakeRecord) -> None:
    errors = [4.0, 1.0, 3.0, 2.0, np.nan, 4.5, 4.6, np.inf]
    found = positions(make_drawn(errors, {"solver": ["a", "b", "a", "b", "b", "b", "a", "a"]}))
    rows = best_choices(found).to_pylist()
    assert [(row["choice"], row["n"], row["completed"]) for row in rows] == [("a", 4, 3), ("b", 3, 3)]
    # A quarter of 7 is one draw: each of the 6 completed is as likely.
    assert [row["share"] for row in rows] == pytest.approx([0.5, 0.5])
    assert best_regions(found).num_rows == 0


def test_weights_refuse_what_they_cannot_do() -> None:
    with pytest.raises(ValueError, match="got nan"):
        best_weights(np.array([1.0, np.nan]))
    with pytest.raises(ValueError, match="sample: got 0"):
        best_weights(np.array([1.0]), 0)
