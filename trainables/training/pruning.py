"""Which trials of an adaptive search are not worth training on. Imports no torch."""

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Pruning(BaseModel):
    """When a trial is ended early. For adaptive search only: what is pruned has no final error, so it is in no EDF."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    rule: Literal["median", "halving"]
    """``median``: a trial goes on while its best error is at most the median of the others. ``halving``: at certain epochs,
    the rungs, only the best trials go on."""
    startup_trials: Annotated[int, Field(ge=1)] = 4
    """For ``median``: nothing is pruned before so many other trials have reached the epoch."""
    warmup_epochs: Annotated[int, Field(ge=0)] = 1
    """For ``median``: nothing is pruned at the ends of these first epochs. For ``halving``: the first rung, 1 or more."""
    reduction: Annotated[int, Field(ge=2)] = 3
    """For ``halving``: one of so many trials goes on at a rung, and each rung is so many times as late as the last."""

    @model_validator(mode="after")
    def _has_a_first_rung(self) -> "Pruning":
        if self.rule == "halving" and not self.warmup_epochs:
            raise ValueError("warmup_epochs: 0 is no first rung for halving; use 1 or more")
        return self


def to_prune(
    pruning: Pruning, epoch: int, live: Mapping[str, Sequence[float]], others: Sequence[Sequence[float]]
) -> dict[str, str]:
    """The live trials that are to be ended after this epoch, and why; all are judged at once.

    ``median``: once ``warmup_epochs`` are over, and with at least ``startup_trials`` other trials that have reached the
    epoch, a trial whose lowest error so far is above the median of the others' errors of this epoch.

    ``halving``: at the epochs warmup_epochs * reduction**k, k = 0, 1, ..., a trial whose error of this epoch is not among
    the lowest 1 / reduction, rounded up, of all trials that have reached the epoch; of equal errors all are kept.

    Args:
        pruning: The rule.
        epoch: Epochs done, from 1. The last epoch of a training is not asked about: who got there is done.
        live: Errors (percent, for a classifier) of the trials still training by key, each of epochs 1 to ``epoch``.
        others: Errors of trials that came before or have ended, from epoch 1; those shorter than ``epoch`` have not
            reached it, except that a curve which ends with infinity, as a diverged trial's does, goes on so.

    Returns:
        A reason in one line, by key.

    Raises:
        ValueError: If a live trial has more or fewer errors than epochs were done.

    Source: the rules of Optuna's ``MedianPruner`` and of successive halving (arXiv:1502.07943); that the live trials are
    judged together is own.
    """
    for key, curve in live.items():
        if len(curve) != epoch:
            raise ValueError(f"trial {key!r}: got {len(curve)} errors, expected one for each of {epoch} epochs")
    reached = [error for curve in others if (error := _error_at(curve, epoch)) is not None]
    return (_above_the_median if pruning.rule == "median" else _below_the_rung)(pruning, epoch, live, reached)


def _error_at(curve: Sequence[float], epoch: int) -> float | None:
    if len(curve) >= epoch:
        return curve[epoch - 1]
    return math.inf if curve and curve[-1] == math.inf else None


def _above_the_median(
    pruning: Pruning, epoch: int, live: Mapping[str, Sequence[float]], reached: list[float]
) -> dict[str, str]:
    reasons: dict[str, str] = {}
    if epoch <= pruning.warmup_epochs or len(reached) + len(live) - 1 < pruning.startup_trials:
        return reasons
    for key, curve in live.items():
        others = [*reached, *(other[-1] for name, other in live.items() if name != key)]
        best, middle = min(curve), median(others)
        if best > middle:
            reasons[key] = (
                f"its best error in {epoch} epochs, {best:.4g}, is above {middle:.4g}, the median of {len(others)} others"
            )
    return reasons


def _below_the_rung(
    pruning: Pruning, epoch: int, live: Mapping[str, Sequence[float]], reached: list[float]
) -> dict[str, str]:
    if not _is_rung(epoch, pruning.warmup_epochs, pruning.reduction):
        return {}
    errors = sorted([*reached, *(curve[-1] for curve in live.values())])
    kept = math.ceil(len(errors) / pruning.reduction)
    return {
        key: f"its error after {epoch} epochs, {curve[-1]:.4g}, is not among the best {kept} of {len(errors)}"
        for key, curve in live.items()
        if curve[-1] > errors[kept - 1]
    }


def _is_rung(epoch: int, first: int, reduction: int) -> bool:
    rung = first
    while rung < epoch:
        rung *= reduction
    return rung == epoch
