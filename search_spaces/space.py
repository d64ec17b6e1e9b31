"""A search space: named dimensions, each with its distribution."""

from collections.abc import Iterator, Mapping
from typing import Any

from search_spaces.distributions import Distribution, HyperparameterValue, SpaceError, parse_distribution


class SearchSpace(Mapping[str, Distribution]):
    """Named dimensions in a fixed order, e.g. ``SearchSpace(lr=around(2e-3), weight_decay=around(0.2))``.

    Raises:
        SpaceError: If there is no dimension, or one is no distribution.
    """

    def __init__(self, dimensions: Mapping[str, object] | None = None, /, **named: object) -> None:
        given = {**(dimensions or {}), **named}
        if not given:
            raise SpaceError("a search space needs at least one dimension, e.g. lr: {around: 0.001}")
        self._dimensions = {name: self._parse(name, config) for name, config in given.items()}

    @staticmethod
    def _parse(name: str, config: object) -> Distribution:
        try:
            return parse_distribution(config)
        except SpaceError as error:
            raise SpaceError(f"{name}: {error}") from error

    def __getitem__(self, name: str) -> Distribution:
        return self._dimensions[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._dimensions)

    def __len__(self) -> int:
        return len(self._dimensions)

    def __repr__(self) -> str:
        return f"SearchSpace({self._dimensions!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SearchSpace) and self._dimensions == other._dimensions

    def __hash__(self) -> int:
        return hash(tuple(self._dimensions.items()))

    def from_unit(self, point: Mapping[str, float]) -> dict[str, HyperparameterValue]:
        """The hyperparameters at a unit point.

        Args:
            point: For every dimension's name a coordinate in [0, 1); further names are ignored.

        Raises:
            SpaceError: If a dimension has no coordinate.
        """
        missing = [name for name in self if name not in point]
        if missing:
            raise SpaceError(f"the unit point has no coordinate for {', '.join(missing)}")
        return {name: distribution.from_unit(point[name]) for name, distribution in self.items()}

    def to_config(self) -> dict[str, Any]:
        """The mapping of a study file that reads back as this space."""
        return {name: distribution.to_config() for name, distribution in self.items()}
