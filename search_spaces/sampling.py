"""Random points of the unit cube, each a function of the study's seed, the draw and the dimension's name alone."""

import hashlib
from collections.abc import Iterable


def _coordinate(seed: int, draw: int, name: str) -> float:
    text = f"stablesweep unit point\0{seed}\0{draw}\0{name}"
    bits = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
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
