"""Tests that every distribution and every space must pass; subclass them in tests of your own.

    class TestPowerLaw(DistributionConformance):
        distribution = PowerLaw(exponent=2.0)

        def cdf(self, value: float) -> float:
            return value**3

They are plain classes for pytest: each ``test_`` method is one test, and needs nothing else installed.
"""

import itertools
import math
import pickle
import unittest
from collections.abc import Callable, Sequence

import yaml

from search_spaces.conditions import Conditional
from search_spaces.distributions import Distribution, num_values
from search_spaces.parsing import parse_distribution
from search_spaces.space import SearchSpace
from search_spaces.values import HyperparameterValue, SpaceError, is_number, is_plain

LAST_UNIT = 1 - 2.0**-53
"""The largest coordinate."""
NUM_UNITS = 4096

_EDGES = (0.0, 2.0**-53, 0.5 - 2.0**-54, 0.5, LAST_UNIT)


def _units() -> list[float]:
    """The middles of equal cells, and the edges of the unit interval."""
    return sorted({*_EDGES, *((i + 0.5) / NUM_UNITS for i in range(NUM_UNITS))})


def _after_yaml(config: object) -> object:
    return yaml.safe_load(yaml.safe_dump(config))


class DistributionConformance:
    """What a distribution must do. Set ``distribution`` in a subclass, and ``cdf`` if its law is known."""

    distribution: Distribution
    """The one to test."""
    ordered: bool = True
    """Whether numbers never decrease with the unit; False for choices."""
    cdf: Callable[[float], float] | None = None
    """The probability of a value of at most x, for any x; as a method or ``staticmethod``. Without it the law is not tested."""

    def _values(self) -> list[HyperparameterValue]:
        return [self.distribution.from_unit(unit) for unit in _units()]

    def test_it_is_a_distribution(self) -> None:
        """It has the two methods of the protocol, and is no class."""
        assert isinstance(self.distribution, Distribution), f"{self.distribution!r} lacks from_unit or to_config"
        assert not isinstance(self.distribution, type), f"{self.distribution!r} is a class; give an instance"

    def test_a_unit_always_gives_the_same_value(self) -> None:
        """Twice the same units, forwards and backwards, give the same values."""
        first = self._values()
        second = [self.distribution.from_unit(unit) for unit in reversed(_units())][::-1]
        assert first == second, "from_unit gave another value when it was called again; it must use the unit alone"

    def test_values_are_plain_and_of_one_type(self) -> None:
        """Every value is a finite number, a text or a truth value, always of one type, and one of Python's own."""
        values = self._values()
        for unit, value in zip(_units(), values, strict=True):
            assert is_plain(value), f"from_unit({unit!r}) is {value!r}: no finite number, text or truth value"
        kinds = {type(value) for value in values}
        assert len(kinds) == 1, f"values are of several types: {sorted(kind.__name__ for kind in kinds)}"
        assert kinds <= {float, int, str, bool}, f"values are {kinds.pop()!r}; convert them to float, int, str or bool"

    def test_numbers_never_decrease(self) -> None:
        """A larger unit gives no smaller number."""
        pairs = zip(_units(), self._values(), strict=True)
        numbers = [(unit, value) for unit, value in pairs if is_number(value)]
        if not self.ordered or not numbers:
            raise unittest.SkipTest("the values have no order")
        for (unit, value), (next_unit, next_value) in itertools.pairwise(numbers):
            assert value <= next_value, f"from_unit falls from {value!r} at {unit!r} to {next_value!r} at {next_unit!r}"

    def test_no_more_values_come_than_it_says(self) -> None:
        """``num_values``, where there is one, is no less than the number of different values."""
        count, found = num_values(self.distribution), len({*map(repr, self._values())})
        assert count is None or found <= count, f"num_values is {count}, but {found} values came"

    def test_the_config_reads_back(self) -> None:
        """``to_config``, written and read as YAML, gives an equal distribution."""
        config = self.distribution.to_config()
        read = parse_distribution(_after_yaml(config))
        assert read == self.distribution, f"{config!r} reads back as {read!r}"
        values = [read.from_unit(unit) for unit in _units()]
        assert values == self._values(), f"{config!r} reads back as a distribution that gives other values"

    def test_it_is_a_value(self) -> None:
        """It is equal to itself after pickling, and hashes alike."""
        copy = pickle.loads(pickle.dumps(self.distribution))
        assert copy == self.distribution, "it is not equal to its own pickled copy; use a frozen dataclass"
        assert hash(copy) == hash(self.distribution), "equal distributions hash differently; use a frozen dataclass"
        assert copy != object(), "it is equal to anything; compare the arguments"

    def test_values_follow_the_law(self) -> None:
        """The share of units that give at most x is ``cdf(x)``, for every value x that comes and half-way to the next.

        With units at the middles of n equal cells an exact map is within 1 / n: a Kolmogorov-Smirnov distance without chance.
        """
        if self.cdf is None:
            raise unittest.SkipTest("no cdf is given")
        numbers = sorted(self._numbers_at_middles())
        shares = {number: (index + 1) / NUM_UNITS for index, number in enumerate(numbers)}
        between = {(one + other) / 2: shares[one] for one, other in itertools.pairwise(shares)}
        for number, share in {**between, **shares}.items():
            probability = self.cdf(number)
            assert abs(share - probability) <= 2 / NUM_UNITS, (
                f"{share:.4f} of the units give at most {number!r}, but cdf says {probability:.4f}"
            )

    def _numbers_at_middles(self) -> list[float]:
        values = [self.distribution.from_unit((i + 0.5) / NUM_UNITS) for i in range(NUM_UNITS)]
        numbers = [value for value in values if is_number(value)]
        assert len(numbers) == len(values), "cdf is for numbers; leave it out"
        return numbers


