"""Reading what a trainable yields for one member."""

import math
import re
from collections.abc import Mapping
from numbers import Real
from typing import Any

import torch

from trainables.custom.faults import TrainableFault
from trainables.training.records import Hyperparameter, MemberEpoch

_WITH_COLUMNS = ("error", "train_loss", "eval_loss", "lr")
# Columns of an epoch, and the metrics of the whole trial that the tracking server has beside those of the epochs.
_RESERVED = ("key", "epoch", "seconds", "final_error", "best_error", "epochs_done")
# What MLflow takes as a metric's name, and no path that leads elsewhere.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")


def read_metrics(metrics: object) -> dict[str, float]:
    """Metrics by name, as floats.

    Args:
        metrics: Numbers by name; a tensor with one element is a number.

    Raises:
        TrainableFault: If it is something else, or ``error`` is missing.
    """
    if not isinstance(metrics, Mapping):
        raise TrainableFault(f"the trainable yielded {type(metrics).__name__}, expected metrics by name")
    for name in metrics:
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name in _RESERVED:
            raise TrainableFault(
                f"metric name {name!r} cannot be used; take letters, digits and _ . - / and none of {', '.join(_RESERVED)}"
            )
    if "error" not in metrics:
        raise TrainableFault("the trainable yielded no metric 'error'; add it, it is what is minimised")
    return {name: _number(name, value) for name, value in metrics.items()}


def divergence(metrics: Mapping[str, float], epoch: int) -> str | None:
    """Why a member with these metrics has diverged, one line; None if it has not."""
    if not math.isfinite(metrics["error"]):
        return f"error is {metrics['error']} in epoch {epoch}"
    if not math.isfinite(metrics.get("train_loss", 0.0)):
        return f"training loss is {metrics['train_loss']} in epoch {epoch}"
    return None


def epoch_record(
    key: str, epoch: int, metrics: Mapping[str, float], hyperparameters: Mapping[str, Hyperparameter]
) -> MemberEpoch:
    """The record of one epoch, without its time; NaN stands for what was not given.

    Args:
        key: The member's.
        epoch: Counted from 1.
        metrics: As :func:`read_metrics` returns them.
        hyperparameters: The member's; ``lr`` is the learning rate where the metrics have none.
    """
    lr = hyperparameters.get("lr")
    constant = float(lr) if isinstance(lr, int | float) else math.nan
    return MemberEpoch(
        key=key,
        epoch=epoch,
        train_loss=metrics.get("train_loss", math.nan),
        error=metrics["error"],
        eval_loss=metrics.get("eval_loss", math.nan),
        lr=metrics.get("lr", constant),
        seconds=0.0,
        more={name: value for name, value in metrics.items() if name not in _WITH_COLUMNS},
    )


def _number(name: str, value: Any) -> float:
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number and not (isinstance(value, torch.Tensor) and value.numel() == 1 and not value.is_complex()):
        raise TrainableFault(f"metric {name!r} is {_shown(value)}, expected a number")
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _shown(value: object) -> str:
    if value is None or isinstance(value, bool | str):
        return repr(value) if len(repr(value)) <= 60 else f"a text of {len(str(value))} characters"
    return f"of type {type(value).__name__}"
