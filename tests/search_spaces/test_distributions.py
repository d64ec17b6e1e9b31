import math
from collections import Counter
from decimal import Decimal

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from search_spaces import (
    Choice,
    Constant,
    Distribution,
    IntUniform,
    LogIntUniform,
    LogUniform,
    SearchSpace,
    SpaceError,
    Uniform,
    around,
    num_values,
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


def numbers(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_subnormal=False)


@st.composite
def float_grids(draw: st.DrawFn) -> tuple[float, float, float]:
    """An interval that is a multiple of its step, as decimals are written."""
    step, first = Decimal(draw(st.integers(1, 999))), draw(st.integers(1, 200))
    exponent = Decimal(10) ** draw(st.integers(-6, 3))
    last = first + draw(st.integers(1, 300))
    return float(first * step * exponent), float(last * step * exponent), float(step * exponent)


@st.composite
def int_grids(draw: st.DrawFn, lowest: int) -> tuple[int, int, int]:
    low, step, steps = draw(st.integers(lowest, 500)), draw(st.integers(1, 40)), draw(st.integers(1, 200))
    return low, low + step * steps, step


texts = st.text(min_size=1, max_size=8)
plain = st.one_of(st.booleans(), st.integers(-(2**53), 2**53), numbers(-1e300, 1e300), texts)
choices = st.one_of(
    st.lists(st.integers(-(2**53), 2**53), min_size=1, max_size=9, unique=True),
    st.lists(numbers(-1e300, 1e300), min_size=1, max_size=9, unique=True),
    st.lists(texts, min_size=1, max_size=9, unique=True),
    st.just([True, False]),
)
distributions: st.SearchStrategy[Distribution] = st.one_of(
    st.builds(lambda low, width: Uniform(low, low + width), numbers(-1e6, 1e6), numbers(1e-3, 1e6)),
    st.builds(lambda low, factor: LogUniform(low, low * factor), positive, numbers(1.001, 1e6)),
    float_grids().map(lambda grid: Uniform(*grid)),
    float_grids().map(lambda grid: LogUniform(*grid)),
    int_grids(-500).map(lambda grid: IntUniform(*grid)),
    int_grids(1).map(lambda grid: LogIntUniform(*grid)),
    choices.map(Choice),
    plain.map(Constant),
    st.builds(around, positive, numbers(0.01, 0.9), numbers(1.1, 100)),
)


@given(distributions, units, units)
def test_numbers_never_decrease_with_the_unit(distribution: Distribution, a: float, b: float) -> None:
    first, second = (distribution.from_unit(unit) for unit in sorted((a, b)))
    if not isinstance(distribution, Choice) and not isinstance(first, str):
        assert isinstance(second, int | float)
        assert first <= second


@given(distributions)
def test_what_is_written_reads_back(distribution: Distribution) -> None:
    read = parse_distribution(yaml.safe_load(yaml.safe_dump(distribution.to_config())))
    assert read == distribution
    assert hash(read) == hash(distribution)
    assert type(read.from_unit(0.3)) is type(distribution.from_unit(0.3))


@given(float_grids(), units)
def test_stepped_floats_are_the_decimals_that_one_would_write(grid: tuple[float, float, float], unit: float) -> None:
    low, high, step = grid
    steps = [Decimal(repr(low)) + index * Decimal(repr(step)) for index in range(301)]
    allowed = {float(value) for value in steps if value <= Decimal(repr(high))}
    for distribution in (Uniform(low, high, step), LogUniform(low, high, step)):
        assert distribution.num_values == len(allowed)
        assert distribution.from_unit(unit) in allowed
        assert distribution.from_unit(0.0) == low
        assert distribution.from_unit(1 - 2**-53) == high


def test_uniform_steps_are_equally_likely() -> None:
    dropout = Uniform(0, 0.3, step=0.05)
    assert [dropout.from_unit((i + 0.5) / 7) for i in range(7)] == [0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3]
    width = IntUniform(16, 256, step=16)
    assert [width.from_unit((i + 0.5) / 16) for i in range(16)] == list(range(16, 257, 16))


def test_a_stepped_log_uniform_is_a_log_uniform_rounded() -> None:
    distribution = LogUniform(0.1, 1.0, step=0.1)
    found = Counter(distribution.from_unit((i + 0.5) / 20_000) for i in range(20_000))
    law = stats.loguniform(0.1, 1.0)
    for index in range(1, 11):
        value = index / 10
        share = law.cdf(value + 0.05) - law.cdf(value - 0.05)
        assert found[value] / 20_000 == pytest.approx(share, abs=1e-4)


@pytest.mark.parametrize(("low", "high", "step"), [(1, 9, 1), (8, 256, 1), (16, 256, 16), (3, 24, 7)])
def test_a_log_scaled_integer_has_the_share_of_its_cell(low: int, high: int, step: int) -> None:
    distribution = LogIntUniform(low, high, step)
    found = Counter(distribution.from_unit((i + 0.5) / 100_000) for i in range(100_000))
    assert set(found) == set(range(low, high + 1, step))
    law = stats.loguniform(low, high + step)
    for value, count in found.items():
        assert count / 100_000 == pytest.approx(law.cdf(value + step) - law.cdf(value), abs=2e-5)


def test_intervals_of_whole_numbers_and_floats_are_the_same() -> None:
    assert Uniform(0, 1) == Uniform(0.0, 1.0)
    assert isinstance(Uniform(0, 1).from_unit(0.0), float)
    assert isinstance(LogUniform(1, 8, step=1).from_unit(0.9), float)


def test_truth_values_are_no_numbers() -> None:
    assert Constant(True) != Constant(1)
    assert Choice([True, False]) != Choice([1, 0])
    assert len({Constant(True), Constant(1), Choice([True, False]), Choice([1, 0])}) == 4


def test_plain_values_are_constants() -> None:
    space = SearchSpace(momentum=0.9, nesterov=True, solver="sgd", depth={"constant": "1e-3"})
    assert space["momentum"] == Constant(0.9)
    assert space.from_unit(dict.fromkeys(space, 0.7)) == {
        "momentum": 0.9, "nesterov": True, "solver": "sgd", "depth": "1e-3",
    }  # fmt: skip


def test_around_with_factors_of_its_own() -> None:
    assert around(0.004, low=0.25, high=2) == LogUniform(0.001, 0.008)
    assert parse_distribution({"around": {"centre": 0.004, "low": 0.25, "high": 2}}) == LogUniform(0.001, 0.008)
    assert parse_distribution({"around": {"centre": 0.004}}) == around(0.004)


def test_number_of_values() -> None:
    class Square:
        def from_unit(self, unit: float) -> float:
            return unit**2

        def to_config(self) -> dict[str, object]:
            return {"square": None}

    counted: dict[Distribution, int | None]
    counted = {Uniform(0, 1): None, Uniform(0, 1, 0.25): 5, LogUniform(1, 2): None, LogUniform(1, 2, 0.5): 3}
    counted |= {IntUniform(1, 4): 4, IntUniform(0, 9, 3): 4, LogIntUniform(8, 256): 249, Constant("a"): 1}
    counted |= {Choice(["a", "b", "c"]): 3}
    assert {distribution: num_values(distribution) for distribution in counted} == counted
    assert num_values(Square()) is None


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"log_uniform": [0.1, 0.01]}, "not below"),
        ({"log_uniform": [0, 1]}, "above 0"),
        ({"uniform": [1, 1]}, "not below"),
        ({"uniform": [1, float("nan")]}, "finite"),
        ({"int_uniform": [1, 2.5]}, "whole numbers"),
        ({"int_uniform": [1, 4], "step": 2}, "use 3"),
        ({"int_uniform": [1, 4], "step": 8}, "wider than the interval"),
        ({"int_uniform": [1, 4], "step": 0}, "at least 1"),
        ({"int_uniform": [1, 4], "step": True}, "whole numbers"),
        ({"log_int_uniform": [0, 4]}, "at least 1"),
        ({"log_int_uniform": [1.0, 4]}, "whole numbers"),
        ({"uniform": [0, 0.3], "step": 0.07}, "use 0.28"),
        ({"uniform": [0, 0.3], "step": -0.1}, "positive"),
        ({"uniform": [1e308, 1.1e308], "step": 1.7e308}, "wider than the interval"),
        ({"uniform": [0, 1], "step": 1e-20}, "too fine"),
        ({"uniform": [1, 1 + 2**-50], "step": 2**-52}, "multiple of step"),
        ({"uniform": [-1.5e308, 1.5e308]}, "too wide"),
        ({"log_uniform": [0.1, 1.0], "step": "0.1"}, "positive finite number"),
        ({"uniform": [0, 1], "stepp": 0.1}, "write one of"),
        ({"choice": [1, 2], "step": 1}, "takes none"),
        ({"constant": None}, "finite number"),
        ({"constant": [1]}, "finite number"),
        ({"around": {"centre": 1, "low": 2, "high": 1}}, "low below high"),
        ({"around": {"center": 1}}, "centre"),
        ({"around": 1e308}, "no interval"),
        ({"choice": []}, "at least one"),
        ({"choice": [1, 1]}, "twice"),
        ({"choice": [1, "a"]}, "one type"),
        ({"around": -1}, "positive"),
        ({"around": True}, "positive"),
        ({"normal": [0, 1]}, "not a distribution"),
        ({"unifrm": [0, 1]}, "did you mean 'uniform'"),
        (None, "write a value or one of"),
        ([1, 2], "write a value or one of"),
        (float("inf"), "write a value or one of"),
        ("1e-3", "without quotes"),
        (Uniform, "is a class"),
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
