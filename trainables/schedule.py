"""The learning rate over training: linear warm-up, then half a cosine."""

import math


def lr_multiplier(
    step: int, *, total_steps: int, warmup_steps: int, warmup_start: float = 0.1, min_lr_fraction: float = 0.0
) -> float:
    """Factor on the base learning rate for optimizer step ``step``.

    Args:
        step: Index of the step, from 0 to ``total_steps - 1``.
        total_steps: Steps of the whole training.
        warmup_steps: Steps of the linear rise from ``warmup_start`` to 1; step ``warmup_steps`` is the first at 1. If it
            is not below ``total_steps``, training ends while still warming up.
        warmup_start: Factor at step 0, in [0, 1].
        min_lr_fraction: Factor that the cosine would reach at ``total_steps``, in [0, 1].

    Returns:
        A factor in [0, 1].

    Raises:
        ValueError: If ``step`` is outside training.

    Source: arXiv:2106.14881v3, section 5.4 (5 epochs linear warm-up, one half-period cosine). The paper's public code
    sets the rate once an epoch and lets the warm-up multiply the cosine; here it is set every step, and the cosine starts
    where the warm-up ends, so that studies of few epochs still have a smooth schedule.
    """
    if not 0 <= step < total_steps:
        raise ValueError(f"step: got {step}, expected 0 to {total_steps - 1}")
    if step < warmup_steps:
        return warmup_start + (1.0 - warmup_start) * step / warmup_steps
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return min_lr_fraction + (1.0 - min_lr_fraction) * 0.5 * (1.0 + math.cos(math.pi * progress))
