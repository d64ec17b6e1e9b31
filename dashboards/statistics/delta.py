"""Delta errors: how far an arm's draws end above the error that the same arm reaches with a good setting."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dashboards.formats import percent
from dashboards.selection import FIXED, LENGTH, REFERENCE, STABILITY, ArmDraws, select_draws, stability_trials
from dashboards.statistics.edf import Edf, empirical_distribution
from dashboards.statistics.lengths import over_seeds
from dashboards.tables import hyperparameters_of

_RESULTS = ("completed", "diverged")


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """The error that an arm's delta errors are counted from."""

    value: float | None
    """Percent; ``None`` where no trial completed."""
    source: str
    """What it is, in plain words."""
    n: int
    """How many completed trials it is the mean, or the lowest, of."""
    std_error: float | None = None
    """Standard error of ``value`` as a mean over seeds, points: their standard deviation (with n - 1) / sqrt(n).

    ``None`` where it is not known: one run, or a lowest error in place of a mean."""

    def half_width(self, confidence: float = 0.95) -> float | None:
        """Half width of the t-interval around ``value``: t(n - 1) * std_error, points; ``None`` where it is not known.

        Raises:
            ValueError: If ``confidence`` is not in (0, 1).

        Source: Student 1908. It supposes that the errors of several seeds are about normal.
        """
        if not 0 < confidence < 1:
            raise ValueError(f"confidence: got {confidence}, expected a value between 0 and 1.")
        if self.std_error is None:
            return None
        from scipy.stats import t

        return float(t.ppf((1 + confidence) / 2, self.n - 1)) * self.std_error


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DeltaEdf(Edf):
    """The EDF of error minus reference: every error, step and quantile is in points above the reference.

    Below 0 are draws that ended better than the reference. The band is about the draws alone: that the reference is
    itself the mean of a few runs, or the lowest error of the same draws, is not in it; :meth:`share_bounds` says what
    the former can do.
    """

    reference: Reference

    def share_bounds(self, points: float, confidence: float = 0.95) -> tuple[float, float] | None:
        """F at ``points`` if the reference stood at either end of its own interval: F(points -+ half width).

        A reference that is too low by h makes every delta too large by h, so the curve moves sideways, by
        :meth:`Reference.half_width` at most, with this confidence. Missing trials count as in ``lower`` and ``upper``.

        Returns:
            Lowest and highest share; ``None`` where the reference's standard error is not known.

        Source: own.
        """
        shift = self.reference.half_width(confidence)
        if shift is None:
            return None
        return self(points - shift), self(points + shift) + self.n_missing / self.n


def reference_error(trials: pa.Table, arm: str, phase: str = STABILITY) -> Reference:
    """The error of ``arm`` at its centre, after as many epochs as the trials of ``phase`` have.

    It is the mean final error of the completed reference runs: the trials of phase ``reference``, and those of phase
    ``length`` that train the same setting for as long. Trials of one seed are then the same training and count once.
    The phase ``peak`` is left out: its setting is the centre only where that turned out best. Where no reference run
    completed, it is the lowest final error of the arm's non-adaptive trials of ``phase``, which is optimistic: the best
    of n draws, picked on the split that it is reported on.

    Args:
        trials: The trials table.
        arm: The arm.
        phase: The phase; all its trials of one arm have the same number of epochs.

    Raises:
        ValueError: If the arm has no non-adaptive trial in the phase; names the arms that have.

    Source: arXiv:2106.14881 section 5.3, where the reference is the error at the model's best learning rate and weight
        decay. The mean over seeds and the lowest error in its place are our own.
    """
    draws = select_draws(trials, arm, phase)
    rows = _reference_runs(trials, arm, _epochs(trials, arm, phase))
    runs = over_seeds(rows)
    if runs["completed"] == 0:
        return _lowest_of(draws, runs["n"])
    return Reference(
        value=runs["mean_error"],
        source=_source(runs["completed"], runs["n"]),
        n=runs["completed"],
        std_error=_std_error(rows),
    )


