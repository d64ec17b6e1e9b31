"""Bounds and steps of distributions: what makes an interval, and the decimal numbers that a step makes of it."""

import math
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from search_spaces.values import SpaceError, is_number, shown

MAX_VALUES = 2**53
"""A coordinate has 53 bits: it tells no more values apart."""


def check_interval(kind: str, low: object, high: object) -> None:
    """Nothing, if two bounds make an interval of numbers.

    Raises:
        SpaceError: Otherwise, beginning with ``kind``.
    """
    for bound in (low, high):
        if not is_number(bound):
            raise SpaceError(f"{kind}: the bounds must be finite numbers of at most 2**53, got {shown(bound)}")
    assert is_number(low)
    assert is_number(high)
    if not low < high:
        raise SpaceError(f"{kind}: low {low!r} is not below high {high!r}; swap or widen them")
    if not math.isfinite(high - low):
        raise SpaceError(f"{kind}: the interval from {low!r} to {high!r} is too wide; narrow it")


def check_whole_interval(kind: str, low: object, high: object, step: object) -> None:
    """Nothing, if the bounds are whole numbers, and high is low plus a multiple of step.

    Raises:
        SpaceError: Otherwise, beginning with ``kind``.
    """
    check_interval(kind, low, high)
    for number in (low, high, step):
        if not isinstance(number, int) or not is_number(number):
            raise SpaceError(f"{kind}: bounds and step must be whole numbers of at most 2**53, got {shown(number)}")
    assert isinstance(low, int)
    assert isinstance(high, int)
    assert isinstance(step, int)
    if step < 1:
        raise SpaceError(f"{kind}: step must be at least 1, got {step}")
    if step > high - low:
        raise SpaceError(f"{kind}: step {step} is wider than the interval from {low} to {high}; use a smaller one")
    rest = (high - low) % step
    if rest:
        raise SpaceError(f"{kind}: high {high} is not low {low} plus a multiple of step {step}; use {high - rest}")


def _written(number: float) -> Fraction:
    """The decimal number that was written: 0.1 is one tenth, not the binary fraction nearest to it."""
    return Fraction(repr(number))


class FloatGrid(NamedTuple):
    """The numbers (first + index * step) / denominator, all of them whole: exact, and rounded once."""

    first: int
    step: int
    denominator: int
    size: int

    def value(self, index: int) -> float:
        """Number ``index``, from 0."""
        return (self.first + index * self.step) / self.denominator


@lru_cache(maxsize=1024)
def float_grid(low: float, high: float, step: float) -> FloatGrid:
    """The numbers low, low + step, ..., high, as decimals are written. Source: own."""
    first, width, last = _written(low), _written(step), _written(high)
    denominator = math.lcm(first.denominator, width.denominator)
    size = int((last - first) / width) + 1
    return FloatGrid(int(first * denominator), int(width * denominator), denominator, size)


def check_float_step(kind: str, low: float, high: float, step: object) -> None:
    """Nothing, if high is low plus a multiple of step, as decimals are written, and floats can tell the values apart.

    Raises:
        SpaceError: Otherwise, beginning with ``kind``.
    """
    if not is_number(step) or step <= 0:
        raise SpaceError(f"{kind}: step must be a positive finite number, got {shown(step)}")
    step = float(step)
    steps = (_written(high) - _written(low)) / _written(step)
    if steps < 1:
        raise SpaceError(
            f"{kind}: step {step!r} is wider than the interval from {low!r} to {high!r}; use a smaller one"
        )
    if steps.denominator != 1:
        raise SpaceError(
            f"{kind}: high {high!r} is not low {low!r} plus a multiple of step {step!r}; "
            f"use {float(_written(low) + math.floor(steps) * _written(step))!r}"
        )
    # Two steps of a float apart, neighbours stay distinct however they are rounded.
    if steps >= MAX_VALUES or step < 2 * math.ulp(max(abs(low), abs(high))):
        raise SpaceError(f"{kind}: step {step!r} is too fine for the interval [{low!r}, {high!r}]; leave it out")
