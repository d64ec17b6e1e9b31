"""How fast a running study goes."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from dashboards.selection import Floats

WINDOW_S = 3600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """Trials that ended lately."""

    per_hour: float
    num_trials: int
    """How many the rate is counted over."""
    seconds: float
    """Over which time."""


def pace(ends: Floats, num_open: int) -> Pace | None:
    """The rate over the latest hour in which anything ended; ``None`` with fewer than three different moments.

    Args:
        ends: When trials ended, seconds of any clock, any order.
        num_open: Trials that are still to come; without any there is no pace to speak of.

    Source: own. The trials of one pack end together, so the first moment opens the window and is not counted in it.
    """
    moments = np.unique(ends[np.isfinite(ends)])
    moments = moments[moments >= (moments[-1] - WINDOW_S if len(moments) else 0.0)]
    if num_open == 0 or len(moments) < 3:
        return None
    seconds = float(moments[-1] - moments[0])
    counted = int(((ends > moments[0]) & (ends <= moments[-1])).sum())
    return Pace(per_hour=3600 * counted / seconds, num_trials=counted, seconds=seconds)


def trial_ends(trials: pa.Table) -> Floats:
    """When each trial that has an outcome ended, as far as is known: its start plus its own seconds; ``nan`` otherwise.

    A trial's own seconds are its share of its pack's time, so this is early by what its pack's other trials took.
    """
    started = trials["started"].cast(pa.int64()).cast(pa.float64()).to_numpy().astype(np.float64) / 1000
    seconds = trials["seconds"].to_numpy().astype(np.float64)
    over = ~np.isin(np.array(trials["status"].to_pylist(), dtype=object), ["pending", "running"])
    return np.where(over, started + np.where(np.isfinite(seconds), seconds, 0.0), np.nan)
