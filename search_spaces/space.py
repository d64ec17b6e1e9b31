"""A search space: named dimensions, each with its distribution and, if need be, the condition it is active under."""

from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

from search_spaces.conditions import Condition, Conditional, OneOf, possible, takes
from search_spaces.distributions import HIGH_FACTOR, LOW_FACTOR, Constant, Distribution, LogUniform, Uniform, around
from search_spaces.parsing import parse_distribution
from search_spaces.values import HyperparameterValue, SpaceError, is_number, shown

_FREE = ("lr", "weight_decay")
"""Dimensions that follow a centre anywhere, as the paper's do: there is no value at which they lose their meaning."""
# A mean of equal centres may differ from them in its last digits.
_ROUNDING = 1e-9


class SearchSpace(Mapping[str, Distribution]):
    """Named dimensions in a fixed order, e.g. ``SearchSpace(lr=around(2e-3), weight_decay=around(0.2))``.

    A dimension is a distribution, a mapping that :func:`search_spaces.parse_distribution` reads, a plain value (a
    constant), or a :class:`search_spaces.Conditional` of one of these.

    Raises:
        SpaceError: If there is no dimension, one is no distribution, or a condition names no dimension, can never hold, or
            depends on itself.
    """

    def __init__(self, dimensions: Mapping[str, object] | None = None, /, **named: object) -> None:
        if dimensions is not None and not isinstance(dimensions, Mapping):
            raise SpaceError(
                f"a search space is a mapping of dimensions, e.g. lr: {{around: 0.001}}, got {shown(dimensions)}"
            )
        given = {**(dimensions or {}), **named}
        if not given:
            raise SpaceError("a search space needs at least one dimension, e.g. lr: {around: 0.001}")
        self._set(given)
        for name in self._conditionals():
            self._check_conditions(name)

    def _set(self, given: Mapping[str, object]) -> None:
        self._dimensions = {name: self._parse(name, config) for name, config in given.items()}
        self._order = self._sorted()

    @staticmethod
    def _parse(name: object, config: object) -> Distribution:
        if not isinstance(name, str) or not name:
            raise SpaceError(f"the name of a dimension is a text, got {shown(name)}; put it into quotes")
        try:
            return parse_distribution(config)
        except SpaceError as error:
            raise SpaceError(f"{name}: {error}") from error

    def _conditionals(self) -> dict[str, Conditional]:
        return {name: d for name, d in self._dimensions.items() if isinstance(d, Conditional)}

    def _sorted(self) -> tuple[str, ...]:
        conditionals = self._conditionals()
        for name, conditional in conditionals.items():
            for parent in conditional.parents:
                if parent not in self._dimensions:
                    raise SpaceError(
                        f"{name}: when.{parent}: the space has no such dimension; it has {', '.join(self)}"
                    )
        parents = {name: conditionals[name].parents if name in conditionals else () for name in self._dimensions}
        try:
            return tuple(TopologicalSorter(parents).static_order())
        except CycleError as error:
            raise SpaceError(
                f"{error.args[1][0]}: its condition depends on itself ({' - '.join(error.args[1])}); break the circle"
            ) from error

    def _check_conditions(self, name: str) -> None:
        """Dimensions are independent, so one can be active if, ancestor by ancestor, all conditions can hold at once."""
        for parent, conditions in self._ancestors(name).items():
            distribution = self.distribution(parent)
            if possible(distribution, conditions):
                continue
            wanted = " and ".join(shown(condition.to_config()) for condition in conditions)
            raise SpaceError(
                f"{name}: when.{parent}: {wanted} never holds: {parent} is {shown(distribution.to_config())}"
                f"{_way_out(distribution, conditions)}"
            )
        for parent, condition in self._conditionals()[name].conditions:
            self._check_values(name, parent, condition)

    def _check_values(self, name: str, parent: str, condition: Condition) -> None:
        distribution = self.distribution(parent)
        for value in condition.values if isinstance(condition, OneOf) else ():
            if not takes(distribution, value):
                raise SpaceError(
                    f"{name}: when.{parent}: it never is {shown(value)}; {parent} is {shown(distribution.to_config())}"
                )

    def _ancestors(self, name: str) -> dict[str, list[Condition]]:
        """Every dimension that a dimension depends on, directly or not, with the conditions on it."""
        conditionals, found = self._conditionals(), dict[str, list[Condition]]()
        pending, seen = [name], {name}
        while pending:
            for parent, condition in conditionals[pending.pop()].conditions:
                found.setdefault(parent, []).append(condition)
                if parent in conditionals and parent not in seen:
                    seen.add(parent)
                    pending.append(parent)
        return found

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
        # Equality does not see the order of the dimensions, so neither may the hash.
        return hash(frozenset(self._dimensions.items()))

    @property
    def order(self) -> tuple[str, ...]:
        """The names of all dimensions, those that others depend on before these."""
        return self._order

    @property
    def unconditional(self) -> bool:
        """Whether every dimension is always active."""
        return not self._conditionals()

    def distribution(self, name: str) -> Distribution:
        """A dimension's distribution, without the condition that ``space[name]`` may have."""
        given = self._dimensions[name]
        return given.distribution if isinstance(given, Conditional) else given

    def is_active(self, name: str, values: Mapping[str, HyperparameterValue]) -> bool:
        """Whether a dimension is active.

        Args:
            name: The dimension.
            values: The values of the active dimensions among those before it in :attr:`order`.
        """
        given = self._dimensions[name]
        return not isinstance(given, Conditional) or given.holds(values)

    def from_unit(self, point: Mapping[str, float]) -> dict[str, HyperparameterValue]:
        """The hyperparameters at a unit point: the active dimensions, in the space's own order.

        Args:
            point: For every dimension's name, active or not, a coordinate in [0, 1); further names are ignored.

        Raises:
            SpaceError: If a dimension has no coordinate.
        """
        missing = [name for name in self if name not in point]
        if missing:
            raise SpaceError(f"the unit point has no coordinate for {', '.join(missing)}")
        values: dict[str, HyperparameterValue] = {}
        for name in self._order:
            if self.is_active(name, values):
                values[name] = self._dimensions[name].from_unit(point[name])
        return {name: values[name] for name in self if name in values}

    def example(self) -> dict[str, HyperparameterValue]:
        """A value of every dimension, active or not: what tells numbers, texts and truth values apart."""
        return {name: distribution.from_unit(0.0) for name, distribution in self.items()}

    def around(self, centre: Mapping[str, HyperparameterValue]) -> "SearchSpace":
        """This space moved to a good setting.

        ``lr`` and ``weight_decay``, if log-uniform without step and positive in the centre, become
        :func:`search_spaces.around` the centre's value, whatever their interval. Any other log-uniform dimension without
        step is narrowed to that interval around its value, and never leaves its own, beyond which its values may mean
        nothing. All else stays as it is; a name that is no dimension becomes a constant. A dimension whose condition
        holds nowhere in the new intervals stays and is never active: such a space cannot be read back from
        :meth:`to_config`.

        Args:
            centre: Values by name, in the hyperparameters' own units.

        Raises:
            SpaceError: If the value of a dimension to be narrowed lies outside its interval, or a further value can be none of
                a hyperparameter.
        """
        dimensions: dict[str, object] = {
            name: self._moved(name, centre[name]) if name in centre else given for name, given in self.items()
        }
        moved = SearchSpace.__new__(SearchSpace)
        # Not checked as a user's: what the new intervals rule out is no mistake.
        moved._set({**dimensions, **{n: Constant(v) for n, v in centre.items() if n not in dimensions}})
        return moved

    def _moved(self, name: str, centre: HyperparameterValue) -> Distribution:
        given, distribution = self._dimensions[name], self.distribution(name)
        if not isinstance(distribution, LogUniform) or distribution.step is not None:
            return given
        if name not in _FREE:
            moved = _narrowed(name, distribution, centre)
        elif is_number(centre) and centre > 0:
            moved = around(centre)
        else:
            return given
        return Conditional(moved, **dict(given.conditions)) if isinstance(given, Conditional) else moved

    def to_config(self) -> dict[str, Any]:
        """The mapping of a study file that reads back as this space."""
        return {name: distribution.to_config() for name, distribution in self.items()}


