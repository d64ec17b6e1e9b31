"""The learning rate over training: a linear warm-up and half a cosine."""

import math
from typing import Literal

Warmup = Literal["before_cosine", "over_cosine"]


def lr_multiplier(
    step: int,
    *,
    total_steps: int,
    warmup_steps: int,
    warmup_start: float = 0.1,
    min_lr_fraction: float = 0.0,
    warmup: Warmup = "before_cosine",
    steps_per_epoch: int | None = None,
) -> float:
    """Factor on the base learning rate for optimizer step ``step``.

    Args:
        step: Index of the step, from 0 to ``total_steps - 1``.
        total_steps: Steps of the whole training.
        warmup_steps: Steps of the linear rise from ``warmup_start`` to 1; step ``warmup_steps`` is the first at 1. If it
            is not below ``total_steps``, training ends while still warming up.
        warmup_start: Warm-up factor at step 0, in [0, 1].
        min_lr_fraction: Factor that the cosine would reach at ``total_steps``, in [0, 1].
        warmup: ``before_cosine``: the cosine begins at step ``warmup_steps``. ``over_cosine``: the cosine begins at step 0
            and the warm-up factor multiplies it, so the base rate itself is never reached.
        steps_per_epoch: If given, the rate is held for an epoch, at the value of the epoch's first step.

    Returns:
        A factor in [0, 1].

    Raises:
        ValueError: If ``step`` is outside training, or ``steps_per_epoch`` is not positive.

    Source: arXiv:2106.14881v3, section 5.4 (5 epochs linear warm-up, one half-period cosine). The paper's public code is
    ``over_cosine`` with the rate held for an epoch and a floor of 0.005. The other choices are own: set every step, and
    with the cosine after the warm-up, short trainings still have a smooth schedule.
    """
    if not 0 <= step < total_steps:
        raise ValueError(f"step: got {step}, expected 0 to {total_steps - 1}")
    if steps_per_epoch is not None:
        if steps_per_epoch < 1:
            raise ValueError(f"steps_per_epoch: got {steps_per_epoch}, expected 1 or more")
        step -= step % steps_per_epoch
    rising = step < warmup_steps
    factor = warmup_start + (1.0 - warmup_start) * step / warmup_steps if rising else 1.0
    if warmup == "over_cosine":
        return factor * _half_cosine(step / total_steps, min_lr_fraction)
    if rising:
        return factor
    return _half_cosine((step - warmup_steps) / (total_steps - warmup_steps), min_lr_fraction)


def _half_cosine(progress: float, floor: float) -> float:
    return floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * progress))
