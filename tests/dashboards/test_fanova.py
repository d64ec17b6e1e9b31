"""Main effects of a forest against its own predictions on a grid, and where they are known."""

import numpy as np
import pytest
from sklearn.tree import DecisionTreeRegressor

from dashboards.space.fanova import leaves_of, marginal_variance, shares_of_variance

BINS = 64


def grown(dimensions: int, depth: int = 5) -> DecisionTreeRegressor:
    """A tree whose thresholds are whole 64ths, so that the middles of a grid of 64 cells see every box exactly."""
    generator = np.random.default_rng(dimensions)
    places = (2 * generator.integers(0, BINS // 2, (300, dimensions)) + 1) / BINS
    errors = 30 * np.abs(places[:, 0] - 0.4) + 12 * places[:, -1] * places[:, 0] + generator.normal(0, 1, 300)
    return DecisionTreeRegressor(max_depth=depth, random_state=0).fit(places, errors)


def predictions(tree: DecisionTreeRegressor, dimensions: int) -> np.ndarray:
    """On a grid, one axis a dimension."""
    middles = (np.arange(BINS) + 0.5) / BINS
    grid = np.stack(np.meshgrid(*[middles] * dimensions, indexing="ij"), axis=-1)
    return np.asarray(tree.predict(grid.reshape(-1, dimensions))).reshape([BINS] * dimensions)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_the_variance_of_one_dimension_is_that_of_the_means_over_the_others(dimensions: int) -> None:
    tree = grown(dimensions)
    leaves, values = leaves_of(tree.tree_), predictions(tree, dimensions)
    assert leaves.widths.prod(axis=1).sum() == pytest.approx(1)
    for column in range(dimensions):
        means = values.mean(axis=tuple(other for other in range(dimensions) if other != column))
        assert marginal_variance(leaves, slice(column, column + 1)) == pytest.approx(means.var(), rel=1e-9)


def test_the_variance_of_several_columns_together() -> None:
    tree = grown(3)
    means = predictions(tree, 3).mean(axis=2)
    assert marginal_variance(leaves_of(tree.tree_), slice(0, 2)) == pytest.approx(means.var(), rel=1e-9)


def test_many_choices() -> None:
    """One of twelve choices is bad: pairs of leaves need no table of all 2**12 places."""
    generator = np.random.default_rng(0)
    choices, other = generator.integers(0, 12, 600), generator.random((600, 1))
    found = shares_of_variance([np.eye(12)[choices], other], np.where(choices == 3, 60.0, 10.0), depth=6, seed=0)
    assert found == pytest.approx([1.0, 0.0], abs=0.01)


def test_nothing_to_split_by() -> None:
    inputs = [np.full((5, 1), 0.5), np.full((5, 1), 0.2)]
    assert shares_of_variance(inputs, np.arange(5.0), depth=6, seed=0).tolist() == [0.0, 0.0]
