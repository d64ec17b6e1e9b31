"""Distributions of one hyperparameter, each a monotone map from the unit interval to values."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

HyperparameterValue: TypeAlias = float | int | str | bool

LOW_FACTOR = 1 / 8
HIGH_FACTOR = 4


class SpaceError(ValueError):
    """A distribution or a space that cannot be sampled; the message says what to change."""


@runtime_checkable
class Distribution(Protocol):
    """What every distribution can do. Source: own."""

    def from_unit(self, unit: float) -> HyperparameterValue:
        """The value at ``unit`` in [0, 1); never decreasing in ``unit`` for numbers."""
        ...

    def to_config(self) -> dict[str, Any]:
        """The one-key mapping that :func:`parse_distribution` reads back."""
        ...


def _is_number(value: object) -> bool:
    # Beyond 2**53 a whole number is no float any more, and beyond 2**63 no column of a table.
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) <= 2**53
    return isinstance(value, float) and math.isfinite(value)


def _shown(value: object) -> str:
    text = repr(value) if not isinstance(value, int) or abs(value) <= 2**64 else "a larger whole number"
    return text if len(text) <= 60 else text[:57] + "..."


def _check_interval(kind: str, low: float, high: float) -> None:
    for bound in (low, high):
        if not _is_number(bound):
            raise SpaceError(f"{kind}: the bounds must be finite numbers of at most 2**53, got {_shown(bound)}")
    if not low < high:
        raise SpaceError(f"{kind}: low {low!r} is not below high {high!r}; swap or widen them")


def _check_unit(unit: float) -> None:
    if not 0.0 <= unit < 1.0:
        raise SpaceError(f"a unit point lies in [0, 1), got {unit!r}")


@dataclass(frozen=True, slots=True)
class Uniform:
    """A float, uniform on [low, high)."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_interval("uniform", self.low, self.high)

    def from_unit(self, unit: float) -> float:
        """``low + unit * (high - low)``, kept within the interval. Source: own."""
        _check_unit(unit)
        return min(max(self.low + unit * (self.high - self.low), self.low), self.high)

    def to_config(self) -> dict[str, Any]:
        """``{"uniform": [low, high]}``."""
        return {"uniform": [self.low, self.high]}


@dataclass(frozen=True, slots=True)
class LogUniform:
    """A positive float whose logarithm is uniform on [log low, log high).

    The paper does not state its sampling law; log-uniform is the choice of the same group's public sweep example.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_interval("log_uniform", self.low, self.high)
        if self.low <= 0:
            raise SpaceError(f"log_uniform: low {self.low!r} must be above 0; use uniform for an interval that holds 0")

    def from_unit(self, unit: float) -> float:
        """``exp(log low + unit * (log high - log low))``, kept within the interval. Source: own."""
        _check_unit(unit)
        value = math.exp(math.log(self.low) + unit * (math.log(self.high) - math.log(self.low)))
        return min(max(value, self.low), self.high)

    def to_config(self) -> dict[str, Any]:
        """``{"log_uniform": [low, high]}``."""
        return {"log_uniform": [self.low, self.high]}


@dataclass(frozen=True, slots=True)
class IntUniform:
    """An integer, uniform on {low, ..., high}, both ends included."""

    low: int
    high: int

    def __post_init__(self) -> None:
        _check_interval("int_uniform", self.low, self.high)
        for bound in (self.low, self.high):
            if not isinstance(bound, int):
                raise SpaceError(f"int_uniform: the bounds must be whole numbers, got {bound!r}")

    def from_unit(self, unit: float) -> int:
        """``low + floor(unit * (high - low + 1))``. Source: own."""
        _check_unit(unit)
        return min(self.low + math.floor(unit * (self.high - self.low + 1)), self.high)

    def to_config(self) -> dict[str, Any]:
        """``{"int_uniform": [low, high]}``."""
        return {"int_uniform": [self.low, self.high]}


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few values of one type, each equally likely, in the order given."""

    values: tuple[HyperparameterValue, ...]

    def __init__(self, values: Sequence[HyperparameterValue]) -> None:
        """Keep ``values`` as a tuple; refuse an empty one, repeats and mixed types."""
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise SpaceError(f"choice: give a list of at least one value, got {values!r}")
        kinds = {type(value) for value in values}
        if not kinds <= {int, float, str, bool}:
            raise SpaceError(f"choice: values are numbers, texts or true/false, got {list(values)!r}")
        if len(kinds) > 1 and kinds != {int, float}:
            raise SpaceError(f"choice: all values must be of one type, got {list(values)!r}")
        if len(set(values)) < len(values):
            raise SpaceError(f"choice: a value stands twice in {list(values)!r}")
        if any(not isinstance(value, (bool, str)) and not _is_number(value) for value in values):
            raise SpaceError("choice: numbers must be finite and at most 2**53")
        as_float = kinds == {int, float}
        object.__setattr__(self, "values", tuple(float(v) if as_float else v for v in values))

    def from_unit(self, unit: float) -> HyperparameterValue:
        """``values[floor(unit * len(values))]``. Source: own."""
        _check_unit(unit)
        return self.values[min(math.floor(unit * len(self.values)), len(self.values) - 1)]

    def to_config(self) -> dict[str, Any]:
        """``{"choice": [...]}``."""
        return {"choice": list(self.values)}


def around(centre: float) -> LogUniform:
    """The paper's interval around a good value: log-uniform on [centre / 8, centre * 4).

    Args:
        centre: A value known to train well; above 0, in the hyperparameter's own unit.

    Raises:
        SpaceError: If ``centre`` is not a positive finite number.

    Source: "Early Convolutions Help Transformers See Better", section 5.3 (the factors); log-uniform is our choice.
    """
    if not _is_number(centre) or centre <= 0:
        raise SpaceError(f"around: the centre must be a positive number, got {_shown(centre)}")
    return LogUniform(centre * LOW_FACTOR, centre * HIGH_FACTOR)


def _interval(kind: str, arguments: object) -> tuple[Any, Any]:
    if not isinstance(arguments, Sequence) or isinstance(arguments, str) or len(arguments) != 2:
        raise SpaceError(f"{kind}: give [low, high], got {arguments!r}")
    return arguments[0], arguments[1]


PARSERS: dict[str, Callable[[Any], Distribution]] = {
    "uniform": lambda arguments: Uniform(*_interval("uniform", arguments)),
    "log_uniform": lambda arguments: LogUniform(*_interval("log_uniform", arguments)),
    "int_uniform": lambda arguments: IntUniform(*_interval("int_uniform", arguments)),
    "choice": lambda arguments: Choice(arguments),
    "around": lambda arguments: around(arguments),
}


def parse_distribution(config: object) -> Distribution:
    """The distribution that a study file writes as a one-key mapping, e.g. ``{"log_uniform": [1e-4, 1e-2]}``.

    Args:
        config: A mapping of one of ``uniform``, ``log_uniform``, ``int_uniform``, ``choice``, ``around`` to its
            arguments, or a distribution object, which is returned as it is.

    Raises:
        SpaceError: If it is anything else, or its arguments make no distribution.
    """
    if isinstance(config, Distribution):
        return config
    known = ", ".join(PARSERS)
    if not isinstance(config, Mapping) or len(config) != 1:
        raise SpaceError(f"write one of {known} with its arguments, e.g. {{around: 0.001}}, got {config!r}")
    kind, arguments = next(iter(config.items()))
    if kind not in PARSERS:
        raise SpaceError(f"{kind!r} is not a distribution; known are {known}")
    return PARSERS[kind](arguments)