class SpaceConformance:
    """What a space must do. Set ``space`` in a subclass."""

    space: SearchSpace
    """The one to test."""

    def _points(self) -> list[dict[str, float]]:
        """Points that spread over all dimensions at once (a rank-one lattice), and the corners of equal coordinates."""
        names = list(self.space)
        # Powers of the root of x**(d + 1) = x + 1 are the direction that spreads d dimensions evenly.
        root = _spreading_root(len(names))
        steps = [root ** -(k + 1) for k in range(len(names))]
        lattice = [
            {n: math.fmod(0.5 + i * step, 1.0) for n, step in zip(names, steps, strict=True)} for i in range(512)
        ]
        return lattice + [dict.fromkeys(names, unit) for unit in _EDGES]

    def test_active_dimensions_and_no_others_have_values(self) -> None:
        """``from_unit`` gives what ``is_active`` says, each value that of its own distribution, in the space's order."""
        for point in self._points():
            values = self.space.from_unit(point)
            before: dict[str, HyperparameterValue] = {}
            for name in self.space.order:
                if self.space.is_active(name, before):
                    before[name] = self.space.distribution(name).from_unit(point[name])
            assert values == before, f"at {point!r} the space gives {values!r}, its dimensions {before!r}"
            assert list(values) == [name for name in self.space if name in values], (
                "values are not in the space's order"
            )

    def test_every_dimension_comes(self) -> None:
        """Every dimension is active at some point."""
        found = {name for point in self._points() for name in self.space.from_unit(point)}
        assert found == set(self.space), (
            f"never active in {len(self._points())} draws: {sorted(set(self.space) - found)}"
        )

    def test_a_coordinate_changes_only_its_own_dimension_and_those_that_depend_on_it(self) -> None:
        """What makes draws of spaces that share dimensions comparable in pairs."""
        for point in self._points()[:64]:
            values = self.space.from_unit(point)
            for name in self.space:
                moved = self.space.from_unit({**point, name: math.fmod(point[name] + 0.5, 1.0)})
                changed = {n for n in self.space if values.get(n) != moved.get(n)}
                allowed = {name, *self._descendants(name)}
                assert changed <= allowed, f"the coordinate of {name} changes {sorted(changed - allowed)}"

    def _descendants(self, name: str) -> set[str]:
        found: set[str] = set()
        for other in self.space.order:
            given = self.space[other]
            if isinstance(given, Conditional) and {name, *found} & set(given.parents):
                found.add(other)
        return found

    def test_examples_have_the_types_of_the_values(self) -> None:
        """``example`` has every dimension, with the type that its values have."""
        example = self.space.example()
        assert list(example) == list(self.space), "example lacks a dimension, or has them in another order"
        for point in self._points():
            for name, value in self.space.from_unit(point).items():
                assert type(value) is type(example[name]), (
                    f"{name} is {value!r} here and {example[name]!r} as an example"
                )

    def test_every_coordinate_is_asked_for(self) -> None:
        """A point that lacks a dimension, active or not, is an error that names it."""
        for name in self.space:
            try:
                self.space.from_unit(dict.fromkeys(set(self.space) - {name}, 0.5))
                message = "no error"
            except SpaceError as error:
                message = str(error)
            assert name in message, f"a point without {name} gives: {message}"

    def test_parents_come_before_their_children(self) -> None:
        """``order`` has every dimension once, and none before one that its condition is on."""
        order: Sequence[str] = self.space.order
        assert sorted(order) == sorted(self.space), "order is not the space's dimensions"
        for position, name in enumerate(order):
            given = self.space[name]
            parents = given.parents if isinstance(given, Conditional) else ()
            assert set(parents) <= set(order[:position]), f"{name} comes before a dimension that it depends on"

    def test_the_config_reads_back(self) -> None:
        """``to_config``, written and read as YAML, gives an equal space with equal values."""
        read = SearchSpace(_after_yaml(self.space.to_config()))  # type: ignore[arg-type]  # checked by SearchSpace
        assert read == self.space, f"{self.space.to_config()!r} reads back as {read!r}"
        for point in self._points():
            assert read.from_unit(point) == self.space.from_unit(point), "the space that was read gives other values"

    def test_it_is_a_value(self) -> None:
        """It is equal to itself after pickling, and hashes alike."""
        copy = pickle.loads(pickle.dumps(self.space))
        assert copy == self.space, "the space is not equal to its own pickled copy"
        assert hash(copy) == hash(self.space), "equal spaces hash differently"


def _spreading_root(dimensions: int) -> float:
    root = 2.0
    for _ in range(64):
        root = (1 + root) ** (1 / (dimensions + 1))
    return root
