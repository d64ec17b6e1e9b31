import hashlib
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import qmc

from search_spaces import SpaceError
from search_spaces.sampling import MAX_DIMENSIONS, NON_ADAPTIVE, unit_point, unit_points

NAMES = ["lr", "weight_decay", "momentum"]
seeds = st.integers(0, 2**31 - 1)
samplers = st.sampled_from(["random", "sobol", "halton"])


def as_array(points: list[dict[str, float]]) -> np.ndarray:
    return np.array([list(point.values()) for point in points])


def test_the_coordinates_of_random_draws_never_change() -> None:
    # From the first version: studies that were begun with it go on.
    assert unit_point(["lr", "weight_decay"], seed=0, draw=0) == {
        "lr": 0.17869364086665485,
        "weight_decay": 0.16500096416669452,
    }
    assert list(unit_point(["lr", "weight_decay"], seed=7, draw=123).values()) == [
        0.9302591882943845,
        0.286831137029513,
    ]


@given(seeds, st.integers(0, 40))
def test_random_draws_are_unit_points(seed: int, draws: int) -> None:
    assert unit_points("random", NAMES, seed=seed, draws=draws) == [
        unit_point(NAMES, seed=seed, draw=draw) for draw in range(draws)
    ]


@pytest.mark.parametrize(("sampler", "engine"), [("sobol", qmc.Sobol), ("halton", qmc.Halton)])
@pytest.mark.parametrize("draws", [1, 37, 1024, 3000])
def test_quasi_random_draws_are_scipys_to_the_bit(sampler: str, engine: type[qmc.QMCEngine], draws: int) -> None:
    digest = hashlib.sha256(f"stablesweep unit points\0{5}\0{sampler}".encode()).digest()
    generator = np.random.default_rng(int.from_bytes(digest, "big"))
    with warnings.catch_warnings(action="ignore"):
        expected = engine(d=MAX_DIMENSIONS, rng=generator).random(draws)
    assert np.array_equal(as_array(unit_points(sampler, NAMES, seed=5, draws=draws)), expected[:, : len(NAMES)])


@settings(max_examples=25)
@given(samplers, seeds, st.integers(0, 1500), st.integers(0, 1500))
def test_more_draws_change_no_earlier_one(sampler: str, seed: int, few: int, more: int) -> None:
    few, many = sorted((few, more))
    assert unit_points(sampler, NAMES, seed=seed, draws=many)[:few] == unit_points(sampler, NAMES, seed=seed, draws=few)


@settings(max_examples=25)
@given(samplers, seeds, st.integers(1, MAX_DIMENSIONS))
def test_a_dimension_at_the_end_changes_no_coordinate_before_it(sampler: str, seed: int, dimensions: int) -> None:
    names = [f"x{i}" for i in range(dimensions)]
    all_points = unit_points(sampler, names, seed=seed, draws=9)
    fewer = unit_points(sampler, names[:-1], seed=seed, draws=9)
    assert [{name: point[name] for name in names[:-1]} for point in all_points] == fewer


@settings(max_examples=25)
@given(samplers, seeds)
def test_coordinates_lie_in_the_unit_interval(sampler: str, seed: int) -> None:
    coordinates = as_array(unit_points(sampler, [f"x{i}" for i in range(MAX_DIMENSIONS)], seed=seed, draws=200))
    assert coordinates.shape == (200, MAX_DIMENSIONS)
    assert 0 <= coordinates.min() <= coordinates.max() < 1


@pytest.mark.parametrize("sampler", ["random", "sobol", "halton"])
def test_every_coordinate_is_uniform(sampler: str) -> None:
    coordinates = as_array(unit_points(sampler, NAMES, seed=2, draws=2000))
    for column in coordinates.T:
        assert stats.kstest(column, stats.uniform.cdf).pvalue > 0.01


def test_quasi_random_draws_fill_the_cube_more_evenly() -> None:
    discrepancy = {
        sampler: float(qmc.discrepancy(as_array(unit_points(sampler, NAMES, seed=3, draws=256))))
        for sampler in ("random", "sobol", "halton")
    }
    assert discrepancy["sobol"] < discrepancy["random"] / 5
    assert discrepancy["halton"] < discrepancy["random"] / 5


@pytest.mark.parametrize("sampler", ["sobol", "halton"])
def test_another_seed_gives_other_draws(sampler: str) -> None:
    points = [as_array(unit_points(sampler, NAMES, seed=seed, draws=64)) for seed in (0, 1)]
    assert np.abs(points[0] - points[1]).max(axis=1).min() > 0


@pytest.mark.parametrize("sampler", ["sobol", "halton"])
def test_no_warning_reaches_the_user(sampler: str) -> None:
    with warnings.catch_warnings(action="error"):
        assert len(unit_points(sampler, NAMES, seed=0, draws=3)) == 3


def test_bad_samplers_say_what_to_change() -> None:
    with pytest.raises(SpaceError, match="'sobl' is no non-adaptive sampler; did you mean 'sobol'"):
        unit_points("sobl", NAMES, seed=0, draws=1)
    with pytest.raises(SpaceError, match="use grid_points"):
        unit_points("grid", NAMES, seed=0, draws=1)
    with pytest.raises(SpaceError, match="halton: 65 dimensions are more than its 64"):
        unit_points("halton", [str(i) for i in range(65)], seed=0, draws=1)
    assert len(unit_points("random", [str(i) for i in range(65)], seed=0, draws=1)[0]) == 65
    assert NON_ADAPTIVE == ("random", "sobol", "halton", "grid")
