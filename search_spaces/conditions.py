"""When a dimension is active: conditions on the values of other dimensions."""

import bisect
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

from search_spaces.distributions import (
    Choice,
    Constant,
    Distribution,
    IntUniform,
    LogIntUniform,
    LogUniform,
    Uniform,
    num_values,
)
from search_spaces.values import HyperparameterValue, SpaceError, is_number, is_plain, same, shown

_LAST_UNIT = 1 - 2.0**-53


@dataclass(frozen=True, slots=True)
class OneOf:
    """The parent's value is one of these."""

    values: tuple[HyperparameterValue, ...]

    def holds(self, value: HyperparameterValue) -> bool:
        """Whether the condition holds at a value of the parent; true is not 1."""
        return any(same(value, wanted) for wanted in self.values)

    def to_config(self) -> object:
        """One value, or a list of several."""
        return self.values[0] if len(self.values) == 1 else list(self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Within:
    """The parent's value is a number within all the bounds that are given."""

    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None
    below: float | None = None

    def reached(self, value: float) -> bool:
        """Whether the lower bounds hold; from some value on they all do."""
        return (self.at_least is None or value >= self.at_least) and (self.above is None or value > self.above)

    def holds(self, value: HyperparameterValue) -> bool:
        """Whether the condition holds at a value of the parent; never at a text or truth value."""
        return (
            is_number(value)
            and self.reached(value)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )

    def to_config(self) -> object:
        """The bounds that are given, by name."""
        return {name: bound for name, bound in self._bounds() if bound is not None}

    def _bounds(self) -> Iterator[tuple[str, float | None]]:
        return ((field.name, getattr(self, field.name)) for field in fields(self))

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper end, infinite where there is none."""
        lower = [bound for bound in (self.at_least, self.above) if bound is not None]
        upper = [bound for bound in (self.at_most, self.below) if bound is not None]
        return max(lower, default=-math.inf), min(upper, default=math.inf)


Condition: TypeAlias = OneOf | Within

_BOUNDS = tuple(field.name for field in fields(Within))


def parse_condition(config: object) -> Condition:
    """The condition on one parent: a value, a list of values, or a mapping of bounds.

    Args:
        config: E.g. ``"sgd"``, ``["sgd", "lars"]`` or ``{"at_least": 0.1, "below": 0.5}``.

    Raises:
        SpaceError: If it is anything else.
    """
    if isinstance(config, OneOf | Within):
        return config
    if isinstance(config, Mapping):
        return _parse_bounds(config)
    values = tuple(config) if isinstance(config, list | tuple) else (config,)
    if not values or not all(is_plain(value) for value in values):
        raise SpaceError(
            f"a condition is a value, a list of values or bounds ({', '.join(_BOUNDS)}), got {shown(config)}"
        )
    return OneOf(values)


def _parse_bounds(config: Mapping[Any, object]) -> Within:
    unknown = [key for key in config if key not in _BOUNDS]
    if unknown or not config:
        raise SpaceError(f"bounds are {', '.join(_BOUNDS)}, got {shown(unknown[0] if unknown else dict(config))}")
    for key, bound in config.items():
        if not is_number(bound):
            raise SpaceError(f"{key}: give a finite number of at most 2**53, got {shown(bound)}")
    return Within(**dict(config))


@dataclass(frozen=True, slots=True, init=False)
class Conditional:
    """A dimension that is active only where conditions on other dimensions hold.

    ``Conditional(Uniform(0.5, 0.99), solver="sgd")`` is active where the dimension ``solver`` is. Several parents: all
    conditions must hold. It is itself a distribution: that of its values where it is active.

    Raises:
        SpaceError: If there is no condition, or one cannot be read; see :func:`parse_condition`.
    """

    distribution: Distribution
    conditions: tuple[tuple[str, Condition], ...]
    """Parents by name, each with its condition."""

    def __init__(self, distribution: Distribution | HyperparameterValue, /, **when: object) -> None:
        if isinstance(distribution, Conditional):
            raise SpaceError("a conditional dimension has one set of conditions; put all of them into one Conditional")
        if not when:
            raise SpaceError("when: name at least one dimension and its values, e.g. when: {solver: sgd}")
        known = distribution if isinstance(distribution, Distribution) else Constant(distribution)
        object.__setattr__(self, "distribution", known)
        # Sorted, so that two of the same conditions are equal.
        object.__setattr__(self, "conditions", tuple((name, self._parse(name, when[name])) for name in sorted(when)))

    @staticmethod
    def _parse(name: str, config: object) -> Condition:
        try:
            return parse_condition(config)
        except SpaceError as error:
            raise SpaceError(f"when.{name}: {error}") from error

    @property
    def parents(self) -> tuple[str, ...]:
        """The dimensions that it depends on."""
        return tuple(name for name, _ in self.conditions)

    @property
    def num_values(self) -> int | None:
        """How many values it can have where it is active; None if it is continuous."""
        return num_values(self.distribution)

    def holds(self, values: Mapping[str, HyperparameterValue]) -> bool:
        """Whether it is active, given the values of the dimensions that are; one without a value is not."""
        return all(name in values and condition.holds(values[name]) for name, condition in self.conditions)

    def from_unit(self, unit: float) -> HyperparameterValue:
        """The value at ``unit`` in [0, 1) where it is active."""
        return self.distribution.from_unit(unit)

    def to_config(self) -> dict[str, Any]:
        """What the distribution's is, and ``when``."""
        when = {name: condition.to_config() for name, condition in self.conditions}
        return {**self.distribution.to_config(), "when": when}


def possible(distribution: Distribution, conditions: Sequence[Condition]) -> bool:
    """Whether a dimension can have a value at which all of these conditions hold.

    For a distribution of the user's, whose values are not known, only bounds are compared with its two ends.
    """
    for condition in conditions:
        if isinstance(condition, OneOf):
            return any(takes(distribution, v) and all(c.holds(v) for c in conditions) for v in condition.values)
    return _reaches(distribution, [condition for condition in conditions if isinstance(condition, Within)])


def takes(distribution: Distribution, value: HyperparameterValue) -> bool:
    """Whether a dimension has a value with a probability above 0; True for a distribution of the user's."""
    if isinstance(distribution, Choice | Constant):
        return any(same(value, distribution.value_at(index)) for index in range(distribution.num_values))
    if not isinstance(distribution, Uniform | LogUniform | IntUniform | LogIntUniform):
        return True
    count = distribution.num_values
    if count is None or not is_number(value):
        return False
    index = bisect.bisect_left(range(count), value, key=distribution.value_at)
    return index < count and distribution.value_at(index) == value


def _reaches(distribution: Distribution, bounds: Sequence[Within]) -> bool:
    if isinstance(distribution, Choice | Constant):
        values = map(distribution.value_at, range(distribution.num_values))
        return any(all(bound.holds(value) for bound in bounds) for value in values)
    low = max(bound.interval[0] for bound in bounds)
    high = min(bound.interval[1] for bound in bounds)
    if not isinstance(distribution, Uniform | LogUniform | IntUniform | LogIntUniform):
        first, last = distribution.from_unit(0.0), distribution.from_unit(_LAST_UNIT)
        return is_number(first) and is_number(last) and max(low, first) <= min(high, last)
    count, value_at = distribution.num_values, distribution.value_at
    if count is None:
        return max(low, distribution.low) < min(high, distribution.high)
    first_index = bisect.bisect_left(range(count), True, key=lambda i: all(b.reached(value_at(i)) for b in bounds))
    return first_index < count and all(bound.holds(value_at(first_index)) for bound in bounds)
