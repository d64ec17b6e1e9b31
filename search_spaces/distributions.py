"""Distributions of one hyperparameter, each a monotone map from the unit interval to values."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from search_spaces.intervals import check_float_step, check_interval, check_whole_interval, float_grid
from search_spaces.values import HyperparameterValue, SpaceError, is_number, is_plain, shown

__all__ = [
    "Choice",
    "Constant",
    "Distribution",
    "HyperparameterValue",
    "IntUniform",
    "LogIntUniform",
    "LogUniform",
    "SpaceError",
    "Uniform",
    "around",
    "num_values",
]

LOW_FACTOR = 1 / 8
HIGH_FACTOR = 4


@runtime_checkable
class Distribution(Protocol):
    """What every distribution can do; a class of the user's with these two methods is one. Source: own.

    It is a value: frozen, hashable, equal to another of the same arguments, and it pickles.
    :class:`search_spaces.conformance.DistributionConformance` checks all of it.
    """

    def from_unit(self, unit: float) -> HyperparameterValue:
        """The value at ``unit`` in [0, 1): always the same one, always of one type.

        Numbers never decrease in ``unit``, except those of a choice, which have no order.
        """
        ...

    def to_config(self) -> dict[str, Any]:
        """The mapping that :func:`search_spaces.parse_distribution` reads back, ``{kind: arguments}``, of plain values."""
        ...


def num_values(distribution: Distribution) -> int | None:
    """How many values a distribution can give, or None: a continuous one, or one that does not say (``num_values``)."""
    count = getattr(distribution, "num_values", None)
    return count if isinstance(count, int) else None


def _check_unit(unit: float) -> None:
    if not 0.0 <= unit < 1.0:
        raise SpaceError(f"a unit point lies in [0, 1), got {unit!r}")


def _cell(unit: float, count: int) -> int:
    """The number of the cell that ``unit`` lies in, of ``count`` equal ones."""
    return min(math.floor(unit * count), count - 1)


def _log_between(unit: float, low: float, high: float) -> float:
    return math.exp(math.log(low) + unit * (math.log(high) - math.log(low)))


def _with_step(kind: str, low: float, high: float, step: float | None) -> dict[str, Any]:
    config: dict[str, Any] = {kind: [low, high]}
    return config if step is None else {**config, "step": step}


class _FloatSteps:
    """The values of an interval of floats that may have steps."""

    __slots__ = ()
    low: float
    high: float
    step: float | None

    def _keep_floats(self, kind: str) -> None:
        for name in ("low", "high"):
            object.__setattr__(self, name, float(getattr(self, name)))
        if self.step is not None:
            check_float_step(kind, self.low, self.high, self.step)
            object.__setattr__(self, "step", float(self.step))

    @property
    def num_values(self) -> int | None:
        """How many values there are; None without ``step``."""
        return None if self.step is None else float_grid(self.low, self.high, self.step).size

    def value_at(self, index: int) -> float:
        """Value number ``index``, from 0, of those that ``step`` makes, as decimals are written."""
        assert self.step is not None
        return float_grid(self.low, self.high, self.step).value(index)


class _WholeSteps:
    """The values of an interval of whole numbers."""

    __slots__ = ()
    low: int
    high: int
    step: int

    @property
    def num_values(self) -> int:
        """How many values there are."""
        return (self.high - self.low) // self.step + 1

    def value_at(self, index: int) -> int:
        """Value number ``index``, from 0."""
        return self.low + index * self.step


@dataclass(frozen=True, slots=True)
class Uniform(_FloatSteps):
    """A float, uniform on [low, high); with ``step`` one of low, low + step, ..., high, each equally likely.

    Raises:
        SpaceError: If low is not below high, or high is not low plus a multiple of step (as decimals are written: 0.3 is
            six times 0.05).
    """

    low: float
    high: float
    step: float | None = None

    def __post_init__(self) -> None:
        check_interval("uniform", self.low, self.high)
        self._keep_floats("uniform")

    def from_unit(self, unit: float) -> float:
        """``low + unit * (high - low)``, kept within the interval; with ``step``, value ``floor(unit * num_values)``.

        Source: own.
        """
        _check_unit(unit)
        count = self.num_values
        if count is not None:
            return self.value_at(_cell(unit, count))
        return min(max(self.low + unit * (self.high - self.low), self.low), self.high)

    def to_config(self) -> dict[str, Any]:
        """``{"uniform": [low, high]}``, and ``step`` where there is one."""
        return _with_step("uniform", self.low, self.high, self.step)


@dataclass(frozen=True, slots=True)
class LogUniform(_FloatSteps):
    """A positive float whose logarithm is uniform on [log low, log high).

    With ``step`` that float rounded to the nearest of low, low + step, ..., high: a value has the probability of the
    log-uniform draws that lie nearest to it, so the two ends have half a step each. Where low is a multiple of step, this
    is the law of Ray Tune's ``qloguniform``.

    The paper does not state its sampling law; log-uniform is the choice of the same group's public sweep example.

    Raises:
        SpaceError: If low is not above 0 and below high, or high is not low plus a multiple of step.
    """

    low: float
    high: float
    step: float | None = None

    def __post_init__(self) -> None:
        check_interval("log_uniform", self.low, self.high)
        if self.low <= 0:
            raise SpaceError(f"log_uniform: low {self.low!r} must be above 0; use uniform for an interval that holds 0")
        self._keep_floats("log_uniform")

    def from_unit(self, unit: float) -> float:
        """``exp(log low + unit * (log high - log low))``, kept within the interval; with ``step``, rounded to it.

        Source: own.
        """
        _check_unit(unit)
        value = min(max(_log_between(unit, self.low, self.high), self.low), self.high)
        if self.step is None:
            return value
        return self.value_at(round((value - self.low) / self.step))

    def to_config(self) -> dict[str, Any]:
        """``{"log_uniform": [low, high]}``, and ``step`` where there is one."""
        return _with_step("log_uniform", self.low, self.high, self.step)


@dataclass(frozen=True, slots=True)
class IntUniform(_WholeSteps):
    """An integer, uniform on {low, low + step, ..., high}, both ends included.

    Raises:
        SpaceError: If low is not below high, or high is not low plus a multiple of step.
    """

    low: int
    high: int
    step: int = 1

    def __post_init__(self) -> None:
        check_whole_interval("int_uniform", self.low, self.high, self.step)

    def from_unit(self, unit: float) -> int:
        """``low + step * floor(unit * num_values)``. Source: own."""
        _check_unit(unit)
        return self.value_at(_cell(unit, self.num_values))

    def to_config(self) -> dict[str, Any]:
        """``{"int_uniform": [low, high]}``, and ``step`` where it is not 1."""
        return _with_step("int_uniform", self.low, self.high, None if self.step == 1 else self.step)


@dataclass(frozen=True, slots=True)
class LogIntUniform(_WholeSteps):
    """A positive integer of {low, low + step, ..., high}, where v has a probability proportional to log((v + step) / v).

    That is a log-uniform float on [low, high + step) rounded down: the law of Ray Tune's ``lograndint(low, high + 1)``
    and, where low is a multiple of step, of its ``qlograndint``.

    Raises:
        SpaceError: If low is not at least 1 and below high, or high is not low plus a multiple of step.
    """

    low: int
    high: int
    step: int = 1

    def __post_init__(self) -> None:
        check_whole_interval("log_int_uniform", self.low, self.high, self.step)
        if self.low < 1:
            raise SpaceError(
                f"log_int_uniform: low {self.low} must be at least 1; use int_uniform for an interval with 0"
            )

    def from_unit(self, unit: float) -> int:
        """``exp(log low + unit * (log(high + step) - log low))``, rounded down to a value. Source: own."""
        _check_unit(unit)
        index = math.floor((_log_between(unit, self.low, self.high + self.step) - self.low) / self.step)
        # A logarithm and back is not exact: just below low, or just at the open end.
        return self.value_at(min(max(index, 0), self.num_values - 1))

    def to_config(self) -> dict[str, Any]:
        """``{"log_int_uniform": [low, high]}``, and ``step`` where it is not 1."""
        return _with_step("log_int_uniform", self.low, self.high, None if self.step == 1 else self.step)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few values of one type, each equally likely, in the order given.

    Raises:
        SpaceError: If there is no value, one stands twice, or they are of several types.
    """

    values: tuple[HyperparameterValue, ...]

    def __init__(self, values: Sequence[HyperparameterValue]) -> None:
        """Keep ``values`` as a tuple; refuse an empty one, repeats and mixed types."""
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise SpaceError(f"choice: give a list of at least one value, got {shown(values)}")
        kinds = {type(value) for value in values}
        if not kinds <= {int, float, str, bool}:
            raise SpaceError(f"choice: values are numbers, texts or true/false, got {shown(list(values))}")
        if len(kinds) > 1 and kinds != {int, float}:
            raise SpaceError(f"choice: all values must be of one type, got {shown(list(values))}")
        if not all(is_plain(value) for value in values):
            raise SpaceError("choice: numbers must be finite and at most 2**53")
        if len(set(values)) < len(values):
            raise SpaceError(f"choice: a value stands twice in {shown(list(values))}")
        as_float = kinds == {int, float}
        object.__setattr__(self, "values", tuple(float(v) if as_float else v for v in values))

    def __hash__(self) -> int:
        return hash((Choice, *self._typed()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Choice) and self._typed() == other._typed()

    def _typed(self) -> tuple[tuple[bool, HyperparameterValue], ...]:
        # In Python True == 1, but a choice of true and false is none of 1 and 0.
        return tuple((isinstance(value, bool), value) for value in self.values)

    @property
    def num_values(self) -> int:
        """How many values there are."""
        return len(self.values)

    def value_at(self, index: int) -> HyperparameterValue:
        """Value number ``index``, from 0."""
        return self.values[index]

    def from_unit(self, unit: float) -> HyperparameterValue:
        """``values[floor(unit * len(values))]``. Source: own."""
        _check_unit(unit)
        return self.values[_cell(unit, len(self.values))]

    def to_config(self) -> dict[str, Any]:
        """``{"choice": [...]}``."""
        return {"choice": list(self.values)}


@dataclass(frozen=True, slots=True)
class Constant:
    """One value, whatever the coordinate.

    Raises:
        SpaceError: If it is no finite number of at most 2**53, text or truth value.
    """

    value: HyperparameterValue

    def __post_init__(self) -> None:
        if not is_plain(self.value):
            raise SpaceError(
                f"constant: give a finite number of at most 2**53, a text or true/false, got {shown(self.value)}"
            )

    def __hash__(self) -> int:
        return hash((Constant, isinstance(self.value, bool), self.value))

    def __eq__(self, other: object) -> bool:
        # As of a choice: 1 and true are two values.
        return (
            isinstance(other, Constant)
            and self.value == other.value
            and isinstance(self.value, bool) == isinstance(other.value, bool)
        )

    @property
    def num_values(self) -> int:
        """1."""
        return 1

    def value_at(self, index: int) -> HyperparameterValue:
        """The value, which has the number 0."""
        return (self.value,)[index]

    def from_unit(self, unit: float) -> HyperparameterValue:
        """The value. Source: own."""
        _check_unit(unit)
        return self.value

    def to_config(self) -> dict[str, Any]:
        """``{"constant": value}``."""
        return {"constant": self.value}


def around(centre: float, low: float = LOW_FACTOR, high: float = HIGH_FACTOR) -> LogUniform:
    """The paper's interval around a good value: log-uniform on [centre / 8, centre * 4).

    Args:
        centre: A value known to train well; above 0, in the hyperparameter's own unit.
        low: The lower end of the interval, as a multiple of the centre.
        high: Its upper end.

    Raises:
        SpaceError: If ``centre`` is not a positive finite number, or the factors are not positive with low below high.

    Source: "Early Convolutions Help Transformers See Better", section 5.3 (the factors); log-uniform is our choice.
    """
    if not is_number(centre) or centre <= 0:
        raise SpaceError(f"around: the centre must be a positive number, got {shown(centre)}")
    if not is_number(low) or not is_number(high) or not 0 < low < high:
        raise SpaceError(
            f"around: low and high are positive multiples of the centre, low below high, got {shown(low)} and {shown(high)}"
        )
    try:
        return LogUniform(centre * low, centre * high)
    except SpaceError as error:
        raise SpaceError(
            f"around: the centre {centre!r} times {low!r} and {high!r} makes no interval: {error}"
        ) from error