def space_around(centre: Mapping[str, HyperparameterValue]) -> SearchSpace:
    """A space around a good setting: ``lr`` and ``weight_decay``, where positive, :func:`search_spaces.around` their values.

    Everything else becomes a constant.

    Args:
        centre: Values by name, in the hyperparameters' own units.

    Raises:
        SpaceError: If the centre is empty, or has a value that can be none of a hyperparameter.
    """
    dimensions: dict[str, object] = {}
    for name, value in centre.items():
        moves = name in _FREE and is_number(value) and value > 0
        dimensions[name] = around(value) if moves and is_number(value) else Constant(value)
    return SearchSpace(dimensions)


def _narrowed(name: str, interval: LogUniform, centre: HyperparameterValue) -> LogUniform:
    low, high = interval.low, interval.high
    if not is_number(centre) or not low * (1 - _ROUNDING) <= centre <= high * (1 + _ROUNDING):
        raise SpaceError(
            f"{name}: the centre {shown(centre)} lies outside {shown(interval.to_config())}; change one of them"
        )
    return LogUniform(max(low, centre * LOW_FACTOR), min(high, centre * HIGH_FACTOR))


def _way_out(distribution: Distribution, conditions: Sequence[Condition]) -> str:
    continuous = isinstance(distribution, Uniform | LogUniform) and distribution.step is None
    if continuous and any(isinstance(condition, OneOf) for condition in conditions):
        return ", where a single value has probability 0; use at_least, at_most, above or below"
    return "; change one of them"
