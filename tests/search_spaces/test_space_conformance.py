"""Every built-in distribution, a user's and several broken ones go through the tests that users inherit."""

import math
import random
import unittest
from dataclasses import dataclass
from typing import Any

import pytest
from scipy import stats

from search_spaces import (
    Choice,
    Conditional,
    Constant,
    Distribution,
    IntUniform,
    LogIntUniform,
    LogUniform,
    SearchSpace,
    SpaceError,
    Uniform,
    around,
    named_space,
    parse_distribution,
    register_distribution,
)
from search_spaces.conformance import DistributionConformance, SpaceConformance


@dataclass(frozen=True)
class PowerLaw:
    """A density proportional to x**exponent on [0, 1)."""

    exponent: float

    def from_unit(self, unit: float) -> float:
        return float(unit ** (1 / (self.exponent + 1)))

    def to_config(self) -> dict[str, Any]:
        return {"power_law": self.exponent}


register_distribution("power_law", PowerLaw)


class TestUniform(DistributionConformance):
    distribution = Uniform(-1.5, 2.5)
    cdf = staticmethod(lambda value: (value + 1.5) / 4)


class TestSteppedUniform(DistributionConformance):
    distribution = Uniform(0, 0.3, step=0.05)

    def cdf(self, value: float) -> float:
        # Floating point: 0.15 / 0.05 is a little below 3.
        return (math.floor(value / 0.05 + 1e-6) + 1) / 7


class TestLogUniform(DistributionConformance):
    distribution = LogUniform(1e-5, 1e-1)
    cdf = staticmethod(lambda value: math.log(value / 1e-5) / math.log(1e4))


class TestSteppedLogUniform(DistributionConformance):
    distribution = LogUniform(1e-2, 1e-1, step=1e-2)

    def cdf(self, value: float) -> float:
        nearest_below = math.floor(value / 1e-2 + 1e-6) * 1e-2
        return float(stats.loguniform(1e-2, 1e-1).cdf(nearest_below + 0.5e-2))


class TestIntUniform(DistributionConformance):
    distribution = IntUniform(-3, 12)
    cdf = staticmethod(stats.randint(-3, 13).cdf)


class TestSteppedIntUniform(DistributionConformance):
    distribution = IntUniform(16, 256, step=16)

    def cdf(self, value: float) -> float:
        return value // 16 / 16


class TestLogIntUniform(DistributionConformance):
    distribution = LogIntUniform(8, 256)
    cdf = staticmethod(lambda value: float(stats.loguniform(8, 257).cdf(math.floor(value) + 1)))


