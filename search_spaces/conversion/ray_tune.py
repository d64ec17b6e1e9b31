"""Spaces as Ray Tune's ``param_space``, and back."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

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
from search_spaces.values import SpaceError, is_plain, shown


def to_ray_tune(space: SearchSpace) -> dict[str, Any]:
    """The ``param_space`` of a ``ray.tune.Tuner`` that draws the same values with the same probabilities.

    Ray's upper bounds are exclusive without quantisation and inclusive with it; a constant is the value itself.

    Raises:
        SpaceError: If a dimension has no exact counterpart: :class:`Uniform` with a step (Ray's ``quniform`` gives the two
            ends half the probability of the others), a step that low is no multiple of, conditional dimensions and
            distributions of the user's own.
    """
    return converted(space, _to_one)


def _to_one(distribution: Distribution) -> object:
    from ray import tune

    match distribution:
        case Uniform(low=low, high=high, step=None):
            return tune.uniform(low, high)
        case Uniform():
            raise SpaceError(
                "Ray's quniform draws the two ends half as often as the rest; write a choice of the values"
            )
        case LogUniform(low=low, high=high, step=None):
            return tune.loguniform(low, high)
        case LogUniform(low=low, high=high, step=float(step)):
            _check_grid(low, step)
            return tune.qloguniform(low, high, step)
        # With a step of 1 Ray's quantised kinds leave the upper bound out, unlike with any other.
        case IntUniform(low=low, high=high, step=1):
            return tune.randint(low, high + 1)
        case IntUniform(low=low, high=high, step=step):
            _check_grid(low, step)
            return tune.qrandint(low, high, step)
        case LogIntUniform(low=low, high=high, step=1):
            return tune.lograndint(low, high + 1)
        case LogIntUniform(low=low, high=high, step=step):
            _check_grid(low, step)
            return tune.qlograndint(low, high, step)
        case Choice(values=values):
            return tune.choice(list(values))
        case Constant(value=value):
            return value
    raise no_counterpart(distribution, "Ray Tune")


def _check_grid(low: float, step: float) -> None:
    if (Fraction(repr(low)) / Fraction(repr(step))).denominator != 1:
        raise SpaceError(
            f"Ray Tune's quantised values are multiples of the step, and low {low!r} is none of {step!r}; begin at a multiple"
        )


def from_ray_tune(param_space: Mapping[str, Any]) -> SearchSpace:
    """The space of a ``param_space`` of Ray Tune.

    What has a single value becomes a :class:`Constant`.

    Raises:
        SpaceError: If there is no dimension, or one has no exact counterpart: ``quniform``, ``randn``, ``sample_from``,
            ``grid_search``, nested spaces.
    """
    return to_space(param_space, "Ray Tune", _from_one)


def _from_one(domain: Any) -> Distribution:
    from ray.tune.search.sample import Categorical, Float, Function, Grid, Integer

    match domain:
        case Float():
            return _from_float(domain)
        case Integer():
            return _from_integer(domain)
        case Categorical(sampler=Grid()):
            raise SpaceError("a grid is a way to draw; write tune.choice, and sampler: grid in the study")
        case Categorical():
            return Choice(domain.categories)
        case Function():
            raise SpaceError("sample_from is code, not a distribution; write a class with from_unit and to_config")
        case {"grid_search": _}:
            raise SpaceError("grid_search is a way to draw; write tune.choice, and sampler: grid in the study")
        case Mapping():
            raise SpaceError("a nested space is none of named dimensions; give its dimensions names of their own")
    if not is_plain(domain):
        raise SpaceError(f"{shown(domain)} is neither a value nor one of Ray Tune's float, int and choice domains")
    return Constant(domain)


def _from_float(domain: Any) -> Distribution:
    from ray.tune.search.sample import LogUniform as RayLogUniform
    from ray.tune.search.sample import Quantized
    from ray.tune.search.sample import Uniform as RayUniform

    low, high = float(domain.lower), float(domain.upper)
    match domain.get_sampler():
        case RayUniform():
            return Uniform(low, high)
        case RayLogUniform():
            return LogUniform(low, high)
        case Quantized(sampler=RayLogUniform(), q=step):
            return LogUniform(low, high, step)
        case Quantized(sampler=RayUniform(), q=step):
            raise SpaceError(
                "Ray's quniform draws the two ends half as often as the rest; "
                f"write Uniform({low!r}, {high!r}, step={step!r}) if equal probabilities will do"
            )
    raise SpaceError("a normal distribution has no interval; use uniform or loguniform")


def _from_integer(domain: Any) -> Distribution:
    from ray.tune.search.sample import LogUniform as RayLogUniform
    from ray.tune.search.sample import Quantized

    sampler: Any = domain.get_sampler()
    low, high, step = domain.lower, domain.upper, 1
    if isinstance(sampler, Quantized):
        sampler, step = sampler.sampler, sampler.q
    if not all(isinstance(number, int) for number in (low, high, step)) or step < 1:
        raise SpaceError(f"the bounds of an integer domain must be whole numbers, got {shown((low, high, step))}")
    # The upper bound is exclusive, but inclusive where a step above 1 quantises.
    low, high = (low, high - 1) if step == 1 else (-(-low // step) * step, high // step * step)
    if low == high:
        return Constant(low)
    return (LogIntUniform if isinstance(sampler, RayLogUniform) else IntUniform)(low, high, step)
