"""Spaces as Optuna's distributions, and back."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from search_spaces.conversion.dimensions import converted, no_counterpart, to_space
from search_spaces.distributions import (
    Choice,
    Constant,
    Distribution,
    IntUniform,
    LogIntUniform,
    LogUniform,
    Uniform,
)
from search_spaces.space import SearchSpace
from search_spaces.values import SpaceError, shown

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

_LOG_INT = "Optuna draws log-scaled integers by another law (nearest integer, not rounded down), so that small ones are more likely"


def to_optuna(space: SearchSpace) -> dict[str, "BaseDistribution"]:
    """The distributions that ``optuna.Study.ask`` takes, by name.

    Raises:
        SpaceError: If a dimension has no exact counterpart: see :func:`optuna_distribution`; conditional ones have none.
    """
    return converted(space, optuna_distribution)


def optuna_distribution(distribution: Distribution) -> "BaseDistribution":
    """Optuna's distribution of the same values with the same probabilities.

    A :class:`Constant` becomes a categorical distribution of one value.

    Raises:
        SpaceError: If there is none: for :class:`LogIntUniform`, :class:`LogUniform` with a step, conditional dimensions and
            distributions of the user's own.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    match distribution:
        case Uniform(low=low, high=high, step=step):
            return FloatDistribution(low, high, step=step)
        case LogUniform(low=low, high=high, step=None):
            return FloatDistribution(low, high, log=True)
        case LogUniform():
            raise SpaceError("Optuna takes no step on a log scale; leave the step out, or write a choice of the values")
        case IntUniform(low=low, high=high, step=step):
            return IntDistribution(low, high, step=step)
        case LogIntUniform():
            raise SpaceError(f"{_LOG_INT}; use log_uniform or int_uniform, or write a choice of the values")
        case Choice(values=values):
            return CategoricalDistribution(values)
        case Constant(value=value):
            return CategoricalDistribution((value,))
    raise no_counterpart(distribution, "Optuna")


def from_optuna(distributions: Mapping[str, "BaseDistribution"]) -> SearchSpace:
    """The space of Optuna's distributions, e.g. those of a finished trial.

    What has a single value becomes a :class:`Constant`.

    Raises:
        SpaceError: If there is no distribution, or one has no exact counterpart: log-scaled integers, a choice of None or
            of several types, a class that Optuna does not have.
    """
    return to_space(distributions, "Optuna", _from_one)


def _from_one(distribution: object) -> Distribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    match distribution:
        case FloatDistribution(low=low, high=high) | IntDistribution(low=low, high=high) if low == high:
            return Constant(low)
        case FloatDistribution(low=low, high=high, log=True):
            return LogUniform(low, high)
        case FloatDistribution(low=low, high=high, step=step):
            return Uniform(low, high, step)
        case IntDistribution(low=low, high=high, log=True):
            raise SpaceError(f"{_LOG_INT}; write LogIntUniform({low}, {high}) if its law will do")
        case IntDistribution(low=low, high=high, step=step):
            return IntUniform(low, high, step)
        case CategoricalDistribution(choices=choices):
            # None, which Optuna's may hold and ours not, is refused here.
            values: tuple[Any, ...] = choices
            return Constant(values[0]) if len(values) == 1 else Choice(values)
    raise SpaceError(
        f"{shown(distribution)} is none of Optuna's Float, Int and CategoricalDistribution; use one of these"
    )