class TestSteppedLogIntUniform(DistributionConformance):
    distribution = LogIntUniform(3, 24, step=7)
    cdf = staticmethod(lambda value: float(stats.loguniform(3, 31).cdf(3 + (value - 3) // 7 * 7 + 7)))


class TestAround(DistributionConformance):
    distribution = around(2e-3)
    cdf = staticmethod(lambda value: math.log(value / 2.5e-4) / math.log(32))


class TestNumberChoice(DistributionConformance):
    distribution = Choice([5.0, 1.0, 2.0])
    ordered = False
    cdf = staticmethod(lambda value: sum(one <= value for one in (5.0, 1.0, 2.0)) / 3)


class TestTextChoice(DistributionConformance):
    distribution = Choice(["a", "b"])


class TestTruth(DistributionConformance):
    distribution = Choice([True, False])


class TestConstant(DistributionConformance):
    distribution = Constant(12)
    cdf = staticmethod(lambda value: float(value >= 12))


class TestTextConstant(DistributionConformance):
    distribution = Constant("1e-3")


class TestPowerLaw(DistributionConformance):
    distribution = PowerLaw(2.0)
    cdf = staticmethod(lambda value: value**3)


class TestPaperSpace(SpaceConformance):
    space = named_space("paper/vit/adamw")


class TestConditionalSpace(SpaceConformance):
    space = SearchSpace(
        nesterov=Conditional(Choice([True, False]), momentum={"at_least": 0.8}),
        momentum=Conditional(Uniform(0.5, 1.0), solver="sgd"),
        solver=Choice(["sgd", "adam", "lars"]),
        beta2=Conditional(0.99, solver=["adam", "lars"]),
        width=LogIntUniform(8, 64),
        power=PowerLaw(1.0),
    )


@dataclass(frozen=True)
class Falling(PowerLaw):
    def from_unit(self, unit: float) -> float:
        return 1 - super().from_unit(unit)


@dataclass(frozen=True)
class Dented(PowerLaw):
    """Falls once, by little."""

    def from_unit(self, unit: float) -> float:
        return super().from_unit(unit) - 0.001 * (unit > 0.3)


@dataclass(frozen=True)
class Throwing(PowerLaw):
    def from_unit(self, unit: float) -> float:
        return random.random()


@dataclass(frozen=True)
class Forgetful(PowerLaw):
    def to_config(self) -> dict[str, Any]:
        return {"power_law": 2.5}


@dataclass(frozen=True)
class Mixed(PowerLaw):
    def from_unit(self, unit: float) -> float:
        return super().from_unit(unit) if unit < 0.5 else 1


@dataclass(frozen=True)
class Infinite(PowerLaw):
    def from_unit(self, unit: float) -> float:
        return -math.log(unit) if unit > 0 else math.inf


@dataclass(frozen=True)
class Boastful(PowerLaw):
    num_values: int = 3


class Unequal(PowerLaw):
    """As an object without ``__eq__`` is."""

    __eq__ = object.__eq__
    __hash__ = object.__hash__


def failures(case: DistributionConformance | SpaceConformance) -> set[str]:
    """The tests that fail, of those that pytest would run."""
    found = set()
    for name in dir(case):
        if name.startswith("test_"):
            try:
                getattr(case, name)()
            except AssertionError:
                found.add(name)
            except unittest.SkipTest:
                continue
    return found


@pytest.mark.parametrize(
    ("broken", "failing"),
    [
        (Falling(1.0), {"test_numbers_never_decrease", "test_values_follow_the_law", "test_the_config_reads_back"}),
        (Dented(1.0), {"test_numbers_never_decrease", "test_the_config_reads_back"}),
        (
            Throwing(1.0),
            {
                "test_a_unit_always_gives_the_same_value",
                "test_numbers_never_decrease",
                "test_values_follow_the_law",
                "test_the_config_reads_back",
            },
        ),
        (Forgetful(1.0), {"test_the_config_reads_back"}),
        (
            Mixed(1.0),
            {"test_values_are_plain_and_of_one_type", "test_values_follow_the_law", "test_the_config_reads_back"},
        ),
        (Boastful(1.0), {"test_no_more_values_come_than_it_says", "test_the_config_reads_back"}),
        (Unequal(1.0), {"test_it_is_a_value", "test_the_config_reads_back"}),
        (PowerLaw(1.5), {"test_values_follow_the_law"}),
    ],
)
def test_a_broken_distribution_fails(broken: PowerLaw, failing: set[str]) -> None:
    class Case(DistributionConformance):
        distribution = broken
        cdf = staticmethod(lambda value: value**2)

    assert failures(Case()) >= failing
    # What a class inherits from a sound one reads back as that one; nothing else may fail that is not named.
    assert failures(Case()) - failing <= {"test_the_config_reads_back", "test_values_follow_the_law"}


def test_an_infinite_value_fails() -> None:
    class Case(DistributionConformance):
        distribution = Infinite(1.0)

    assert "test_values_are_plain_and_of_one_type" in failures(Case())


def test_a_class_is_no_distribution() -> None:
    class Case(DistributionConformance):
        distribution = PowerLaw  # type: ignore[assignment]

    with pytest.raises(AssertionError, match="give an instance"):
        Case().test_it_is_a_distribution()


class Unpaired(SearchSpace):
    """A space whose second dimension depends on the first one's coordinate."""

    def from_unit(self, point: Any) -> dict[str, Any]:
        if "a" in point and "b" in point:
            point = {**point, "b": (point["b"] + point["a"]) % 1.0}
        return super().from_unit(point)


class Disordered(SearchSpace):
    def from_unit(self, point: Any) -> dict[str, Any]:
        return dict(reversed(super().from_unit(point).items()))


@pytest.mark.parametrize(
    ("broken", "failing"),
    [
        (
            Unpaired(a=Uniform(0, 1), b=Uniform(0, 1)),
            {
                "test_a_coordinate_changes_only_its_own_dimension_and_those_that_depend_on_it",
                "test_active_dimensions_and_no_others_have_values",
                "test_the_config_reads_back",
            },
        ),
        (Disordered(a=1, b=2), {"test_active_dimensions_and_no_others_have_values"}),
        (SearchSpace(a=Uniform(0, 1), b=Throwing(1.0)), {"test_active_dimensions_and_no_others_have_values"}),
        (
            SearchSpace(a=Uniform(0, 1), b=Conditional(1, a={"above": 0.7, "below": 0.7 + 1e-9})),
            {"test_every_dimension_comes"},
        ),
    ],
)
def test_a_broken_space_fails(broken: SearchSpace, failing: set[str]) -> None:
    class Case(SpaceConformance):
        space = broken

    assert failing <= failures(Case())


def test_sound_ones_fail_nothing() -> None:
    assert failures(TestPowerLaw()) == set()
    assert failures(TestConditionalSpace()) == set()


def test_a_users_kind_is_read_from_a_study_file() -> None:
    assert parse_distribution({"power_law": 2.0}) == PowerLaw(2.0)
    space = SearchSpace(solver=Choice(["a", "b"]), x={"power_law": 1.0, "when": {"solver": "a"}})
    assert space["x"] == Conditional(PowerLaw(1.0), solver="a")
    assert SearchSpace(space.to_config()) == space


def parse_badly(arguments: Any) -> Distribution:
    if arguments == "type":
        raise TypeError("a number, please")
    if arguments == "value":
        raise ValueError("above 0, please")
    return arguments  # type: ignore[no-any-return]  # what is tested


register_distribution("parsed_badly", parse_badly)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"parsed_badly": "type"}, "parsed_badly: a number, please"),
        ({"parsed_badly": "value"}, "parsed_badly: above 0, please"),
        ({"parsed_badly": 3}, "parsed_badly: its parse function must return a distribution"),
        ({"parsed_badly": 3, "step": 1}, "step: parsed_badly takes none"),
        ({"power_lav": 3}, "did you mean 'power_law'"),
    ],
)
def test_errors_of_a_users_kind_are_one_sentence(config: object, words: str) -> None:
    with pytest.raises(SpaceError, match=words):
        parse_distribution(config)


@pytest.mark.parametrize(
    ("kind", "parse", "words"),
    [
        ("power_law", PowerLaw, "known already"),
        ("uniform", PowerLaw, "known already"),
        ("when", PowerLaw, "known already"),
        ("Power", PowerLaw, "lower-case letters"),
        (3, PowerLaw, "lower-case letters"),
        ("power", 3, "must be callable"),
    ],
)
def test_kinds_that_cannot_be_registered(kind: Any, parse: Any, words: str) -> None:
    with pytest.raises(SpaceError, match=words):
        register_distribution(kind, parse)
