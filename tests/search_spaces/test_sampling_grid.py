import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import Choice, IntUniform, LogUniform, SearchSpace, SpaceError, Uniform
from search_spaces.conditions import Conditional
from search_spaces.distributions import Constant, Distribution, LogIntUniform
from search_spaces.grid import grid_points, grid_size

CONTINUOUS = SearchSpace(lr=LogUniform(1e-4, 1.0), momentum=Uniform(0.0, 1.0))


def test_a_grid_is_the_product_of_cell_centres_last_dimension_fastest() -> None:
    rows, columns = np.meshgrid((np.arange(3) + 0.5) / 3, (np.arange(2) + 0.5) / 2, indexing="ij")
    expected = [{"lr": r, "momentum": c} for r, c in zip(rows.flat, columns.flat, strict=True)]
    assert grid_points(CONTINUOUS, {"lr": 3, "momentum": 2}) == expected
    assert grid_points(CONTINUOUS, 4) == grid_points(CONTINUOUS, {"lr": 4, "momentum": 4})


def test_a_grid_of_a_logarithmic_dimension_is_geometric() -> None:
    values = [CONTINUOUS.from_unit(point)["lr"] for point in grid_points(CONTINUOUS, {"lr": 4, "momentum": 1})]
    assert values == pytest.approx([10**-3.5, 10**-2.5, 10**-1.5, 10**-0.5])


@pytest.mark.parametrize(
    ("distribution", "values"),
    [
        (Choice(["a", "b", "c"]), ["a", "b", "c"]),
        (Choice([0.5, 0.1]), [0.5, 0.1]),
        (IntUniform(2, 8, step=2), [2, 4, 6, 8]),
        (Uniform(0.0, 0.3, step=0.1), [0.0, 0.1, 0.2, 0.3]),
        (LogIntUniform(1, 9), list(range(1, 10))),
        (LogIntUniform(16, 64, step=16), [16, 32, 48, 64]),
        (LogUniform(0.1, 1.0, step=0.3), [0.1, 0.4, 0.7, 1.0]),
        (Constant("sgd"), ["sgd"]),
    ],
)
def test_few_values_stand_once_each(distribution: Distribution, values: list[Any]) -> None:
    space = SearchSpace(x=distribution)
    asked: tuple[int | dict[str, int], ...] = (len(values), len(values) + 7, {})
    for points in asked:
        assert [space.from_unit(point)["x"] for point in grid_points(space, points)] == values


def test_more_values_than_points_take_cell_centres() -> None:
    space = SearchSpace(width=IntUniform(1, 100), lr=Uniform(0.0, 1.0))
    points = grid_points(space, {"width": 4, "lr": 1})
    assert [point["width"] for point in points] == [0.125, 0.375, 0.625, 0.875]
    assert [space.from_unit(point)["width"] for point in points] == [13, 38, 63, 88]


@given(
    st.lists(
        st.tuples(st.sampled_from(["float", "int", "choice", "constant"]), st.integers(1, 6)), min_size=1, max_size=4
    )
)
def test_the_size_is_known_before(dimensions: list[tuple[str, int]]) -> None:
    kinds = {"float": Uniform(0.0, 1.0), "int": LogIntUniform(1, 4), "choice": Choice(["a", "b", "c"]), "constant": 0.9}
    space = SearchSpace({f"x{i}": kinds[kind] for i, (kind, _) in enumerate(dimensions)})
    asked = {f"x{i}": count for i, (_, count) in enumerate(dimensions)}
    points = grid_points(space, asked)
    limits = {"float": math.inf, "int": 4, "choice": 3, "constant": 1}
    assert len(points) == grid_size(space, asked) == math.prod(min(n, limits[kind]) for kind, n in dimensions)
    settings = {tuple(space.from_unit(point).values()) for point in points}
    assert len(settings) == len(points)


def test_every_branch_of_a_conditional_space_keeps_its_share() -> None:
    space = SearchSpace(solver=Choice(["sgd", "adamw"]), momentum=Conditional(Uniform(0.5, 1.0), solver="sgd"))
    settings = [space.from_unit(point) for point in grid_points(space, 5)]
    assert grid_size(space, 5) == 10
    assert settings[5:] == [{"solver": "adamw"}] * 5
    assert [setting["momentum"] for setting in settings[:5]] == pytest.approx([0.55, 0.65, 0.75, 0.85, 0.95])


def test_a_coordinate_stands_for_every_dimension_in_the_spaces_order() -> None:
    space = SearchSpace(momentum=Conditional(Uniform(0.5, 1.0), solver="sgd"), solver=Choice(["sgd", "adamw"]))
    assert all(list(point) == ["momentum", "solver"] for point in grid_points(space, 3))


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ({"lr": 3, "momentun": 2}, "'momentun' is no dimension of the space; did you mean 'momentum'"),
        ({"lr": 3}, "momentum is continuous and has no number of points"),
        (0, "points of lr must be a whole number of at least 1, got 0"),
        (2.5, "whole number"),
        (True, "whole number"),
        ({"lr": "3", "momentum": 1}, "whole number"),
        (1001, "1,002,001 draws are more than 1,000,000"),
    ],
)
def test_bad_grids_say_what_to_change(points: Any, words: str) -> None:
    for function in (grid_points, grid_size):
        with pytest.raises(SpaceError, match=r".+") as error:
            function(CONTINUOUS, points)
        assert words in str(error.value)


def test_the_largest_grid_is_allowed() -> None:
    assert grid_size(CONTINUOUS, 1000) == 1_000_000
    assert grid_size(SearchSpace(x=IntUniform(1, 2**40)), 7) == 7
    with pytest.raises(SpaceError, match="more than"):
        grid_points(SearchSpace(x=IntUniform(1, 2**40)), {})


@dataclass(frozen=True)
class Miscounted:
    """A user's distribution of three values, of unequal shares, that says another number."""

    num_values: int

    def from_unit(self, unit: float) -> int:
        return 0 if unit < 0.1 else 1 if unit < 0.2 else 2

    def to_config(self) -> dict[str, Any]:
        return {"miscounted": self.num_values}


def test_a_users_distribution_gives_each_value_once() -> None:
    space = SearchSpace(x=Miscounted(3))
    assert grid_points(space, 5) == [{"x": pytest.approx(unit)} for unit in (0.05, 0.15, 0.6)]
    for count in (2, 4):
        with pytest.raises(SpaceError, match="correct its num_values"):
            grid_points(SearchSpace(x=Miscounted(count)), 5)


def test_the_order_is_that_of_itertools() -> None:
    space = SearchSpace(a=Choice([1, 2]), b=Choice(["x", "y", "z"]), c=IntUniform(0, 1))
    settings = [tuple(space.from_unit(point).values()) for point in grid_points(space, {})]
    assert settings == list(itertools.product([1, 2], ["x", "y", "z"], [0, 1]))
