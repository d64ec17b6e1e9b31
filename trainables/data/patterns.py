"""Shapes and textures of the synthetic task, as functions of the plane; additions, products and comparisons alone.

So that the same bytes come out on every machine: a sine may differ in its last bit, these cannot.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.floating[Any]]


def disc(x: Plane, y: Plane) -> Plane:
    """Positive inside, as every shape; all have about the same area."""
    return 0.8 - (x * x + y * y)


def square(x: Plane, y: Plane) -> Plane:
    """A square about the origin."""
    inside: Plane = 0.79 - np.maximum(np.abs(x), np.abs(y))
    return inside


def triangle(x: Plane, y: Plane) -> Plane:
    """An equilateral triangle."""
    inside: Plane = np.minimum(0.6 - y, 0.6 + 0.5 * y - 0.8660254 * np.abs(x))
    return inside


def cross(x: Plane, y: Plane) -> Plane:
    """Two bars at a right angle."""
    across, down = np.abs(x), np.abs(y)
    inside: Plane = np.minimum(1.0 - np.maximum(across, down), 0.37 - np.minimum(across, down))
    return inside


def ring(x: Plane, y: Plane) -> Plane:
    """A disc with a hole."""
    radius = x * x + y * y
    inside: Plane = np.minimum(1.0 - radius, radius - 0.3)
    return inside


def stripes(x: Plane, y: Plane) -> Plane:
    """About -0.5 to 0.5 in turn, as every texture."""
    return _wave(2.0 * x)


def checks(x: Plane, y: Plane) -> Plane:
    """A checkerboard with soft edges."""
    return 2.0 * _wave(x) * _wave(y)


def dots(x: Plane, y: Plane) -> Plane:
    """Dots on a square lattice."""
    across, down = _wave(1.5 * x) + 0.5, _wave(1.5 * y) + 0.5
    return 0.6 - across * across - down * down


def rings(x: Plane, y: Plane) -> Plane:
    """Rings about one point."""
    return _wave(2.0 * np.sqrt(x * x + y * y))


def _wave(t: Plane) -> Plane:
    """A triangle wave between -0.5 and 0.5 of period 1."""
    wave: Plane = np.abs(t - np.floor(t) - 0.5) * 2.0 - 0.5
    return wave


SHAPES = (disc, square, triangle, cross, ring)
TEXTURES = (stripes, checks, dots, rings)
