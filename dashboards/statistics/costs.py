"""What an arm's model and its training cost."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from dashboards.groups import floats
from dashboards.selection import Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmCost:
    """The cost of one arm, as far as its study recorded it; ``None`` where it did not."""

    parameters: int | None = None
    """Trainable parameters of the model."""
    flops: int | None = None
    """Multiply-adds of one image through the model."""
    activations: int | None = None
    """Outputs of the convolutions and matrix products for one image."""
    images_per_epoch: int | None = None
    """Training images of one epoch."""
    gpus: float | None = None
    """GPUs that one pack held; 0 on a CPU."""


COST_FIELDS = (
    pa.field("parameters", pa.int64()),
    pa.field("flops", pa.int64()),
    pa.field("activations", pa.int64()),
    pa.field("images_per_s", pa.float64()),
    pa.field("gpu_hours", pa.float64()),
    pa.field("compute_hours", pa.float64()),
)
"""The columns of what :func:`cost_columns` returns."""

CAPTION = (
    "Flops are multiply-adds of one image. Images per second and hours are over the trials whose time is recorded. A trial's "
    "time is its own share of its pack, training and evaluation; GPU hours are that times the GPUs of a pack."
)


def cost_columns(trials: pa.Table, arm: str, costs: Mapping[str, ArmCost] | None) -> dict[str, float | int | None]:
    """What the rows of ``trials`` cost, all of them trials of ``arm``.

    Returns:
        By the names of :data:`COST_FIELDS`, ``None`` where it is not known. ``images_per_s``: images trained per second of
        the trials' own time, over the trials of which both are recorded. ``compute_hours``: sum of the trials' own time.
        ``gpu_hours``: that times the GPUs of a pack; ``None`` on a CPU.

    Source: own.
    """
    cost = (costs or {}).get(arm, ArmCost())
    seconds = floats(trials["seconds"])
    epochs = floats(trials["epochs_done"])
    timed = seconds[np.isfinite(seconds)]
    hours = math.fsum(timed) / 3600 if len(timed) else None
    return {
        "parameters": cost.parameters,
        "flops": cost.flops,
        "activations": cost.activations,
        "images_per_s": _images_per_second(epochs, seconds, cost.images_per_epoch),
        "gpu_hours": hours * cost.gpus if hours is not None and cost.gpus else None,
        "compute_hours": hours,
    }


def _images_per_second(epochs: Floats, seconds: Floats, images_per_epoch: int | None) -> float | None:
    both = np.isfinite(epochs) & np.isfinite(seconds)
    total = math.fsum(seconds[both])
    if images_per_epoch is None or total <= 0:
        return None
    return images_per_epoch * float(epochs[both].sum()) / total


_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def counted(value: float | None) -> str:
    """A count with three digits: ``1.08 G``, ``4.83 M``, ``29.2 k``, ``512``; ``–`` where there is none."""
    if value is None:
        return "–"
    for size, unit in _UNITS:
        # What would be written as 1000 of a unit is 1 of the next.
        if abs(value) >= 0.9995 * size:
            return f"{_three_digits(value / size)} {unit}"
    return _three_digits(value)


def _three_digits(value: float) -> str:
    """Without an exponent, and without zeros that say nothing."""
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    text = f"{value:.{2 - math.floor(math.log10(abs(value)))}f}"
    return text.rstrip("0").rstrip(".")
