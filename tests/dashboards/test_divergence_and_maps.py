"""Shares of diverged trials by bin, and maps of two hyperparameters."""

from collections.abc import Callable
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from dashboards.space.divergence import diverged_shares
from dashboards.space.maps import maps_available, medians, setting_map
from dashboards.space.positions import positions
from dashboards.tracking.study import StudyRecord

MakeRecord = Callable[..., StudyRecord]

OUTCOMES = st.sampled_from([5.0, 7.0, 30.0, float("inf"), float("nan")])


def test_shares_by_hand(make_drawn: MakeRecord) -> None:
    units = np.array([0.0, 0.1, 0.3, 0.45, 0.6, 0.7, 0.99, 0.75])
    errors = [5.0, np.nan, 5.0, np.inf, np.inf, np.inf, np.inf, 5.0]
    record = make_drawn(errors, {"lr": 1e-4 * 10 ** (4 * units)}, {"lr": units})
    rows = diverged_shares(positions(record), bins=4).to_pylist()
    assert [row["n"] for row in rows] == [1, 2, 2, 2]
    assert [row["diverged"] for row in rows] == [0, 1, 2, 1]
    assert [row["missing"] for row in rows] == [1, 0, 0, 0]
    assert [row["share"] for row in rows] == [0, 0.5, 1, 0.5]
    assert [row["low"] for row in rows] == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1])
    assert [row["high"] for row in rows] == pytest.approx([1e-3, 1e-2, 1e-1, 1])
    # Clopper and Pearson in terms of the beta distribution.
    assert rows[1]["share_low"] == pytest.approx(beta.ppf(0.025, 1, 2))
    assert rows[1]["share_high"] == pytest.approx(beta.ppf(0.975, 2, 1))
    assert (rows[2]["share_low"], rows[2]["share_high"]) == (pytest.approx(beta.ppf(0.025, 2, 1)), 1)


def test_an_empty_bin_has_no_share(make_drawn: MakeRecord) -> None:
    units = np.array([0.1, 0.2, 0.9])
    rows = diverged_shares(positions(make_drawn([1, 2, 3], {"lr": units}, {"lr": units})), bins=3).to_pylist()
    assert (rows[1]["n"], rows[1]["share"], rows[1]["share_low"], rows[1]["share_high"]) == (0, None, 0, 1)


def test_choices_and_whole_numbers_have_one_bin_each(make_drawn: MakeRecord) -> None:
    units = (np.arange(12) + 0.5) / 12
    layers = np.floor(units * 3).astype(int) + 2
    solver = ["a", "b"] * 6
    errors = [np.inf if one == "b" else 5.0 for one in solver]
    found = positions(make_drawn(errors, {"layers": layers, "solver": solver}, {"layers": units}))
    rows = diverged_shares(found, "layers").to_pylist()
    assert [(row["low"], row["high"], row["n"]) for row in rows] == [(1.5, 2.5, 4), (2.5, 3.5, 4), (3.5, 4.5, 4)]
    rows = diverged_shares(found, "solver").to_pylist()
    assert [(row["choice"], row["low"], row["share"]) for row in rows] == [("a", None, 0), ("b", None, 1)]


def test_edges_of_an_unknown_scale_lie_between_the_trials(make_drawn: MakeRecord) -> None:
    units = np.linspace(0.01, 0.99, 99)
    found = positions(make_drawn([1.0] * 99, {"keep": units**3}, {"keep": units}))
    rows = diverged_shares(found, "keep", bins=2).to_pylist()
    assert rows[0]["high"] == rows[1]["low"] == pytest.approx(0.125)
    assert (rows[0]["low"], rows[1]["high"]) == pytest.approx((0.01**3, 0.99**3))


def test_arms_that_do_not_vary_it_are_left_out(make_drawn: MakeRecord) -> None:
    record = make_drawn(
        [1.0, 2.0, 3.0, 4.0],
        {"lr": [0.1, 0.2, 0.5, 0.5], "weight_decay": [None, None, 1.0, 2.0]},
        arms=["a/sgd", "a/sgd", "b/sgd", "b/sgd"],
    )
    found = positions(record)
    assert set(diverged_shares(found)["arm"].to_pylist()) == {"a/sgd"}
    assert set(diverged_shares(found, "weight_decay")["arm"].to_pylist()) == {"b/sgd"}
    assert diverged_shares(found, "beta").num_rows == 0
    assert diverged_shares(positions(make_drawn([], {"lr": []}))).num_rows == 0
    with pytest.raises(ValueError, match="bins: got 0"):
        diverged_shares(found, bins=0)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(OUTCOMES, st.integers(0, 99), st.integers(0, 99)), min_size=3, max_size=60),
    st.integers(1, 12),
    st.randoms(use_true_random=False),
)
def test_every_trial_is_in_one_bin_whatever_the_order(
    make_drawn: MakeRecord, trials: list[tuple[float, int, int]], bins: int, random: Random
) -> None:
    # Two trials more, so that both hyperparameters vary.
    trials = [*trials, (5.0, 0, 0), (5.0, 99, 99)]
    shuffled = random.sample(trials, len(trials))
    tables, maps = [], []
    for order in (trials, shuffled):
        x, y = (np.array([trial[place] for trial in order]) / 100 for place in (1, 2))
        record = make_drawn([trial[0] for trial in order], {"lr": x, "weight_decay": y}, {"lr": x, "weight_decay": y})
        tables.append(diverged_shares(positions(record), bins=bins))
        maps.append(setting_map(positions(record), "m/sgd", bins=bins))
    errors = np.array([trial[0] for trial in trials])
    for counts in (
        tables[0].to_pydict(),
        {name: getattr(maps[0], name).ravel() for name in ("n", "diverged", "missing")},
    ):
        assert sum(counts["n"]) == (~np.isnan(errors)).sum()
        assert sum(counts["diverged"]) == np.isinf(errors).sum()
        assert sum(counts["missing"]) == np.isnan(errors).sum()
    assert tables[0].equals(tables[1])
    np.testing.assert_array_equal(maps[0].median, maps[1].median)
    np.testing.assert_array_equal(maps[0].n, maps[1].n)


