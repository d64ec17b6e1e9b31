import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from search_spaces import (
    Choice,
    IntUniform,
    LogUniform,
    SearchSpace,
    SpaceError,
    Uniform,
    around,
    parse_distribution,
    unit_point,
)

units = st.floats(0, 1, exclude_max=True)
positive = st.floats(1e-12, 1e9)


@given(positive, st.floats(1.001, 1e6), units, units)
def test_log_uniform_is_monotone_and_in_range(low: float, factor: float, a: float, b: float) -> None:
    distribution = LogUniform(low, low * factor)
    first, second = sorted((a, b))
    assert low <= distribution.from_unit(first) <= distribution.from_unit(second) <= low * factor


@given(st.integers(-50, 50), st.integers(1, 50), units)
def test_int_uniform_stays_in_range(low: int, width: int, unit: float) -> None:
    value = IntUniform(low, low + width).from_unit(unit)
    assert isinstance(value, int)
    assert low <= value <= low + width


def test_values_follow_their_distribution() -> None:
    points = [unit_point(["lr"], seed=3, draw=i)["lr"] for i in range(4000)]
    values = [LogUniform(1e-4, 1e-1).from_unit(u) for u in points]
    assert stats.kstest(values, stats.loguniform(1e-4, 1e-1).cdf).pvalue > 0.01
    counts = np.bincount([IntUniform(0, 4).from_unit(u) for u in points])
    assert stats.chisquare(counts).pvalue > 0.01


def test_coordinates_are_uncorrelated() -> None:
    points = np.array([list(unit_point(["lr", "weight_decay"], seed=0, draw=i).values()) for i in range(4000)])
    assert abs(stats.spearmanr(points[:, 0], points[:, 1]).statistic) < 0.05
    assert abs(stats.spearmanr(points[:-1, 0], points[1:, 0]).statistic) < 0.05


def test_around_is_the_papers_interval() -> None:
    # Table 4 of the paper: ViT with AdamW has learning rates 2.5e-4 to 8.0e-3 around 2e-3.
    interval = around(2e-3)
    assert isinstance(interval, LogUniform)
    assert (interval.low, interval.high) == (2.5e-4, 8.0e-3)
    assert math.isclose(interval.from_unit(0.6), 2e-3)


@given(st.integers(0, 500), st.integers(0, 2**31 - 1))
def test_a_draw_does_not_depend_on_other_dimensions(draw: int, seed: int) -> None:
    alone = unit_point(["lr"], seed=seed, draw=draw)
    among = unit_point(["momentum", "lr", "weight_decay"], seed=seed, draw=draw)
    assert alone["lr"] == among["lr"]


@pytest.mark.parametrize(
    "distribution", [Uniform(-1.0, 2.0), LogUniform(1e-3, 1.0), IntUniform(1, 9), Choice(["a", "b"]), around(0.1)]
)
def test_config_round_trip(distribution: object) -> None:
    assert parse_distribution(distribution.to_config()) == distribution  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"log_uniform": [0.1, 0.01]}, "not below"),
        ({"log_uniform": [0, 1]}, "above 0"),
        ({"uniform": [1, 1]}, "not below"),
        ({"uniform": [1, float("nan")]}, "finite"),
        ({"int_uniform": [1, 2.5]}, "whole numbers"),
        ({"choice": []}, "at least one"),
        ({"choice": [1, 1]}, "twice"),
        ({"choice": [1, "a"]}, "one type"),
        ({"around": -1}, "positive"),
        ({"around": True}, "positive"),
        ({"normal": [0, 1]}, "not a distribution"),
        (0.1, "write one of"),
        ({"uniform": [0, 1], "around": 1}, "write one of"),
        ({"uniform": 3}, "give [low, high]"),
    ],
)
def test_bad_distributions_say_what_to_change(config: object, words: str) -> None:
    with pytest.raises(SpaceError, match=r".+") as error:
        parse_distribution(config)
    assert words in str(error.value)


def test_space_maps_a_unit_point() -> None:
    space = SearchSpace(lr=LogUniform(0.01, 1.0), layers=IntUniform(1, 4))
    assert space.from_unit({"lr": 0.5, "layers": 0.99, "other": 0.1}) == {"lr": pytest.approx(0.1), "layers": 4}
    assert SearchSpace(space.to_config()) == space


def test_space_errors_name_the_dimension() -> None:
    with pytest.raises(SpaceError, match="weight_decay: around"):
        SearchSpace({"lr": {"around": 1}, "weight_decay": {"around": 0}})
    with pytest.raises(SpaceError, match="at least one dimension"):
        SearchSpace({})
    with pytest.raises(SpaceError, match="no coordinate for lr"):
        SearchSpace(lr=around(1.0)).from_unit({})
