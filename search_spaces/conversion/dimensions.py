"""What both conversions do: go through the dimensions and name the one that has no exact counterpart."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from search_spaces.conditions import Conditional
from search_spaces.distributions import Distribution
from search_spaces.space import SearchSpace
from search_spaces.values import SpaceError, shown

_T = TypeVar("_T")


def converted(dimensions: Mapping[str, Any], convert: Callable[[Any], _T]) -> dict[str, _T]:
    """Each dimension converted, in the order given.

    Raises:
        SpaceError: If ``convert`` raises one; it then names the dimension.
    """
    results: dict[str, _T] = {}
    for name, dimension in dimensions.items():
        try:
            results[name] = convert(dimension)
        except SpaceError as error:
            raise SpaceError(f"{name}: {error}") from error
    return results


def to_space(dimensions: object, library: str, convert: Callable[[Any], Distribution]) -> SearchSpace:
    """The space of another library's dimensions.

    Raises:
        SpaceError: If they are no mapping, or one has no exact counterpart.
    """
    if not isinstance(dimensions, Mapping):
        raise SpaceError(f"a space of {library} is a mapping of names to its distributions, got {shown(dimensions)}")
    return SearchSpace(converted(dimensions, convert))


def no_counterpart(distribution: Distribution, library: str) -> SpaceError:
    """The error of a distribution that no rule converts."""
    if isinstance(distribution, Conditional):
        return SpaceError(
            f"{library} cannot switch a dimension on and off; draw with SearchSpace.from_unit, or convert a space without it"
        )
    return SpaceError(
        f"{library} knows no {type(distribution).__name__}; convert a Uniform(0, 1) in its place and map it by from_unit"
    )