def test_a_map_by_hand(make_drawn: MakeRecord) -> None:
    x = np.array([0.1, 0.2, 0.3, 0.6, 0.7, 0.9, 0.8, 0.1])
    y = np.array([0.1, 0.2, 0.3, 0.1, 0.2, 0.9, 0.8, 0.9])
    errors = [10.0, 30.0, 20.0, np.inf, 10.0, 4.0, 6.0, np.nan]
    record = make_drawn(
        errors,
        {"lr": 0.01 * 100**x, "weight_decay": 2 * y},
        {"lr": x, "weight_decay": y},
    )
    found = setting_map(positions(record), "m/sgd", bins=2)
    assert found.n.tolist() == [[3, 2], [0, 2]]  # a row per bin of weight decay, from the lowest
    assert found.diverged.tolist() == [[0, 1], [0, 0]]
    assert found.missing.tolist() == [[0, 0], [1, 0]]
    np.testing.assert_array_equal(found.median, [[20, np.inf], [np.nan, 5]])
    np.testing.assert_array_equal(found.diverged_share, [[0, 0.5], [np.nan, 0]])
    assert found.x_edges.tolist() == pytest.approx([0.01, 0.1, 1])
    assert found.y_edges.tolist() == pytest.approx([0, 1, 2])
    assert found.x_unit_edges.tolist() == [0, 0.5, 1]
    assert (found.x_logarithmic, found.y_logarithmic) == (True, False)


def test_a_map_of_whole_numbers(make_drawn: MakeRecord) -> None:
    units = (np.arange(12) + 0.5) / 12
    values = {"lr": units + 1, "layers": np.floor(units * 3).astype(int) + 1}
    record = make_drawn([5.0] * 12, values, {"lr": units, "layers": units})
    found = setting_map(positions(record), "m/sgd", "lr", "layers", bins=4)
    assert found.n.shape == (3, 4)
    assert found.n.sum() == 12
    assert found.y_edges.tolist() == [0.5, 1.5, 2.5, 3.5]


def test_which_maps_there_are(make_drawn: MakeRecord) -> None:
    record = make_drawn(
        [1.0] * 6,
        {
            "momentum": [0.1, 0.2, None, None, None, None],
            "lr": [1.0, 2.0, 1.0, 2.0, 1.0, 2.0],
            "weight_decay": [1.0, 2.0, None, None, 5.0, 5.0],
            "beta": [None, None, 0.9, 0.8, None, None],
        },
        arms=["a/x", "a/x", "b/x", "b/x", "c/x", "c/x"],
    )
    found = positions(record)
    assert maps_available(found) == {"a/x": ("lr", "weight_decay"), "b/x": ("lr", "beta")}
    with pytest.raises(
        ValueError, match="c/x does not vary 'weight_decay' as a number; hyperparameters that it does: lr"
    ):
        setting_map(found, "c/x")
    with pytest.raises(ValueError, match="No arm 'd/x'"):
        setting_map(found, "d/x")
    with pytest.raises(ValueError, match="needs two"):
        setting_map(found, "a/x", "lr", "lr")
    with pytest.raises(ValueError, match="bins: got 0"):
        setting_map(found, "a/x", bins=0)


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from([1.0, 2.0, 5.0, float("inf")])), max_size=40))
def test_medians_are_those_of_numpy(trials: list[tuple[int, float]]) -> None:
    cells = np.array([cell for cell, _ in trials], dtype=np.intp)
    errors = np.array([error for _, error in trials])
    found = medians(cells, errors, 5)
    for cell in range(5):
        own = np.sort(errors[cells == cell])
        if len(own) == 0:
            assert np.isnan(found[cell])
        else:
            middle = own[(len(own) - 1) // 2], own[len(own) // 2]
            assert found[cell] == (np.median(own) if np.isfinite(own).all() else sum(middle) / 2)
