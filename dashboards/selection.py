"""Which trials a statistic is about: the non-adaptive trials of one arm in one phase."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dashboards.tables import hyperparameters_of

Floats = npt.NDArray[np.float64]

NON_ADAPTIVE_SAMPLERS = ("random", "sobol", "halton", "grid")
"""Samplers whose draws do not depend on results. Only their trials say how errors are distributed over the space."""

GRID = "grid"
"""The one of them whose n-th draw depends on which dimensions an arm has."""

FIXED = "fixed"
"""The sampler of trials whose setting is given, not drawn: phases ``reference``, ``length`` and ``peak``."""

SEARCH, STABILITY, REFERENCE, LENGTH, PEAK = "search", "stability", "reference", "length", "peak"
"""The phases that a statistic is about."""

_ARM_COLUMNS = ["arm", "model", "optimizer"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmName:
    """An arm and what it pairs."""

    arm: str
    model: str
    optimizer: str


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ArmDraws:
    """The non-adaptive trials of one arm in one phase, in key order; the arrays have one entry a trial."""

    arm: str
    draws: pa.StringArray
    """``draw/replicate``: equal names in two arms are the same point of the unit cube."""
    errors: Floats
    """Final error, percent; ``+inf`` where the trial diverged, ``nan`` where there is no result (yet)."""

    @property
    def completed(self) -> Floats:
        """Errors of the completed trials, percent, shape ``(completed,)``."""
        return self.errors[np.isfinite(self.errors)]

    @property
    def num_diverged(self) -> int:
        """Trials whose loss was not finite or exploded."""
        return int(np.isposinf(self.errors).sum())

    @property
    def num_missing(self) -> int:
        """Trials without a result: failed, lost, running or pending."""
        return int(np.isnan(self.errors).sum())


def stability_trials(trials: pa.Table, phase: str = STABILITY) -> pa.Table:
    """The rows of ``phase`` that a non-adaptive sampler drew."""
    return trials.filter(_are_drawn(trials, phase))


def _are_drawn(trials: pa.Table, phase: str) -> pa.ChunkedArray:
    drawn = pc.is_in(trials["sampler"], value_set=pa.array(NON_ADAPTIVE_SAMPLERS))
    return pc.and_(pc.equal(trials["phase"], phase), drawn)


def arms_of(trials: pa.Table, phase: str = STABILITY) -> list[ArmName]:
    """The arms that have non-adaptive trials in ``phase``, sorted by name."""
    return every_arm(trials.select(_ARM_COLUMNS).filter(_are_drawn(trials, phase)))


def every_arm(trials: pa.Table) -> list[ArmName]:
    """The arms of all trials, whatever their phase and sampler, sorted by name."""
    rows = trials.select(_ARM_COLUMNS).group_by(_ARM_COLUMNS)
    names = [ArmName(**row) for row in rows.aggregate([]).to_pylist()]
    return sorted(names, key=lambda name: name.arm)


def other_trials(trials: pa.Table, phase: str = STABILITY) -> dict[str, int]:
    """How many trials enter no distribution of ``phase``: by phase, and its own adaptive ones as ``PHASE, adaptive``."""
    outside = trials["phase"].filter(pc.invert(_are_drawn(trials, phase)))
    counts = {row["values"]: row["counts"] for row in pc.value_counts(outside).to_pylist()}
    return dict(sorted((f"{name}, adaptive" if name == phase else name, count) for name, count in counts.items()))


def select_draws(trials: pa.Table, arm: str, phase: str = STABILITY) -> ArmDraws:
    """The draws of ``arm`` in ``phase``.

    Raises:
        ValueError: If the arm has no non-adaptive trial in the phase; names the arms that have.
    """
    mine = pc.and_(_are_drawn(trials, phase), pc.equal(trials["arm"], arm))
    # Without the other columns: copying these for every arm and statistic takes longer than most statistics.
    rows = trials.select(["key", "sampler", "status", "error"]).filter(mine).sort_by("key")
    if rows.num_rows == 0:
        known = ", ".join(name.arm for name in arms_of(trials, phase)) or "none"
        raise ValueError(f"No arm {arm!r} with non-adaptive trials in phase {phase!r}; arms that have: {known}.")
    keys, prefix = rows["key"].combine_chunks(), f"{phase}/{arm}/"
    names = pc.if_else(pc.starts_with(keys, prefix), pc.utf8_slice_codeunits(keys, len(prefix)), keys)
    if pc.any(pc.equal(rows["sampler"], GRID)).as_py():
        names = pc.binary_join_element_wise(names, f" of {_grid_dimensions(trials.filter(mine))}", "")
    return ArmDraws(arm=arm, draws=names, errors=errors_of(rows))


def _grid_dimensions(rows: pa.Table) -> str:
    """The hyperparameters that a grid varies: the same draw of two grids is one point only if these are the same."""
    return ", ".join(name for name in hyperparameters_of(rows) if pc.count_distinct(rows[name]).as_py() > 1)


def errors_of(trials: pa.Table) -> Floats:
    """Errors in percent, ``+inf`` where the trial diverged and ``nan`` where there is no result; one a row."""
    errors = pc.fill_null(trials["error"], np.nan).to_numpy()
    statuses = trials["status"]
    diverged = pc.equal(statuses, "diverged").to_numpy()
    completed = pc.equal(statuses, "completed").to_numpy()
    return np.where(diverged, np.inf, np.where(completed, errors, np.nan))


def errors_with_diverged(statuses: Sequence[str], errors: Sequence[float | None]) -> Floats:
    """:func:`errors_of` of lists."""
    return errors_of(pa.table({"status": pa.array(statuses, pa.string()), "error": pa.array(errors, pa.float64())}))
