"""Why trials have no result: failures and losses by their reason."""

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from dashboards.formats import without_controls

STATUSES = ("failed", "lost")
NOT_RECORDED = "not recorded"


@dataclass(frozen=True, kw_only=True, slots=True)
class Trouble:
    """One reason, and what it hit."""

    status: str
    """``failed`` or ``lost``."""
    reason: str
    arms: tuple[str, ...]
    """Sorted."""
    keys: tuple[str, ...]
    """Of the trials, sorted."""


def troubles(trials: Iterable[tuple[str, str, str, str | None]]) -> list[Trouble]:
    """Failed and lost trials by reason; the reason with the most trials first.

    Args:
        trials: Key, arm, status and reason of each trial; those with another status are left out.
    """
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for key, arm, status, reason in trials:
        if status in STATUSES:
            found.setdefault((status, _one_line(reason)), []).append((key, arm))
    grouped = [
        Trouble(
            status=status,
            reason=reason,
            arms=tuple(sorted({arm for _, arm in hit})),
            keys=tuple(sorted(key for key, _ in hit)),
        )
        for (status, reason), hit in found.items()
    ]
    return sorted(grouped, key=lambda one: (-len(one.keys), one.status, one.reason))


def troubles_of(trials: pa.Table) -> list[Trouble]:
    """The same of a trials table."""
    rows = trials.filter(pc.is_in(trials["status"], value_set=pa.array(STATUSES)))
    return troubles(zip(*(rows[name].to_pylist() for name in ("key", "arm", "status", "reason")), strict=True))


def _one_line(reason: str | None) -> str:
    # An exception's message may hold what a terminal obeys.
    return without_controls(" ".join((reason or "").split())) or NOT_RECORDED