def delta_edf(trials: pa.Table, arm: str, phase: str = STABILITY, confidence: float = 0.95) -> DeltaEdf:
    """The EDF of the delta errors of an arm's non-adaptive trials in ``phase``: error - reference, in points.

    Diverged and missing trials are what they are in :func:`dashboards.statistics.edf.arm_edf`: infinitely bad, and unknown.

    Raises:
        ValueError: If the arm has no such trial; names the arms that have.

    Source: arXiv:2106.14881 section 5.3, Figures 4 and 5; see :func:`reference_error` for what is our own.
    """
    reference = reference_error(trials, arm, phase)
    draws = select_draws(trials, arm, phase)
    # Without a reference there is no completed trial, so there is nothing to subtract it from.
    completed = draws.completed if reference.value is None else draws.completed - reference.value
    edf = empirical_distribution(
        completed, diverged=draws.num_diverged, missing=draws.num_missing, confidence=confidence, arm=arm
    )
    return DeltaEdf(**{field.name: getattr(edf, field.name) for field in fields(edf)}, reference=reference)


def references_in_words(deltas: Sequence[DeltaEdf]) -> str:
    """Which reference each arm has, arms with the same kind of reference together, without a full stop.

    A mean of several runs comes with its standard error.
    """
    kinds: dict[str, list[str]] = {}
    for delta in deltas:
        reference = delta.reference
        noise = "" if reference.std_error is None else f" ± {reference.std_error:.2f}"
        value = "" if reference.value is None else f" {percent(reference.value)}{noise} %"
        source = reference.source + ("" if reference.std_error is None else ", ± its standard error")
        kinds.setdefault(source, []).append(f"{delta.arm}{value}")
    return "; ".join(f"{', '.join(arms)} ({source})" for source, arms in kinds.items())


def _epochs(trials: pa.Table, arm: str, phase: str) -> int:
    rows = stability_trials(trials.select(["arm", "phase", "sampler", "epochs"]), phase)
    epochs: int = rows.filter(pc.equal(rows["arm"], arm))["epochs"][0].as_py()
    return epochs


def _reference_runs(trials: pa.Table, arm: str, epochs: int) -> list[Mapping[str, Any]]:
    """The arm's trials at its centre that train for ``epochs``, one per seed."""
    names = hyperparameters_of(trials)
    mine = trials.filter(pc.and_(pc.equal(trials["arm"], arm), pc.equal(trials["sampler"], FIXED))).to_pylist()
    # The centre may not be known yet: then all columns are null, and equal nulls are no equal settings.
    centres = {_setting(row, names) for row in mine if row["phase"] == REFERENCE} - {(None,) * len(names)}
    runs = [
        row
        for row in mine
        if row["epochs"] == epochs
        and (row["phase"] == REFERENCE or (row["phase"] == LENGTH and _setting(row, names) in centres))
    ]
    # The last trial of a seed stays: one with a result, where the same training was lost in another phase.
    runs.sort(key=lambda row: row["status"] in _RESULTS)
    return list({row["seed"]: row for row in runs}.values())


def _setting(row: Mapping[str, Any], names: Sequence[str]) -> tuple[object, ...]:
    return tuple(row[name] for name in names)


def _std_error(rows: Sequence[Mapping[str, Any]]) -> float | None:
    errors = [row["error"] for row in rows if row["status"] == "completed"]
    return float(np.std(errors, ddof=1)) / math.sqrt(len(errors)) if len(errors) > 1 else None


def _source(completed: int, runs: int) -> str:
    if completed < runs:
        return f"mean of the {completed} of {runs} reference runs at the centre that completed"
    return f"mean of {runs} reference runs at the centre" if runs > 1 else "one reference run at the centre"


def _lowest_of(draws: ArmDraws, runs: int) -> Reference:
    why = "no reference run completed" if runs else "no reference run"
    completed = draws.completed
    if not len(completed):
        return Reference(value=None, source=f"none: {why}, and no trial of the sample", n=0)
    return Reference(value=float(np.min(completed)), source=f"lowest error of the sample: {why}", n=len(completed))
