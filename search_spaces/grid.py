"""Full factorial grids over a search space."""

import difflib
import itertools
import math
from collections.abc import Mapping

from search_spaces.distributions import Distribution, num_values
from search_spaces.space import SearchSpace
from search_spaces.values import SpaceError

MAX_GRID = 1_000_000
"""The most draws of one grid."""


def grid_points(space: SearchSpace, points: int | Mapping[str, int]) -> list[dict[str, float]]:
    """The unit points of a full factorial grid; the last dimension changes fastest.

    A dimension with at most as many values as points takes each of its values once; any other takes the centres
    (i + 0.5) / k of k equal cells of the unit interval. The grid is of the whole cube: where a condition switches a
    dimension off, its points give the same setting several times, so that every branch keeps the share of the draws
    that random sampling would give it.

    Args:
        space: The search space.
        points: How many points each dimension gets, from 1: one number for all, or a number for each name. A dimension
            of few values may be left out of the mapping and then takes all of them.

    Returns:
        For each draw a coordinate in [0, 1) for every dimension, in the space's order of names.

    Raises:
        SpaceError: If a number is no whole number from 1, a name is no dimension, a continuous dimension has no number,
            or the grid has more than ``MAX_GRID`` draws.

    Source: own.
    """
    counts = _counts(space, points)
    _check_size(math.prod(counts.values()))
    axes = [_coordinates(space.distribution(name), count) for name, count in counts.items()]
    return [dict(zip(counts, row, strict=True)) for row in itertools.product(*axes)]


def grid_size(space: SearchSpace, points: int | Mapping[str, int]) -> int:
    """How many draws :func:`grid_points` gives; raises the same errors."""
    size = math.prod(_counts(space, points).values())
    _check_size(size)
    return size


def _check_size(size: int) -> None:
    if size > MAX_GRID:
        raise SpaceError(f"grid: {size:,} draws are more than {MAX_GRID:,}; give fewer points a dimension")


def _counts(space: SearchSpace, points: int | Mapping[str, int]) -> dict[str, int]:
    if isinstance(points, Mapping):
        for name in points:
            if name not in space:
                nearest = difflib.get_close_matches(str(name), list(space), n=1, cutoff=0.0)[0]
                raise SpaceError(f"grid: {name!r} is no dimension of the space; did you mean {nearest!r}?")
        asked = {name: points.get(name) for name in space}
    else:
        asked = dict.fromkeys(space, points)
    return {name: _count(name, num_values(space.distribution(name)), count) for name, count in asked.items()}


def _count(name: str, available: int | None, asked: int | None) -> int:
    if asked is None:
        if available is None:
            raise SpaceError(f"grid: {name} is continuous and has no number of points; add {name} to points")
        return available
    if isinstance(asked, bool) or not isinstance(asked, int) or asked < 1:
        raise SpaceError(f"grid: the points of {name} must be a whole number of at least 1, got {asked!r}")
    return asked if available is None else min(asked, available)


def _coordinates(distribution: Distribution, count: int) -> list[float]:
    centres = [(i + 0.5) / count for i in range(count)]
    # Values that are not equally likely, such as whole numbers on a log scale, do not fall into equal cells.
    if count == num_values(distribution) and len({distribution.from_unit(unit) for unit in centres}) < count:
        return _value_centres(distribution, count)
    return centres


def _value_centres(distribution: Distribution, count: int) -> list[float]:
    """For each value, in order, the middle of the units that map to it."""
    centres: list[float] = []
    start = 0.0
    while start < 1.0 and len(centres) < count:
        end = _end_of_value(distribution, start)
        centres.append((start + end) / 2)
        start = end
    if start < 1.0 or len(centres) < count:
        raise SpaceError(
            f"grid: {distribution!r} does not give {count} values in one piece each; correct its num_values"
        )
    return centres


def _end_of_value(distribution: Distribution, start: float) -> float:
    """The smallest double above ``start`` that maps to another value, or 1."""
    value, low, high = distribution.from_unit(start), start, 1.0
    while (middle := (low + high) / 2) not in (low, high):
        low, high = (middle, high) if distribution.from_unit(middle) == value else (low, middle)
    return high
