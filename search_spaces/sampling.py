"""Non-adaptive samplers: random and quasi-random points of the unit cube, and full factorial grids.

Only draws of these samplers may enter an EDF: where they lie does not depend on any result.
"""

import difflib
import hashlib
from collections.abc import Iterable, Sequence

from search_spaces.values import SpaceError

NON_ADAPTIVE = ("random", "sobol", "halton", "grid")

MAX_DIMENSIONS = 64
"""Columns of every quasi-random sequence, hence the most dimensions that ``sobol`` and ``halton`` take."""

_BLOCK = 1024  # A power of two: scipy warns where the first Sobol block is none, as its balance is then lost.
_BELOW_ONE = 1 - 2.0**-53


def _digest(*parts: object) -> bytes:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).digest()


def _coordinate(seed: int, draw: int, name: str) -> float:
    bits = int.from_bytes(_digest("stablesweep unit point", seed, draw, name)[:8], "big")
    # 53 bits are what a double holds exactly: the result is below 1 and the same on every machine.
    return (bits >> 11) * 2.0**-53


def unit_point(names: Iterable[str], *, seed: int, draw: int) -> dict[str, float]:
    """Draw number ``draw`` in the unit cube.

    A coordinate depends on (seed, draw, its dimension's name) and nothing else, so that neither more draws nor another
    dimension nor another arm changes a draw that was made before.

    Args:
        names: The dimensions' names.
        seed: The study's seed.
        draw: The draw's number, from 0.

    Returns:
        A coordinate in [0, 1) for each name; independent and uniform over names and draws.

    Source: own (SHA-256 used as a counter-based generator).
    """
    return {name: _coordinate(seed, draw, name) for name in names}


def unit_points(sampler: str, names: Iterable[str], *, seed: int, draws: int) -> list[dict[str, float]]:
    """The first ``draws`` points of a sampler in the unit cube.

    Draw i is row i of the sampler's sequence: more draws change no earlier one. ``random`` gives the points of
    :func:`unit_point`. ``sobol`` and ``halton`` are scrambled sequences whose scrambling depends on the number of
    columns; the sequence therefore always has ``MAX_DIMENSIONS`` columns, seeded by the study's seed and the
    sampler's name alone, and the dimensions take the first ones in their order. So a dimension appended at the end
    changes no coordinate of the others; one put in front of them or between them does.

    Args:
        sampler: ``random``, ``sobol`` or ``halton``.
        names: The dimensions' names, all different; their order matters for ``sobol`` and ``halton``.
        seed: The study's seed.
        draws: How many points, from 0.

    Returns:
        For each draw a coordinate in [0, 1) for each name.

    Raises:
        SpaceError: If the sampler is none of these, or ``sobol`` and ``halton`` get more than ``MAX_DIMENSIONS`` names.

    Source: own for ``random``; ``scipy.stats.qmc`` for ``sobol`` (linear matrix scramble and digital shift, Matousek
        1998) and ``halton`` (random digit permutations, Owen 2017), whose numbers may change with scipy's version.
    """
    columns = tuple(names)
    if sampler == "random":
        return [unit_point(columns, seed=seed, draw=draw) for draw in range(draws)]
    _require_quasi_random(sampler, len(columns))
    return _quasi_random_points(sampler, columns, seed=seed, draws=draws)


def _require_quasi_random(sampler: str, num_dimensions: int) -> None:
    if sampler == "grid":
        raise SpaceError("grid: its points follow from the space; use grid_points instead of unit_points")
    if sampler not in NON_ADAPTIVE:
        nearest = difflib.get_close_matches(sampler, NON_ADAPTIVE, n=1, cutoff=0.0)[0]
        raise SpaceError(
            f"{sampler!r} is no non-adaptive sampler; did you mean {nearest!r}? Known are {', '.join(NON_ADAPTIVE)}"
        )
    if num_dimensions > MAX_DIMENSIONS:
        raise SpaceError(
            f"{sampler}: {num_dimensions} dimensions are more than its {MAX_DIMENSIONS}; use the random sampler"
        )


def _quasi_random_points(sampler: str, names: Sequence[str], *, seed: int, draws: int) -> list[dict[str, float]]:
    import numpy as np
    from scipy.stats import qmc

    generator = np.random.default_rng(int.from_bytes(_digest("stablesweep unit points", seed, sampler), "big"))
    engine = {"sobol": qmc.Sobol, "halton": qmc.Halton}[sampler](d=MAX_DIMENSIONS, scramble=True, rng=generator)
    rows: list[list[float]] = []
    while len(rows) < draws:
        # Only the columns that are used are kept: all of them would be half a gigabyte for a million draws.
        block = engine.random(_BLOCK)[: draws - len(rows), : len(names)]
        rows.extend(np.minimum(block, _BELOW_ONE).tolist())
    return [dict(zip(names, row, strict=True)) for row in rows]
