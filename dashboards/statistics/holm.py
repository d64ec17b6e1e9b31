"""Holm's correction of p-values for several tests."""

import numpy as np
import numpy.typing as npt

from dashboards.selection import Floats


def holm(p_values: npt.ArrayLike) -> Floats:
    """Adjusted p-values: rejecting those below alpha rejects any true hypothesis with probability alpha at most.

    With the m p-values ascending, the adjusted i-th is max over j <= i of (m - j + 1) * p_j, at most 1. No assumption
    is made about how the tests depend on each other.

    Args:
        p_values: One per test of the family, in any order, shape ``(tests,)``. ``nan`` is a test that could not be
            made: it does not count in m and comes back as ``nan``.

    Returns:
        Adjusted p-values in the same order, shape ``(tests,)``; none is below its own p-value.

    Raises:
        ValueError: If a p-value is not in [0, 1].

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics
        6(2).
    """
    raw = np.asarray(p_values, dtype=np.float64).reshape(-1)
    made = ~np.isnan(raw)
    outside = raw[made & ((raw < 0) | (raw > 1))]
    if len(outside):
        raise ValueError(f"p_values: got {outside[0]}, expected values between 0 and 1, or nan.")
    known = raw[made]
    order = np.argsort(known, kind="stable")
    steps = np.maximum.accumulate(known[order] * np.arange(len(known), 0, -1))
    adjusted = np.empty_like(known)
    adjusted[order] = np.minimum(steps, 1.0)
    result = np.full_like(raw, np.nan)
    result[made] = adjusted
    return result
